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
