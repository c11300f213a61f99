"""How sure a comparison is: intervals, tests and verdicts for numbers that come one per image or one per training.

A difference is always first minus second, paired. What is resampled is the independent unit: the photograph (its masks
and crops stay together) or the training. For distances between sets of images see `medfe.evaluation.set_statistics`.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy import stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.power import TTestPower
from statsmodels.stats.weightstats import ttost_paired

from medfe.errors import MedfeError

ONE_PAIR_OF_TRAININGS = "over images of one pair of trainings; other seeds may differ by more"
OVER_TRAININGS = "over trainings"
_BOOTSTRAP_BATCH = 4_000_000  # drawn indices held in memory at once

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A confidence interval.

    Attributes:
        estimate: Value on all the data, in the metric's own unit.
        low: Lower end.
        high: Upper end.
        level: Nominal coverage, for example 0.95.
        n: Number of independent units (photographs, trainings).
        method: How the interval was made.
        scope: What the interval generalises over, and what it says nothing about.
    """

    estimate: float
    low: float
    high: float
    level: float
    n: int
    method: str
    scope: str = ONE_PAIR_OF_TRAININGS

    def __post_init__(self) -> None:
        if not self.low <= self.high:
            raise MedfeError(f"interval ({self.method}): found {self.low} to {self.high}, expected low ≤ high")

    def holds(self, value: float) -> bool:
        """Tell whether `value` lies in the closed interval."""
        return self.low <= value <= self.high


@dataclass(frozen=True, kw_only=True)
class TrainingsInterval(Interval):
    """Interval of a difference between trainings, with what so few of them can show.

    Attributes:
        p_value: Two-sided, of the paired t test.
        detectable: Smallest true difference that this many pairs would show with the stated power, given their spread.
        power: That power.
    """

    p_value: float
    detectable: float
    power: float


