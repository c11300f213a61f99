"""How many votes a study needs: power of the exact binomial test, computed, not simulated."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

from medfe.errors import MedfeError

LARGEST = 200_000


@dataclass(frozen=True)
class SampleSize:
    """Votes that a study needs.

    Attributes:
        independent: Votes, if every vote came from another rater on another picture.
        votes: Votes, ties left out, with the design effect.
        power: Power with `independent` votes.
    """

    independent: int
    votes: int
    power: float


def binomial_power(n: int, share: float, alpha: float = 0.05) -> float:
    """Return the power of the exact two-sided binomial test of a share of one half.

    Args:
        n: Number of independent votes without ties.
        share: True share of wins.
        alpha: Level; the test rejects where twice the smaller tail is at most this.
    """
    return float(_powers(np.array([n]), share, alpha)[0])


def _powers(n: npt.NDArray[np.int64], share: float, alpha: float) -> npt.NDArray[np.float64]:
    critical = stats.binom.ppf(alpha / 2, n, 0.5)
    critical -= 2 * stats.binom.cdf(critical, n, 0.5) > alpha  # wins up to this many reject
    powers: npt.NDArray[np.float64] = stats.binom.cdf(critical, n, share) + stats.binom.sf(n - critical - 1, n, share)
    return powers


def votes_needed(share: float, power: float = 0.8, alpha: float = 0.05, design_effect: float = 1.0) -> SampleSize:
    """Return the number of votes from which on the exact binomial test has the power asked for.

    The power of an exact test falls and rises with n by the steps of its critical value; the number returned is the
    one after which it never falls below `power` again.

    Args:
        share: True share of wins to be shown, without ties.
        power: Power asked for.
        alpha: Level, two-sided.
        design_effect: Variance of the share over that of independent votes; see `design_effect`.

    Raises:
        MedfeError: a value out of its range, or more than 200,000 votes.
    """
    for name, value, low in (("power", power, 0.0), ("alpha", alpha, 0.0), ("share", share, 0.0)):
        if not low < value < 1:
            raise MedfeError(f"{name}: found {value:g}, expected more than {low:g} and less than 1")
    if not (math.isfinite(design_effect) and design_effect >= 1):
        raise MedfeError(f"design_effect: found {design_effect:g}, expected at least 1")
    if share == 0.5:
        raise MedfeError("share: found 0.5, which is what the test is against; expected another")
    # Where the normal approximation has no doubt left, the steps do not matter either.
    shift = abs(share - 0.5)
    z = stats.norm.isf(alpha / 2) * 0.5 + max(stats.norm.ppf(power), 0.0) * math.sqrt(share * (1 - share))
    enough = int(1.5 * (z / shift) ** 2 + 12 / shift + 20)
    if enough > LARGEST:
        raise MedfeError(f"share: found {share:g}, expected one farther from 0.5: it takes more than {LARGEST} votes")
    powers = _powers(np.arange(1, enough + 1), share, alpha)
    independent = 1 + int(np.flatnonzero(powers < power).max(initial=-1)) + 1
    votes = math.ceil(round(independent * design_effect, 9))
    return SampleSize(independent, votes, float(powers[independent - 1]))


def design_effect(votes_a_rater: float, votes_an_image: float, rater_icc: float, image_icc: float) -> float:
    """Return by how much votes that share raters and images widen the variance of the share (Kish 1965, both ways).

    Args:
        votes_a_rater: Votes of each rater.
        votes_an_image: Votes on each image.
        rater_icc: Correlation of two votes of one rater on different images.
        image_icc: Correlation of two raters' votes on one image.

    Raises:
        MedfeError: a value out of its range.
    """
    for name, value in (("votes_a_rater", votes_a_rater), ("votes_an_image", votes_an_image)):
        if not value >= 1:
            raise MedfeError(f"{name}: found {value:g}, expected at least 1")
    for name, value in (("rater_icc", rater_icc), ("image_icc", image_icc)):
        if not 0 <= value <= 1:
            raise MedfeError(f"{name}: found {value:g}, expected 0 to 1")
    return 1 + (votes_a_rater - 1) * rater_icc + (votes_an_image - 1) * image_icc
