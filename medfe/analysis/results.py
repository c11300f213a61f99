"""Tables that experiments left in the results folder, for the notebooks."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from medfe.errors import MedfeError


def results_table(folder: Path, experiment: str, table: str) -> pd.DataFrame | None:
    """Return RESULTS/EXPERIMENT_TABLE.csv, or None where the experiment has not left it yet.

    Raises:
        MedfeError: if the file is damaged.
    """
    path = folder / f"{experiment}_{table}.csv"
    if not path.is_file():
        return None
    try:
        return pd.read_csv(path)
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise MedfeError(f"{path}: not readable as CSV ({error})") from None


def availability(folder: Path, experiment: str) -> str:
    """Return a sentence that says which tables an experiment has left, or how to make them where there are none."""
    found = sorted(path.name for path in folder.glob(f"{experiment}_*.csv"))
    if not found:
        return (
            f"**Not there yet**: no table of experiment `{experiment}` in the results. "
            f"`medfe reproduce {experiment} --data $MEDFE_DATA --out runs` makes them."
        )
    return f"Experiment `{experiment}` has left: {', '.join(f'`{name}`' for name in found)}."