@dataclass(frozen=True, kw_only=True)
class Equivalence(Interval):
    """Result of two one-sided tests; the interval has level 1 − 2·alpha.

    Attributes:
        margin: Differences up to this size count as nothing.
        alpha: Level of each of the two tests.
        equivalent: Whether both tests reject, that is whether the interval lies inside ±margin.
    """

    margin: float
    alpha: float
    equivalent: bool


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
    data = _finite(values, "values")
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
                batch=max(1, _BOOTSTRAP_BATCH // n),
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


def paired_bootstrap(
    first: npt.ArrayLike,
    second: npt.ArrayLike,
    clusters: npt.ArrayLike | None = None,
    *,
    level: float = 0.95,
    resamples: int = 9999,
    method: Literal["BCa", "percentile"] = "BCa",
    scope: str = ONE_PAIR_OF_TRAININGS,
    seed: int = 0,
) -> Interval:
    """Return a bootstrap interval of mean(first − second); entry i of both belongs to the same image and mask.

    Args and errors as for `bootstrap_mean`.
    """
    difference = _difference(first, second)
    return bootstrap_mean(difference, clusters, level=level, resamples=resamples, method=method, scope=scope, seed=seed)


def paired_t(
    first: npt.ArrayLike, second: npt.ArrayLike, *, level: float = 0.95, power: float = 0.8
) -> TrainingsInterval:
    """Return the paired t interval of the mean difference over trainings; entry i of both has the same seed.

    Raises:
        MedfeError: if there are fewer than two pairs, or all differences are equal, which leaves no spread to judge by.
    """
    difference = _difference(first, second)
    n = len(difference)
    if n < 2:
        raise MedfeError(f"trainings: found {n} pair, expected at least 2")
    if np.ptp(difference) == 0:
        raise MedfeError(f"trainings: all {n} differences are {difference[0]:g}, expected trainings of different seeds")
    test = stats.ttest_1samp(difference, 0.0)
    low, high = test.confidence_interval(level)
    effect = TTestPower().solve_power(nobs=n, alpha=1 - level, power=power, alternative="two-sided")
    return TrainingsInterval(
        estimate=float(difference.mean()),
        low=float(low),
        high=float(high),
        level=level,
        n=n,
        method="paired t",
        scope=OVER_TRAININGS,
        p_value=float(test.pvalue),
        detectable=float(effect * difference.std(ddof=1)),
        power=power,
    )


def tost(
    first: npt.ArrayLike, second: npt.ArrayLike, margin: float, *, alpha: float = 0.05, scope: str = OVER_TRAININGS
) -> Equivalence:
    """Return the two one-sided paired t tests of |mean difference| < margin (Schuirmann 1987).

    The pairs must be independent: one per training, or one mean per photograph.

    Raises:
        MedfeError: if the margin is not positive, or as for `paired_t`.
    """
    _check_margin(margin)
    interval = paired_t(first, second, level=1 - 2 * alpha)
    p_value = float(ttost_paired(np.asarray(first, float), np.asarray(second, float), -margin, margin)[0])
    return Equivalence(
        estimate=interval.estimate,
        low=interval.low,
        high=interval.high,
        level=interval.level,
        n=interval.n,
        method="two one-sided paired t tests",
        scope=scope,
        margin=margin,
        alpha=alpha,
        equivalent=p_value < alpha,
    )


def tost_interval(interval: Interval, margin: float) -> Equivalence:
    """Return the two one-sided tests that any interval of level 1 − 2·alpha stands for; 0.90 gives alpha 0.05.

    Raises:
        MedfeError: if the margin is not positive.
    """
    _check_margin(margin)
    return Equivalence(
        estimate=interval.estimate,
        low=interval.low,
        high=interval.high,
        level=interval.level,
        n=interval.n,
        method=f"two one-sided tests by {interval.method}",
        scope=interval.scope,
        margin=margin,
        alpha=(1 - interval.level) / 2,
        equivalent=-margin < interval.low and interval.high < margin,
    )


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """Return the p-values of a family of secondary endpoints, adjusted by Holm's step-down method (1979)."""
    if not p_values:
        return {}
    adjusted = multipletests(list(p_values.values()), method="holm")[1]
    return dict(zip(p_values, map(float, adjusted), strict=True))


def verdict(
    difference: Interval,
    first: str,
    second: str,
    metric: str,
    *,
    lower_is_better: bool,
    equivalence: Equivalence | None = None,
    adjusted_p: float | None = None,
) -> str:
    """Say in words what an interval of first − second shows; "better" only when it leaves out 0.

    Args:
        difference: Interval of first − second.
        first: Name of the first method.
        second: Name of the second method.
        metric: Name of the metric.
        lower_is_better: Direction of the metric.
        equivalence: Result of the equivalence test, if a margin was named beforehand.
        adjusted_p: p-value after `holm`, for a secondary endpoint; "better" then also needs it below 1 − level.
    """
    numbers = (
        f"difference {difference.estimate:.3g}, {100 * difference.level:g} % interval "
        f"{difference.low:.3g} to {difference.high:.3g}, n = {difference.n}, {difference.scope}"
    )
    equivalent = equivalence is not None and equivalence.equivalent
    within = f"equivalent within ±{equivalence.margin:g}" if equivalence is not None else ""
    if difference.holds(0.0):
        words = (
            f"{first} and {second} are {within} in {metric}"
            if equivalent
            else f"no difference in {metric} shown between {first} and {second}"
        )
    elif adjusted_p is not None and adjusted_p >= 1 - difference.level:
        words = f"no difference in {metric} shown between {first} and {second} after Holm's correction"
    else:
        winner, loser = (first, second) if (difference.high < 0) == lower_is_better else (second, first)
        words = f"{winner} is better than {loser} in {metric}" + (f", yet {within}" if equivalent else "")
    return f"{words} ({numbers})"


def _check_margin(margin: float) -> None:
    if not margin > 0:
        raise MedfeError(f"margin: found {margin}, expected a positive number")


def _difference(first: npt.ArrayLike, second: npt.ArrayLike) -> Array:
    one, two = _finite(first, "first"), _finite(second, "second")
    if one.shape != two.shape:
        raise MedfeError(f"paired comparison: found {len(one)} and {len(two)} values, expected equal numbers")
    return one - two


def _finite(values: npt.ArrayLike, name: str) -> Array:
    """Return `values` as (N,) float64, or say what is wrong."""
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1 or len(array) == 0:
        raise MedfeError(f"{name}: found shape {array.shape}, expected (N,) with N ≥ 1")
    bad = int(np.sum(~np.isfinite(array)))
    if bad:
        raise MedfeError(f"{name}: {bad} of {len(array)} are infinite or not numbers, expected finite numbers")
    return array
