"""Bootstrap intervals of means over images.

What is resampled is the independent unit: the photograph, whose masks and crops stay together.
"""

from __future__ import annotations

import warnings
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy import stats

from medfe.errors import MedfeError
from medfe.evaluation.statistics import ONE_PAIR_OF_TRAININGS, Interval, finite

_BATCH = 4_000_000  # drawn indices held in memory at once


def bootstrap_mean(
    values: npt.ArrayLike,
    clusters: npt.ArrayLike | None = None,
    *,
    level: float = 0.95,
    resamples: int = 9999,
    method: Literal["BCa", "percentile"] = "BCa",
    scope: str = ONE_PAIR_OF_TRAININGS,
    seed: int = 0,
) -> Interval:
    """Return a bootstrap interval of the mean of `values`; whole clusters are drawn.

    With clusters of unequal size the mean is the ratio of two sums, and both are resampled. Below about 20 clusters any
    bootstrap covers too little; `paired_t` is made for that.

    Args:
        values: (N,) finite numbers.
        clusters: (N,) labels of what belongs together (the photograph); default: every value stands alone.
        level: Nominal coverage.
        resamples: Number of bootstrap samples.
        method: "BCa" (bias-corrected and accelerated; Efron 1987) or "percentile".
        scope: Label of the interval.
        seed: Seed of the resampling.

    Raises:
        MedfeError: if a value is not finite, lengths differ or there are fewer than two clusters.
    """
    data = finite(values, "values")
    labels = np.arange(len(data)) if clusters is None else np.asarray(clusters)
    if labels.shape != data.shape:
        raise MedfeError(f"clusters: found shape {labels.shape}, expected {data.shape}, one label per value")
    _, index, sizes = np.unique(labels, return_inverse=True, return_counts=True)
    n = len(sizes)
    if n < 2:
        raise MedfeError(f"clusters: found {n}, expected at least 2")
    estimate = float(data.mean())
    if np.ptp(data) == 0:
        name = "bootstrap; all values are equal"
        return Interval(estimate=estimate, low=estimate, high=estimate, level=level, n=n, method=name, scope=scope)

    sums = np.bincount(index, weights=data)

    def draw(kind: str) -> tuple[float, float]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", stats.DegenerateDataWarning)
            warnings.simplefilter("ignore", RuntimeWarning)
            result = stats.bootstrap(
                (sums, sizes.astype(np.float64)),
                lambda total, count, axis: total.sum(axis=axis) / count.sum(axis=axis),
                paired=True,
                vectorized=True,
                n_resamples=resamples,
                batch=max(1, _BATCH // n),
                confidence_level=level,
                method=kind,
                rng=np.random.default_rng(seed),
            )
        return float(result.confidence_interval.low), float(result.confidence_interval.high)

    used: str = method
    low, high = draw(method)
    if not np.isfinite(low + high):  # BCa is undefined when all resamples fall on one side of the estimate
        used = "percentile"
        low, high = draw("percentile")
    name = f"{used} bootstrap, {resamples} resamples" + ("" if clusters is None else " of whole clusters")
    return Interval(estimate=estimate, low=low, high=high, level=level, n=n, method=name, scope=scope)
