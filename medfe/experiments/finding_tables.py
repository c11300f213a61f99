"""What the rules for claims read: tables in a results folder, and contrasts in words."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pandas as pd

from medfe.analysis.results import results_table
from medfe.evaluation.names import number, title, unit

NOT_YET, NOT_TESTED = "not yet", "not tested"
ALPHA = 0.05
"""Level of tests; intervals have 1 − ALPHA."""

_READ = ("first", "second", "metric", "masks", "role", "n", "seeds", "difference", "low", "high", "claim", "margin")


class Finding(NamedTuple):
    """What the tables say of a claim."""

    claim: str
    rule: str
    """What counts as which verdict."""
    source: str
    """Name of the table, without the ending; empty: none."""
    verdict: str = NOT_YET
    effect: str = "–"
    n: str = "–"


class Tables:
    """The tables in a results folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def read(self, name: str, *columns: str) -> pd.DataFrame | None:
        """Return a table by its file's name without the ending, `main_contrasts`; None without it or these columns."""
        experiment, _, part = name.partition("_")
        table = results_table(self._folder, experiment, part)
        return table if table is not None and set(columns) <= set(table.columns) else None

    def contrast(self, name: str, **values: str) -> pd.Series | None:
        """Return the one row of a table of contrasts with these values, once all its seeds are there."""
        table = self.read(name, *values, *_READ)
        if table is None:
            return None
        for column, value in values.items():
            table = table[table[column] == value]
        rows = table[table["difference"].notna()]
        return rows.iloc[0] if len(rows) == 1 else None


def better(row: pd.Series) -> int:
    """Return 1 if the first arm of a tested contrast is better after Holm's correction, -1 if worse, else 0."""
    if not row["p_holm"] < ALPHA or row["low"] <= 0 <= row["high"]:
        return 0
    return 1 if (row["difference"] < 0) == bool(row["lower_is_better"]) else -1


def effect(row: pd.Series) -> str:
    """Return a contrast's metric, difference and, of two seeds or more, interval."""
    value, low, high = (number(row[name], row["metric"], difference=True) for name in ("difference", "low", "high"))
    interval = f" ({low} to {high})" if pd.notna(row["low"]) else ""
    return f"{title(row['metric'])}{unit(row['metric'])}, {row['masks']} masks: {value}{interval}"


def seeds(row: pd.Series) -> str:
    """Return how many seeds a contrast has, and which."""
    return f"{row['n']} seed{'' if row['n'] == 1 else 's'} ({row['seeds']})"
