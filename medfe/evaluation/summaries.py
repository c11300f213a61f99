"""Means of per-image metrics and distances between sets, each with its interval, as tables."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any, TypedDict

import numpy as np
import numpy.typing as npt
import pandas as pd
from rich.console import Console

from medfe.data.masks import AREA_BINS
from medfe.evaluation.bootstrap import bootstrap_mean
from medfe.evaluation.distances import Array, Labels
from medfe.evaluation.embeddings import Embedder, Features
from medfe.evaluation.names import title
from medfe.evaluation.protocol import Measurements
from medfe.evaluation.set_statistics import kid_interval
from medfe.evaluation.settings import FRECHET_MINIMUM
from medfe.evaluation.statistics import Interval
from medfe.evaluation.store import Store
from medfe.evaluation.subsampling import SubsampledDistance, subsampled_frechet
from medfe.evaluation.testset import AGE_GROUPS, SEXES, age_group

GROUP_METRICS = ("l1_hole", "lpips_hole", "psnr", "ssim")
"""What is shown by mask area, age and sex."""


class BothLabels(TypedDict):
    """Labels of photographs, as the functions of set distances take them."""

    photographs: Labels
    reference_photographs: Labels


def labels(measured: Measurements) -> BothLabels:
    """Return the labels of the photographs behind the methods' images and behind the originals."""
    return {"photographs": measured.photographs, "reference_photographs": measured.reference_photographs}


def values_of(
    measured: Measurements, method: str, metric: str, members: npt.NDArray[np.bool_] | None = None
) -> tuple[Array, Labels]:
    """Return a metric's values of a method and the labels of their photographs, in the order of the test set.

    Args:
        measured: Rows.
        method: Its name.
        metric: Column.
        members: (N,) the items that count; default: all.
    """
    rows = measured.table["method"] == method
    values = measured.table.loc[rows, metric].to_numpy(dtype=np.float64)
    keep = np.ones(len(values), dtype=bool) if members is None else members
    return values[keep], measured.photographs[keep]


def means(measured: Measurements) -> pd.DataFrame:
    """Return the mean of every per-image metric of every method.

    What is not finite is left out and counted: an infinite PSNR (no difference at all), a hole with no pixel to judge.
    """
    return pd.DataFrame([
        {"method": method.name, "metric": metric, **_mean(measured, method.name, metric)}
        for method in measured.methods
        for metric in measured.metrics
    ])  # fmt: skip


def means_by_area(measured: Measurements) -> pd.DataFrame:
    """Return the means of `GROUP_METRICS` by class of mask area."""
    return _means_by(measured, "area", _items(measured)["area_bin"], list(AREA_BINS))


def means_by_group(measured: Measurements) -> pd.DataFrame:
    """Return the means of `GROUP_METRICS` by age and by sex, of photographs whose names say them."""
    items = _items(measured)
    if "age" not in items:
        return pd.DataFrame()
    by_age = _means_by(measured, "age", items["age"].map(age_group, na_action="ignore"), list(AGE_GROUPS))
    return pd.concat([by_age, _means_by(measured, "sex", items["sex"], list(SEXES))], ignore_index=True)


