"""All tables of an evaluation."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from medfe.evaluation.contrasts import contrasts
from medfe.evaluation.protocol import Measurements
from medfe.evaluation.store import Store
from medfe.evaluation.summaries import SetDistances, means, means_by_area, means_by_group, sets


@dataclass(frozen=True)
class Tables:
    """The tables of an evaluation.

    Attributes:
        means: One row per (method, per-image metric): mean, interval, how many images were left out as not finite.
        sets: One row per (method, set distance): value, interval, number of images, whether that is too small.
        contrasts: One row per (first, second, metric): difference first − second, interval, p-values, verdict.
        areas: Means by class of mask area.
        groups: Means by age and by sex, empty where the data do not say them.
    """

    means: pd.DataFrame
    sets: pd.DataFrame
    contrasts: pd.DataFrame
    areas: pd.DataFrame
    groups: pd.DataFrame

    @classmethod
    def of(cls, measured: Measurements, store: Store) -> Tables:
        """Compute all tables; `store` keeps the distances between sets."""
        distances = SetDistances(measured, store)
        return cls(
            means=means(measured),
            sets=sets(measured, distances),
            contrasts=contrasts(measured, distances),
            areas=means_by_area(measured),
            groups=means_by_group(measured),
        )

    def save(self, store: Store) -> None:
        """Write the tables as CSV: `means.csv` (with those by area and group), `sets.csv`, `contrasts.csv`."""
        store.save_table("means.csv", pd.concat([self.means.assign(by="all"), self.areas, self.groups]))
        store.save_table("sets.csv", self.sets)
        store.save_table("contrasts.csv", self.contrasts)
