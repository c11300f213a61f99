"""An entry that compares finished runs and baselines on the same images: intervals over photographs, error by group."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pandas as pd

from medfe.evaluation.protocol import measure
from medfe.evaluation.store import Store
from medfe.evaluation.tables import Tables
from medfe.experiments.entry import Entry, Estimate, Experiment, Workplace
from medfe.experiments.measurement import Evaluation, evaluation_settings
from medfe.experiments.records import TABLES

_SECONDS_PER_IMAGE, _SECONDS_PER_METHOD = 0.05, 90.0
# Of one training each: intervals over photographs are told, verdicts between arms are not.
_VERDICTS = ["role", "p", "p_holm", "test", "verdict", "margin", "equivalent"]


@dataclass(frozen=True, kw_only=True)
class Comparison(Entry):
    """All methods on one test set, by `medfe.evaluation`: what one training of each arm shows, seeds left aside.

    Attributes:
        preset_size: Side of the images, pixels.
        evaluation: Photographs and masks.
        baselines: Names of `medfe.evaluation.methods.BASELINES`.
        contrasts: Pairs of methods by name, the primary one first.
    """

    preset_size: int
    evaluation: Evaluation
    baselines: tuple[str, ...]
    contrasts: tuple[tuple[str, str], ...]

    def settings(self, experiment: Experiment) -> dict[str, Any]:
        """Return what is compared, and the digests of the runs."""
        return {
            "needs": {name: experiment[name].digest(experiment) for name in self.needs},
            "photographs": self.evaluation.photographs, "masks": list(self.evaluation.masks), "n": self.evaluation.n,
            "baselines": list(self.baselines), "contrasts": [list(pair) for pair in self.contrasts],
            "image_size": self.preset_size,
        }  # fmt: skip

    def estimate(self) -> Estimate:
        """Return the cost; the runs themselves were measured before."""
        items = self.evaluation.items
        methods = len(self.baselines) + len(self.needs)
        tables = len(self.evaluation.masks) * methods * _SECONDS_PER_METHOD
        return Estimate(items * len(self.baselines) * _SECONDS_PER_IMAGE + tables, 6e3 * items * len(self.baselines))

    def has_weights(self, place: Workplace) -> bool:
        """Tell that nothing starts from it."""
        del place
        return True

    def run(self, place: Workplace) -> dict[str, Any]:
        """Measure what is missing and make the tables of `medfe evaluate`, with a column `masks`."""
        methods = (*self.baselines, *(f"{name}={place.folder(place.experiment[name])}" for name in self.needs))
        parts: dict[str, list[pd.DataFrame]] = {"means": [], "sets": [], "contrasts": []}
        for masks in self.evaluation.masks:
            settings = evaluation_settings(self.evaluation, masks, self.preset_size, methods, place)
            settings = settings.replace(contrasts=self.contrasts)
            store = Store(settings.out)
            tables = Tables.of(measure(settings, store), store)
            means = pd.concat([tables.means.assign(by="all"), tables.areas, tables.groups], ignore_index=True)
            differences = tables.contrasts.drop(columns=_VERDICTS)
            for name, table in (("means", means), ("sets", tables.sets), ("contrasts", differences)):
                parts[name].append(table.assign(masks=masks))
        joined = {name: pd.concat(tables, ignore_index=True) for name, tables in parts.items()}
        return {TABLES: {f"comparison_{name}": table for name, table in joined.items()}}


def method_values(sets: pd.DataFrame, means: pd.DataFrame) -> pd.DataFrame:
    """Return a row for each method, masks and metric, from the two tables of a comparison, groups left out."""
    return pd.concat([sets, means[means["by"] == "all"]], ignore_index=True)