class SetDistances:
    """Distances of methods' images to the originals, each computed once and kept for the next run.

    Args:
        measured: Features.
        store: Keeps them, by the content they were computed from.
    """

    def __init__(self, measured: Measurements, store: Store) -> None:
        self.measured, self.store = measured, store

    def kid(self, embedder: Embedder, method: str) -> Interval:
        """Return the interval of a method's KID."""
        pair = self._features(embedder, method)
        level = self.measured.settings.level
        name = f"kid-{self._digest(*pair, np.array([level]))}"
        found = self.store.distance(name)
        if found is None:
            computed = kid_interval(*pair, level=level, **labels(self.measured))
            found = {name: np.asarray(value) for name, value in asdict(computed).items()}
            self.store.save_distance(name, found)
        return Interval(**{name: value.item() for name, value in found.items()})

    def frechet(self, embedder: Embedder, method: str) -> SubsampledDistance:
        """Return a method's Fréchet distance on all images and on subsamples, each a fraction of a second."""
        pair = self._features(embedder, method)
        count, seed = self.measured.settings.subsamples, self.measured.settings.seed
        name = f"frechet-{self._digest(*pair, np.array([count, seed]))}"
        found = self.store.distance(name)
        if found is None:
            message = f"{title(embedder.frechet)} of {method}: {count} subsamples"
            Console(stderr=True).print(message, highlight=False, soft_wrap=True)
            computed = subsampled_frechet(*pair, subsamples=count, seed=seed, **labels(self.measured))
            found = {name: np.asarray(value) for name, value in asdict(computed).items()}
            self.store.save_distance(name, found)
        return SubsampledDistance(
            estimate=found["estimate"].item(),
            values=found["values"],
            fraction=found["fraction"].item(),
            n=found["n"].item(),
        )

    def _features(self, embedder: Embedder, method: str) -> tuple[Features, Features]:
        return self.measured.reference[embedder.name], self.measured.features[embedder.name][method]

    def _digest(self, *arrays: npt.NDArray[Any]) -> str:
        content = hashlib.sha256()
        for array in (*arrays, self.measured.photographs, self.measured.reference_photographs):
            content.update(f"{array.dtype} {array.shape}".encode() + np.ascontiguousarray(array).tobytes())
        return content.hexdigest()[:24]


def sets(measured: Measurements, distances: SetDistances) -> pd.DataFrame:
    """Return the set distances of every method; `small` marks a Fréchet distance from fewer than 2048 images."""
    rows = []
    few = len(measured.reference_photographs) < FRECHET_MINIMUM
    for embedder in measured.judges.embedders:
        for method in measured.methods:
            found = {embedder.kid: distances.kid(embedder, method.name)}
            if measured.settings.frechet:
                interval = distances.frechet(embedder, method.name).interval(measured.settings.level)
                found[embedder.frechet] = replace(interval, low=max(interval.low, 0.0))  # a squared distance
            for metric, interval in found.items():
                rows.append({
                    "method": method.name, "metric": metric, **_columns(interval),
                    "images": len(measured.photographs), "originals": len(measured.reference_photographs),
                    "small": few and metric == embedder.frechet, "network": embedder.name,
                })  # fmt: skip
    return pd.DataFrame(rows)


def _items(measured: Measurements) -> pd.DataFrame:
    return measured.table[measured.table["method"] == measured.methods[0].name].reset_index(drop=True)


def _means_by(measured: Measurements, by: str, classes: pd.Series, order: Sequence[str]) -> pd.DataFrame:
    rows = []
    for value in order:
        members = (classes == value).to_numpy()
        for method in measured.methods if members.any() else ():
            for metric in GROUP_METRICS:
                if metric in measured.metrics:
                    mean = _mean(measured, method.name, metric, members)
                    rows.append({"by": by, "class": value, "method": method.name, "metric": metric, **mean})
    return pd.DataFrame(rows)


def _mean(
    measured: Measurements, method: str, metric: str, members: npt.NDArray[np.bool_] | None = None
) -> dict[str, Any]:
    values, photographs = values_of(measured, method, metric, members)
    finite = np.isfinite(values)
    left_out = {"left_out": int(np.sum(~finite))}
    settings = measured.settings
    if len(np.unique(photographs[finite])) < 2:
        value = float(values[finite].mean()) if finite.any() else np.nan
        return _columns(None) | {"value": value, "photographs": len(np.unique(photographs[finite]))} | left_out
    interval = bootstrap_mean(
        values[finite],
        photographs[finite],
        level=settings.level,
        resamples=settings.resamples,
        seed=settings.seed,
    )
    return _columns(interval) | left_out


def _columns(interval: Interval | None) -> dict[str, Any]:
    if interval is None:
        return {"value": np.nan, "low": np.nan, "high": np.nan, "level": np.nan, "photographs": 0, "interval": ""}
    return {
        "value": interval.estimate, "low": interval.low, "high": interval.high, "level": interval.level,
        "photographs": interval.n, "interval": interval.method,
    }  # fmt: skip
