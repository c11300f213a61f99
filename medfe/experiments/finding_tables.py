"""What the rules for claims read: tables in a results folder, and contrasts in words."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy.typing as npt
import pandas as pd

from medfe.analysis.results import results_table
from medfe.evaluation.names import number, title, unit
from medfe.evaluation.statistics import Interval, TrainingsInterval, paired_t
from medfe.experiments.contrasts import PRIMARY

NOT_YET, NOT_TESTED = "not yet", "not tested"
ARMS = ("autoencoder", "low_resolution")
"""The variant and the original."""
ALPHA = 0.05
"""Level of tests; intervals have 1 − ALPHA."""

_READ = (
    "first",
    "second",
    "metric",
    "masks",
    "role",
    "n",
    "seeds",
    "difference",
    "low",
    "high",
    "claim",
    "mean_second",
    "margin",
    "detectable",
    "power",
)


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
    registered: str = "no"
    """What of the rule was registered in plan.md before the first run."""


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


def paired_seeds(tables: Tables) -> list[int]:
    """Return the seeds of the primary contrast, once all that were registered are done or excluded."""
    row = tables.contrast("main_contrasts", role=PRIMARY)
    return [] if row is None or pd.isna(row["low"]) else [int(seed) for seed in str(row["seeds"]).split()]


def paired_rows(tables: Tables, column: str) -> pd.DataFrame | None:
    """Return both arms' rows of the channel tables, one a run and feature; None until all are there."""
    table, paired = tables.read("main_channel_summary", column), paired_seeds(tables)
    if table is None or not paired:
        return None
    return table[table["arm"].isin(ARMS) & table["seed"].isin(paired)]


def by_seed(tables: Tables, column: str) -> dict[str, pd.Series] | None:
    """Return a column of the channel tables by seed, mean of both features, for both arms; None until all are there."""
    rows = paired_rows(tables, column)
    return None if rows is None else {arm: rows[rows["arm"] == arm].groupby("seed")[column].mean() for arm in ARMS}


def by_feature(tables: Tables, column: str) -> dict[str, Interval]:
    """Return for each feature the first arm's values of a column less the second's, over seeds; empty as `by_seed`."""
    rows = paired_rows(tables, column)
    if rows is None:
        return {}
    wide = rows.pivot_table(index="seed", columns=["feature", "arm"], values=column)
    return {
        str(feature): over_seeds(*(wide[feature, arm] for arm in ARMS)) for feature in wide.columns.unique("feature")
    }


def over_seeds(first: npt.ArrayLike, second: npt.ArrayLike) -> TrainingsInterval:
    """Return the interval of first − second, paired by seed."""
    return paired_t(first, second, level=1 - ALPHA)
