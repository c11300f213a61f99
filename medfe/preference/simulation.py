"""Studies that no person took part in: whether the intervals hold what they promise.

A vote of rater r on image i comes from a latent preference beta + u_r + v_i + e, with u and v normal and e logistic:
above tau the first method wins, below -tau the second, between them it is a tie. Sessions are planned as in a real
study.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import optimize, special, stats

from medfe.errors import MedfeError
from medfe.preference.clustered import Array, Labels, count_groups, two_way_variance
from medfe.preference.plan import History, plan_session
from medfe.preference.scenario import Scenario

_NODES = 64  # of the Gauss-Hermite quadrature; 1e-8 at standard deviations up to 3


@dataclass(frozen=True)
class SimulatedCoverage:
    """What came out of many simulated studies.

    Attributes:
        scenario: What was simulated.
        studies: Number of studies, those left out that the analysis gives no interval: without a decided vote of two
            raters and on two images.
        truth: True share.
        covered: Share of studies whose cluster-robust interval holds the truth.
        naive_covered: The same of the Wilson interval, which takes votes for independent.
        width: Mean width of the cluster-robust interval.
        naive_width: Mean width of the Wilson interval.
        rejected: Share of studies whose cluster-robust interval leaves out 0.5.
        design_effect: Variance of the share over that of independent votes.
    """

    scenario: Scenario
    studies: int
    truth: float
    covered: float
    naive_covered: float
    width: float
    naive_width: float
    rejected: float
    design_effect: float

    def text(self) -> str:
        """Return the result in lines, labelled as a simulation."""
        study = self.scenario
        lines = {
            "95 % intervals that hold the truth": (f"{self.covered:.1%}", f"{self.naive_covered:.1%}"),
            "mean width, percentage points": (f"{100 * self.width:.1f}", f"{100 * self.naive_width:.1f}"),
        }
        return "\n".join([
            f"SIMULATION of {self.studies} studies; no person took part",
            f"  {study.raters} raters × {study.trials} trials on {study.images} pictures, true share {self.truth:.1%}, "
            f"spread {study.rater_sd:g} between raters, {study.image_sd:g} between pictures (logits)",
            *(f"  {name:36} cluster-robust {own}, naive {naive}" for name, (own, naive) in lines.items()),
            f"  {'studies that show a preference':36} {self.rejected:.1%}",
            f"  {'design effect':36} {self.design_effect:.2f}",
        ])  # fmt: skip


def simulate(scenario: Scenario, studies: int = 500, seed: int = 0, level: float = 0.95) -> SimulatedCoverage:
    """Simulate studies and compare their intervals with the truth.

    Raises:
        MedfeError: a setting out of its range, or too few decided votes in every study.
    """
    _check(scenario, studies)
    rng = np.random.default_rng(seed)
    raters, images = sessions(scenario, rng)
    wins, losses = draw_votes(scenario, raters, images, studies, rng)
    decided = wins | losses
    usable = np.minimum(count_groups(raters, decided), count_groups(images, decided)) >= 2
    if not usable.any():
        raise MedfeError(
            f"ties: found {scenario.ties:g}, expected fewer: no study of {studies} has decided votes of two raters on "
            "two pictures"
        )
    wins, decided = wins[usable], decided[usable]
    n = decided.sum(axis=1)
    estimate, low, high = intervals(wins, decided, raters, images, level)
    naive_low, naive_high = wilson(wins.sum(axis=1), n, level)
    return SimulatedCoverage(
        scenario=scenario, studies=int(usable.sum()), truth=scenario.share,
        covered=float(np.mean((low <= scenario.share) & (scenario.share <= high))),
        naive_covered=float(np.mean((naive_low <= scenario.share) & (scenario.share <= naive_high))),
        width=float(np.mean(high - low)), naive_width=float(np.mean(naive_high - naive_low)),
        rejected=float(np.mean((low > 0.5) | (high < 0.5))),
        design_effect=float(np.mean((estimate - scenario.share) ** 2 / (scenario.share * (1 - scenario.share) / n))),
    )  # fmt: skip


def sessions(scenario: Scenario, rng: np.random.Generator) -> tuple[Labels, Labels]:
    """Return rater and image of every vote, planned as in a real study."""
    history = History.empty(scenario.images, 1, 0)
    image: list[int] = []
    for _ in range(scenario.raters):
        planned = plan_session([(0, 1)], history, main=scenario.trials, catches=0, repeats=0, rng=rng)
        for trial in planned:
            history.counts[trial.item, 0, trial.left] += 1
        image += [trial.item for trial in planned]
    return np.repeat(np.arange(scenario.raters), scenario.trials), np.array(image)


def draw_votes(
    scenario: Scenario, raters: Labels, images: Labels, studies: int, rng: np.random.Generator
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Return wins and losses of the first method, studies×votes each; what is neither is a tie."""
    beta, tau = latent(scenario)
    u = scenario.rater_sd * rng.standard_normal((studies, scenario.raters))
    v = scenario.image_sd * rng.standard_normal((studies, scenario.images))
    preference = beta + u[:, raters] + v[:, images] + rng.logistic(size=(studies, len(raters)))
    return preference > tau, preference < -tau


