"""A ranking of three methods or more from their pairwise votes (Bradley and Terry 1952)."""

from __future__ import annotations

import choix
import numpy as np
import numpy.typing as npt
import pandas as pd

from medfe.preference.export import TIE

PRIOR = 0.01
"""`alpha` of choix's fit, the rate of every ordered pair before any vote: keeps who never wins at a finite place."""


def bradley_terry(
    votes: pd.DataFrame, methods: list[str], *, level: float = 0.95, resamples: int = 500, seed: int = 0
) -> pd.DataFrame | None:
    """Fit strengths to votes without ties; intervals by a bootstrap that draws whole raters.

    Args:
        votes: Rows with `rater`, `left`, `right`, `winner`.
        methods: Names.
        level: Nominal coverage.
        resamples: Bootstrap samples.
        seed: Of the bootstrap.

    Returns:
        One row a method, strongest first: `method`, `strength` (log-odds against the average method), `low`, `high`.
        None with fewer than two raters who decided anything, which leaves nothing to generalise from.
    """
    decided = votes[votes["winner"] != TIE]
    if decided["rater"].nunique() < 2:
        return None
    place = {name: index for index, name in enumerate(methods)}
    winner = decided["winner"].map(place).to_numpy()
    loser = decided["left"].map(place).to_numpy() + decided["right"].map(place).to_numpy() - winner
    data = np.stack([winner, loser], axis=1)
    groups = [np.flatnonzero(decided["rater"].to_numpy() == rater) for rater in decided["rater"].unique()]
    strength = _fit(data, len(methods))
    rng = np.random.default_rng(seed)
    drawn = [
        _fit(data[np.concatenate([groups[i] for i in rng.integers(len(groups), size=len(groups))])], len(methods))
        for _ in range(resamples)
    ]
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2], axis=0)
    table = pd.DataFrame({"method": methods, "strength": strength, "low": low, "high": high})
    return table.sort_values("strength", ascending=False, ignore_index=True)


def _fit(data: npt.NDArray[np.int64], methods: int) -> npt.NDArray[np.float64]:
    counts = np.zeros((methods, methods))
    np.add.at(counts, (data[:, 0], data[:, 1]), 1)
    strengths: npt.NDArray[np.float64] = choix.ilsr_pairwise_dense(counts, alpha=PRIOR)
    strengths -= strengths.mean()
    return strengths
