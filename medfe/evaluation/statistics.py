"""How sure a comparison is: intervals, paired tests over trainings, and verdicts in words.

A difference is always first minus second, paired. For numbers that come one an image see `medfe.evaluation.bootstrap`,
for distances between sets of images `medfe.evaluation.set_statistics`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.power import TTestPower
from statsmodels.stats.weightstats import ttost_paired

from medfe.errors import MedfeError

ONE_PAIR_OF_TRAININGS = "over images of one pair of trainings; other seeds may differ by more"
OVER_TRAININGS = "over trainings"

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


def paired_t(
    first: npt.ArrayLike, second: npt.ArrayLike, *, level: float = 0.95, power: float = 0.8
) -> TrainingsInterval:
    """Return the paired t interval of the mean difference over trainings; entry i of both has the same seed.

    Raises:
        MedfeError: if there are fewer than two pairs, or all differences are equal, which leaves no spread to judge by.
    """
    difference = paired_difference(first, second)
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
    p: float | None = None,
    show: Callable[[float], str] = "{:.3g}".format,
    scale: float = 1.0,
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
        p: p-value of another test than the interval's, for a primary endpoint; needed likewise. Of few photographs a
            bootstrap interval is too narrow, and a permutation test is exact.
        show: How differences are printed.
        scale: Factor that `show` prints values with; margins are printed with all their digits.
    """
    numbers = (
        f"difference {show(difference.estimate)}, {100 * difference.level:g} % interval "
        f"{show(difference.low)} to {show(difference.high)}"
        + (f", margin ±{scale * equivalence.margin:g}" if equivalence is not None else "")
        + f", n = {difference.n}, {difference.scope}"
    )
    equivalent = equivalence is not None and equivalence.equivalent
    within, alpha = "equivalent within the margin", 1 - difference.level
    yet = f", yet {within}" if equivalent else ""
    if difference.holds(0.0):
        words = (
            f"{first} and {second} are {within} in {metric}"
            if equivalent
            else f"no difference in {metric} shown between {first} and {second}"
        )
    elif adjusted_p is not None and adjusted_p >= alpha:
        words = f"no difference in {metric} shown between {first} and {second} after Holm's correction{yet}"
    elif p is not None and p >= alpha:
        words = f"no difference in {metric} shown between {first} and {second}, for the test does not agree{yet}"
    else:
        winner, loser = (first, second) if (difference.high < 0) == lower_is_better else (second, first)
        words = f"{winner} is better than {loser} in {metric}{yet}"
    return f"{words} ({numbers})"


def _check_margin(margin: float) -> None:
    if not margin > 0:
        raise MedfeError(f"margin: found {margin}, expected a positive number")


def paired_difference(first: npt.ArrayLike, second: npt.ArrayLike) -> Array:
    """Return first − second, (N,).

    Raises:
        MedfeError: for lengths that differ, or as for `finite`.
    """
    one, two = finite(first, "first"), finite(second, "second")
    if one.shape != two.shape:
        raise MedfeError(f"paired comparison: found {len(one)} and {len(two)} values, expected equal numbers")
    return one - two


def finite(values: npt.ArrayLike, name: str) -> Array:
    """Return `values` as (N,) float64.

    Raises:
        MedfeError: for no values, another shape, or a value that is not finite.
    """
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1 or len(array) == 0:
        raise MedfeError(f"{name}: found shape {array.shape}, expected (N,) with N ≥ 1")
    bad = int(np.sum(~np.isfinite(array)))
    if bad:
        raise MedfeError(f"{name}: {bad} of {len(array)} are infinite or not numbers, expected finite numbers")
    return array