def latent(scenario: Scenario) -> tuple[float, float]:
    """Return beta and tau that give the scenario's share of wins and of ties, over all raters and images."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(_NODES)
    effects = np.hypot(scenario.rater_sd, scenario.image_sd) * nodes
    weights = weights / weights.sum()

    def rates(beta: float, tau: float) -> tuple[float, float]:
        return (
            float(weights @ special.expit(beta + effects - tau)),
            float(weights @ special.expit(-beta - effects - tau)),
        )

    def misses(x: Array) -> list[float]:
        win, loss = rates(float(x[0]), float(x[1]))
        return [win - scenario.share * (1 - scenario.ties), loss - (1 - scenario.share) * (1 - scenario.ties)]

    found = optimize.root(misses, [float(special.logit(scenario.share)), 2 * scenario.ties], tol=1e-12)
    return float(found.x[0]), float(found.x[1])


def intervals(
    wins: npt.NDArray[np.bool_], decided: npt.NDArray[np.bool_], raters: Labels, images: Labels, level: float
) -> tuple[Array, Array, Array]:
    """Return the share of wins of many studies and both ends of its interval, as the analysis has them.

    Args:
        wins: (S, N) whether a vote is a win.
        decided: (S, N) whether it is no tie.
        raters: (N,) label of each vote's rater.
        images: (N,) label of each vote's image.
        level: Nominal coverage.

    Returns:
        (S,) each what `medfe.preference.clustered.clustered_mean` gives for a study's decided votes.
    """
    n = decided.sum(axis=1)
    share = wins.sum(axis=1) / n
    units = np.minimum(count_groups(raters, decided), count_groups(images, decided))
    influence = np.where(decided, wins - share[:, None], 0.0) / n[:, None]
    error = np.sqrt(two_way_variance(influence, raters, images, decided))
    # Equal votes have no spread: Clopper and Pearson's interval of so many units, in its closed form for all or none.
    exact = 1 - ((1 - level) / 2) ** (1 / units)
    reach = np.where((share == 0) | (share == 1), exact, stats.t.ppf((1 + level) / 2, units - 1) * error)
    return share, np.maximum(share - reach, 0), np.minimum(share + reach, 1)


def wilson(wins: Labels, n: Labels, level: float) -> tuple[Array, Array]:
    """Return Wilson's interval (1927), which takes votes for independent."""
    z2 = stats.norm.ppf((1 + level) / 2) ** 2
    middle = (wins + z2 / 2) / (n + z2)
    reach = np.sqrt(z2 * (wins * (n - wins) / n + z2 / 4)) / (n + z2)
    return middle - reach, middle + reach


def _check(scenario: Scenario, studies: int) -> None:
    for name, least in (("raters", 2), ("images", 2), ("trials", 1)):
        if getattr(scenario, name) < least:
            raise MedfeError(f"{name}: found {getattr(scenario, name)}, expected at least {least}")
    if studies < 1:
        raise MedfeError(f"studies: found {studies}, expected at least 1")
    if scenario.trials > scenario.images:
        raise MedfeError(f"trials: found {scenario.trials}, expected at most the {scenario.images} images")
    if not 0 < scenario.share < 1:
        raise MedfeError(f"share: found {scenario.share:g}, expected more than 0 and less than 1")
    if not 0 <= scenario.ties < 1:
        raise MedfeError(f"ties: found {scenario.ties:g}, expected 0 to less than 1")
    for name in ("rater_sd", "image_sd"):
        if not 0 <= getattr(scenario, name) <= 3:
            raise MedfeError(f"{name}: found {getattr(scenario, name):g}, expected 0 to 3")
