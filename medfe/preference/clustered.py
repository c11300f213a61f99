"""Intervals of shares when votes share raters and images.

Votes of one rater resemble each other, and so do votes on one image; an interval that takes them for independent is
too narrow. Here the variance is that of Cameron, Gelbach and Miller (2011): clustered by rater, plus by image, minus by
their cells, each with the factor G / (G - 1), and quantiles of t with min(G) - 1 degrees of freedom.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import sparse, stats

from medfe.errors import MedfeError
from medfe.evaluation.statistics import Interval

SCOPE = "over raters and images"

Array = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class ClusteredInterval(Interval):
    """An interval over raters and images; `n` is the number of votes.

    Attributes:
        error: Standard error.
        degrees: Degrees of freedom.
        p_value: Two-sided, that the true value is the null's.
        raters: Number of raters.
        images: Number of images.
    """

    error: float
    degrees: int
    p_value: float
    raters: int
    images: int


def two_way_variance(influence: Array, raters: Labels, images: Labels, counted: npt.NDArray[np.bool_]) -> Array:
    """Return the variance of estimates, clustered two ways.

    Args:
        influence: (S, N): what each vote adds to the error of each of S estimates; rows of votes that are not counted
            are 0.
        raters: (N,) label of each vote's rater, 0 … R - 1.
        images: (N,) label of each vote's image, 0 … I - 1.
        counted: (S, N) whether a vote enters an estimate.

    Returns:
        (S,) variances; where rater + image - cell is not positive, the largest of the three.
    """
    cells = np.unique(raters * (int(images.max()) + 1) + images, return_inverse=True)[1]
    by_rater, by_image, by_cell = (_one_way(influence, labels, counted) for labels in (raters, images, cells))
    variance = by_rater + by_image - by_cell
    return np.where(variance > 0, variance, np.maximum(np.maximum(by_rater, by_image), by_cell))


def count_groups(labels: Labels, counted: npt.NDArray[np.bool_]) -> Labels:
    """Return of how many raters, or images, votes enter each estimate: (N,) labels, (S, N) marks → (S,)."""
    groups: Labels = (counted.astype(np.float64) @ _members(labels) > 0).sum(axis=1)
    return groups


def _one_way(influence: Array, labels: Labels, counted: npt.NDArray[np.bool_]) -> Array:
    groups = count_groups(labels, counted)
    factor = np.divide(groups, groups - 1, out=np.full(len(groups), np.inf), where=groups > 1)
    sums: Array = ((influence @ _members(labels)) ** 2).sum(axis=1)  # S×G → S
    return np.where(sums > 0, factor, 1.0) * sums


def _members(labels: Labels) -> sparse.csr_array:
    """Return N×G, one 1 a row; G may be as large as N."""
    return sparse.csr_array((np.ones(len(labels)), (np.arange(len(labels)), labels)))


def clustered_mean(
    values: npt.ArrayLike,
    raters: npt.ArrayLike,
    images: npt.ArrayLike,
    *,
    null: float = 0.5,
    level: float = 0.95,
) -> ClusteredInterval:
    """Return the interval of the mean of values in [0, 1]: 1 for a win, 0 for a loss, 0.5 for a tie if it counts.

    If all values are equal there is no spread to judge by; the interval is then the exact binomial one of as many
    trials as there are raters or images, whichever are fewer.

    Args:
        values: (N,) votes.
        raters: (N,) label of each vote's rater.
        images: (N,) label of each vote's image.
        null: Value that `p_value` tests.
        level: Nominal coverage.

    Raises:
        MedfeError: with fewer than two raters or images.
    """
    data = np.asarray(values, dtype=np.float64)
    rater, image = _labels(raters), _labels(images)
    groups = check_groups(rater, image)
    mean = float(data.mean())
    if np.ptp(data) == 0:
        return _exact(mean, len(data), groups, null, level)
    influence = (data - mean)[None] / len(data)
    return _interval(
        mean,
        two_way_variance(influence, rater, image, np.ones((1, len(data)), bool))[0],
        len(data),
        groups,
        null,
        level,
    )


def clustered_difference(
    values: npt.ArrayLike, second: npt.ArrayLike, raters: npt.ArrayLike, images: npt.ArrayLike, *, level: float = 0.95
) -> ClusteredInterval:
    """Return the interval of the mean of the values marked `second` minus the mean of the others.

    Args:
        values: (N,) votes.
        second: (N,) booleans; both groups must have votes.
        raters: (N,) label of each vote's rater.
        images: (N,) label of each vote's image.
        level: Nominal coverage.

    Raises:
        MedfeError: with fewer than two raters or images, or an empty group.
    """
    data, mark = np.asarray(values, dtype=np.float64), np.asarray(second, dtype=bool)
    rater, image = _labels(raters), _labels(images)
    groups = check_groups(rater, image)
    if mark.all() or not mark.any():
        raise MedfeError(f"groups: found {int(mark.sum())} and {int((~mark).sum())} votes, expected some in both")
    means = [float(data[part].mean()) for part in (~mark, mark)]
    weights = np.where(mark, 1 / mark.sum(), -1 / (~mark).sum())
    influence = (weights * (data - np.where(mark, means[1], means[0])))[None]
    variance = two_way_variance(influence, rater, image, np.ones((1, len(data)), bool))[0]
    return _interval(means[1] - means[0], variance, len(data), groups, 0.0, level, bounds=(-1.0, 1.0))


def check_groups(raters: Labels, images: Labels) -> tuple[int, int]:
    """Return the numbers of raters and images.

    Raises:
        MedfeError: if either is below two, which leaves nothing to generalise from.
    """
    groups = len(np.unique(raters)), len(np.unique(images))
    if min(groups) < 2:
        raise MedfeError(f"votes: found {groups[0]} raters and {groups[1]} images, expected at least 2 of each")
    return groups


def _labels(values: npt.ArrayLike) -> Labels:
    return np.unique(np.asarray(values), return_inverse=True)[1].astype(np.int64)


def _interval(
    estimate: float, variance: float, n: int, groups: tuple[int, int], null: float, level: float,
    bounds: tuple[float, float] = (0.0, 1.0),
) -> ClusteredInterval:  # fmt: skip
    degrees, error = min(groups) - 1, float(np.sqrt(variance))
    reach = float(stats.t.ppf((1 + level) / 2, degrees)) * error
    p_value = float(2 * stats.t.sf(abs(estimate - null) / error, degrees)) if error > 0 else float(estimate == null)
    return ClusteredInterval(
        estimate=estimate, low=max(bounds[0], estimate - reach), high=min(bounds[1], estimate + reach), level=level,
        n=n, method="cluster-robust by rater and image, t", scope=SCOPE, error=error, degrees=degrees, p_value=p_value,
        raters=groups[0], images=groups[1],
    )  # fmt: skip


def _exact(estimate: float, n: int, groups: tuple[int, int], null: float, level: float) -> ClusteredInterval:
    units = min(groups)
    test = stats.binomtest(round(estimate * units), units, null)
    low, high = test.proportion_ci(level)
    return ClusteredInterval(
        estimate=estimate, low=min(float(low), estimate), high=max(float(high), estimate), level=level, n=n,
        method=f"exact binomial of {units} units; all votes are equal", scope=SCOPE, error=0.0, degrees=units - 1,
        p_value=float(test.pvalue), raters=groups[0], images=groups[1],
    )  # fmt: skip
