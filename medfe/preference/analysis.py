"""What the votes of a study say.

The primary number is the share of wins of the first method of a pair among votes that are no tie, from main trials of
raters who are not excluded, with an interval over raters and images. Everything else stands beside it: ties counted as
one half, nobody excluded, naive intervals, and what may have gone wrong.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import krippendorff
import numpy as np
import pandas as pd
from statsmodels.stats.proportion import proportion_confint

from medfe.data.masks import AREA_BINS
from medfe.errors import MedfeError
from medfe.evaluation.statistics import Interval, holm
from medfe.preference.clustered import ClusteredInterval, clustered_difference, clustered_mean
from medfe.preference.definition import Study
from medfe.preference.export import ORIGINAL, TIE

NAIVE = "naive: takes every vote for independent"


@dataclass(frozen=True)
class PairResult:
    """One pair of methods.

    Attributes:
        first: Method whose wins are counted.
        second: The other.
        wins: Votes for the first, of raters who are not excluded.
        ties: Votes for neither.
        losses: Votes for the second.
        share: Share of wins without ties; None with fewer than two raters or images.
        wilson: Naive interval of the same share.
        exact: Naive Clopper-Pearson interval.
        ties_as_half: Share with a tie counted as half a win.
        everyone: Share without ties, nobody excluded.
        late_minus_early: Share in the second half of a session minus the first.
        alpha: Krippendorff's alpha (ordinal: loss, tie, win) between raters; None where it is not defined.
        p_holm: Holm's p-value among the pairs that are not the primary one.
    """

    first: str
    second: str
    wins: int
    ties: int
    losses: int
    share: ClusteredInterval | None
    wilson: Interval | None
    exact: Interval | None
    ties_as_half: ClusteredInterval | None
    everyone: ClusteredInterval | None
    late_minus_early: ClusteredInterval | None
    alpha: float | None
    p_holm: float | None = None

    @property
    def verdict(self) -> str:
        """The primary result in words."""
        if self.share is None:
            votes = self.wins + self.ties + self.losses
            return f"too few raters or pictures to generalise from ({votes} votes of raters who are not excluded)"
        estimate, low, high = (
            f"{100 * value:.1f} %" for value in (self.share.estimate, self.share.low, self.share.high)
        )
        numbers = f"{estimate} of votes without ties, {100 * self.share.level:g} % interval {low} to {high}"
        shown = not self.share.holds(0.5)
        if shown and self.p_holm is not None and self.p_holm >= 1 - self.share.level:
            return f"no preference shown between {self.first} and {self.second} after Holm's correction ({numbers})"
        if not shown:
            return f"no preference shown between {self.first} and {self.second} ({self.first}: {numbers})"
        better = self.first if self.share.estimate > 0.5 else self.second
        return f"{better} is preferred ({self.first}: {numbers})"


@dataclass(frozen=True)
class Analysis:
    """All results of a study.

    Attributes:
        study: Definition.
        answers: Answers to main trials.
        peeked: Looked at before the target.
        raters: Raters with an answer.
        finished: Raters who answered every trial.
        excluded: Labels of excluded raters.
        catches: Per rater: `rater`, `answered`, `failed`, `excluded`.
        pairs: Results, the primary pair first.
        areas: Primary pair by mask area: `class`, `votes`, `share`, `low`, `high`, `p`, `p_holm`.
        left: Share of votes for the left picture among main votes without ties; without a side bias it holds 0.5.
        consistent: Share of repeated trials with the same answer; Wilson's interval.
        by_chance: The share that answers independent of each other would give, within pairs of methods.
        milliseconds: 10 %, 50 % and 90 % quantile of the time to an answer.
        zoomed: Share of answers for which the pictures were enlarged.
        phones: Share of answers from windows narrower than 700 CSS pixels.
    """

    study: Study
    answers: int
    peeked: bool
    raters: int
    finished: int
    excluded: tuple[int, ...]
    catches: pd.DataFrame
    pairs: tuple[PairResult, ...]
    areas: pd.DataFrame
    left: ClusteredInterval | None
    consistent: Interval | None
    by_chance: float
    milliseconds: tuple[float, float, float]
    zoomed: float
    phones: float


def analyse(study: Study, votes: pd.DataFrame, *, level: float = 0.95) -> Analysis:
    """Analyse votes.

    Args:
        study: Definition.
        votes: As `medfe.preference.export.vote_table` returns them.
        level: Nominal coverage.

    Raises:
        MedfeError: if there is no vote on a main trial, or the votes are another question's.
    """
    if set(votes["question"]) - {study.design.question}:
        raise MedfeError(
            f"votes: found answers to {sorted(set(votes['question']))}, expected {study.design.question!r}"
        )
    main = votes[votes["kind"] == "main"]
    if main.empty:
        raise MedfeError("votes: found no answer to a main trial, expected some")
    catches = catch_failures(votes, study.design.max_catch_failures)
    excluded = tuple(catches.loc[catches["excluded"], "rater"].tolist())
    kept = main[~main["rater"].isin(excluded)]
    names = [method.name for method in study.methods]
    half = study.design.trials / 2
    pairs = [pair_result(main, kept, names[a], names[b], half, level) for a, b in study.pairs]
    decided = main[main["choice"] != "tie"]
    sizes = votes.groupby("rater").size()
    quantiles = np.quantile(main["milliseconds"], [0.1, 0.5, 0.9])
    consistent, by_chance = self_consistency(votes, level)
    return Analysis(
        study=study, answers=len(main), peeked=len(main) < study.design.target_votes, raters=len(sizes),
        finished=int((sizes == study.design.trials).sum()), excluded=excluded, catches=catches,
        pairs=tuple(_with_holm(pairs)), areas=by_area(kept, names[0], names[1], level),
        left=_clustered((decided["choice"] == "left").astype(float), decided, level), consistent=consistent,
        by_chance=by_chance, milliseconds=(float(quantiles[0]), float(quantiles[1]), float(quantiles[2])),
        zoomed=float(main["zoomed"].mean()), phones=float((main["viewport_width"] < 700).mean()),
    )  # fmt: skip


def catch_failures(votes: pd.DataFrame, most: float) -> pd.DataFrame:
    """Return one row a rater: catch trials answered and failed (any answer but the photograph), and the exclusion.

    Args:
        votes: All votes.
        most: Largest share of failures that is not excluded.
    """
    caught = votes[votes["kind"] == "catch"]
    failed = (caught["winner"] != ORIGINAL).groupby(caught["rater"]).sum()
    table = pd.DataFrame({"rater": sorted(votes["rater"].unique())})
    table["answered"] = table["rater"].map(caught.groupby("rater").size()).fillna(0).astype(int)
    table["failed"] = table["rater"].map(failed).fillna(0).astype(int)
    table["excluded"] = table["failed"] > most * table["answered"]
    return table


def pair_result(
    main: pd.DataFrame, kept: pd.DataFrame, first: str, second: str, half: float, level: float = 0.95
) -> PairResult:
    """Return the result of one pair.

    Args:
        main: Votes on main trials.
        kept: Those of raters who are not excluded.
        first: Method whose wins are counted.
        second: The other.
        half: Position from which a session's second half counts.
        level: Nominal coverage.
    """
    everyone, own = of_pair(main, first, second), of_pair(kept, first, second)
    everyone, decided = everyone[everyone["value"] != 0.5], own[own["value"] != 0.5]
    wins, n = int((decided["value"] == 1).sum()), len(decided)
    late = decided["position"] >= half
    drift = None
    if _enough(decided) and late.any() and not late.all():
        drift = clustered_difference(decided["value"], late, decided["rater"], decided["item"], level=level)
    return PairResult(
        first=first, second=second, wins=wins, ties=len(own) - n, losses=n - wins,
        share=_clustered(decided["value"], decided, level), wilson=naive(wins, n, "wilson", level),
        exact=naive(wins, n, "beta", level), ties_as_half=_clustered(own["value"], own, level),
        everyone=_clustered(everyone["value"], everyone, level),
        late_minus_early=drift, alpha=agreement(own),
    )  # fmt: skip


def of_pair(votes: pd.DataFrame, first: str, second: str) -> pd.DataFrame:
    """Return the votes between two methods with a column `value`: 1 where the first won, 0 the second, 0.5 a tie."""
    rows = votes[votes["left"].isin([first, second]) & votes["right"].isin([first, second])]
    return rows.assign(value=rows["winner"].map({first: 1.0, second: 0.0, TIE: 0.5}).astype(float))


def naive(wins: int, n: int, method: str, level: float = 0.95) -> Interval | None:
    """Return an interval that takes votes for independent: `wilson`, or `beta` (Clopper-Pearson, exact)."""
    if n == 0:
        return None
    low, high = proportion_confint(wins, n, alpha=1 - level, method=method)
    label = {"wilson": "Wilson", "beta": "exact binomial"}[method]
    return Interval(
        estimate=wins / n, low=float(low), high=float(high), level=level, n=n, method=label, scope=NAIVE
    )  # fmt: skip


def agreement(votes: pd.DataFrame) -> float | None:
    """Return Krippendorff's alpha of a pair's votes, ordinal: loss, tie, win; None where it is not defined."""
    matrix = votes.pivot_table(index="rater", columns="item", values="value")
    shared = matrix.loc[:, matrix.notna().sum() >= 2]
    if shared.empty or len(np.unique(shared.to_numpy()[shared.notna().to_numpy()])) < 2:
        return None
    value = float(krippendorff.alpha(shared.to_numpy(), level_of_measurement="ordinal"))
    return value if math.isfinite(value) else None


def self_consistency(votes: pd.DataFrame, level: float = 0.95) -> tuple[Interval | None, float]:
    """Return the share of repeated trials with the first answer's winner, and the share that chance would give.

    Chance is that of two answers about the same pair of methods that know nothing of each other.
    """
    again = votes[votes["kind"] == "repeat"].astype({"repeats": "int64"})
    first = votes.loc[votes["kind"] == "main", ["rater", "position", "winner"]]
    both = again.merge(first, left_on=["rater", "repeats"], right_on=["rater", "position"], suffixes=("", "_first"))
    if both.empty:
        return None, math.nan
    pair = pd.Series([frozenset(sides) for sides in zip(both["left"], both["right"], strict=True)], both.index)
    alike = [
        (rows["winner"].value_counts() * rows["winner_first"].value_counts()).sum() / len(rows)
        for _, rows in both.groupby(pair, sort=False)
    ]
    interval = naive(int((both["winner"] == both["winner_first"]).sum()), len(both), "wilson", level)
    return interval, float(sum(alike)) / len(both)


def by_area(votes: pd.DataFrame, first: str, second: str, level: float = 0.95) -> pd.DataFrame:
    """Return the primary pair's share by class of mask area, with p-values corrected by Holm's method."""
    own = of_pair(votes, first, second)
    decided = own[own["value"] != 0.5]
    found: dict[str, ClusteredInterval] = {}
    for name in AREA_BINS:
        rows = decided[decided["area_bin"] == name]
        interval = _clustered(rows["value"], rows, level)
        if interval is not None:
            found[name] = interval
    adjusted = holm({name: interval.p_value for name, interval in found.items()})
    rows_: list[dict[str, Any]] = [
        {"class": name, "votes": interval.n, "share": interval.estimate, "low": interval.low, "high": interval.high,
         "p": interval.p_value, "p_holm": adjusted[name]}
        for name, interval in found.items()
    ]  # fmt: skip
    return pd.DataFrame(rows_, columns=["class", "votes", "share", "low", "high", "p", "p_holm"])


def _with_holm(pairs: list[PairResult]) -> list[PairResult]:
    """Correct the pairs after the first, which are secondary."""
    p_values = {str(place): pair.share.p_value for place, pair in enumerate(pairs) if place and pair.share is not None}
    adjusted = holm(p_values)
    return [replace(pair, p_holm=adjusted.get(str(place))) for place, pair in enumerate(pairs)]


def _enough(rows: pd.DataFrame) -> bool:
    return rows["rater"].nunique() >= 2 and rows["item"].nunique() >= 2


def _clustered(values: pd.Series, rows: pd.DataFrame, level: float) -> ClusteredInterval | None:
    return clustered_mean(values, rows["rater"], rows["item"], level=level) if _enough(rows) else None
