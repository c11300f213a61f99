"""Contrasts between arms over trainings: paired by seed, by the rules that were registered."""

from __future__ import annotations

from collections.abc import Set
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from medfe.errors import MedfeError
from medfe.evaluation.names import lower_is_better, number, scale, title, unit
from medfe.evaluation.statistics import Equivalence, TrainingsInterval, holm, paired_t, tost, verdict
from medfe.experiments.entry import Contrast, Experiment
from medfe.experiments.tables import ORIGIN, joined, metric_names

PRIMARY, SECONDARY, DESCRIPTIVE = "primary", "secondary", "not tested"
SUPPORTED, CONTRADICTED, CONTRADICTED_IN_SIZE, NOT_SHOWN = (
    "supported", "contradicted", "contradicted in size", "not shown",
)  # fmt: skip
_LEVEL = 0.95
_INTERIM = ("difference", "low", "high", "p_value", "sd", "detectable")  # not told before all seeds are done


class Pairs(NamedTuple):
    """A metric of two arms, entry i of both with the same seed."""

    seeds: list[int]
    first: npt.NDArray[np.float64]
    second: npt.NDArray[np.float64]
    origin: dict[str, str]
    """Digests and commits of the runs."""


def contrasts(
    experiment: Experiment, metrics: pd.DataFrame, excluded: Set[tuple[str, int]] = frozenset()
) -> pd.DataFrame:
    """Return one row per contrast, always first − second: the primary, the secondary ones, then what is not tested.

    Intervals are paired t over seeds that both arms have. Holm's correction covers all secondary contrasts together
    that have an interval, once all are there with all registered seeds, excluded ones apart. The primary verdict
    waits for its seeds likewise; until then neither difference nor interval is told, so that none is read as a result,
    and what is not tested has no row.

    Args:
        experiment: Its contrasts, entries and margin.
        metrics: A row for each (run, masks), columns as of `medfe.experiments.tables.rows_of`.
        excluded: Arm and seed of runs that are left out by the plan.
    """
    if metrics.empty:
        return pd.DataFrame()
    tested = [*([experiment.primary] if experiment.primary else []), *experiment.secondary]
    found = {contrast: _pairs(metrics, contrast) for contrast in tested}
    intervals = {contrast: _interval(pairs) for contrast, pairs in found.items()}
    expected = {contrast: _expected(experiment, contrast, excluded) for contrast in tested}
    complete = {contrast: set(found[contrast].seeds) == expected[contrast] for contrast in tested}
    adjusted: dict[str, float] = {}
    done = all(complete[contrast] for contrast in experiment.secondary)
    if done:
        p_values = {str(one): interval.p_value for one in experiment.secondary if (interval := intervals[one])}
        adjusted = holm(p_values)

    rows = []
    for contrast in tested:
        role = PRIMARY if contrast == experiment.primary else SECONDARY
        ready = complete[contrast] and (role == PRIMARY or done)
        margin = _margin(experiment, found[contrast]) if role == PRIMARY else None
        row = _row(contrast, role, found[contrast], intervals[contrast], margin)
        row["p_holm"] = adjusted.get(str(contrast), np.nan) if role == SECONDARY else np.nan
        interval = intervals[contrast]
        if not ready:
            seeds = f"{len(found[contrast].seeds)} of {len(expected[contrast])} seeds are done"
            waits = ", others of the family are not" if complete[contrast] else ""
            row |= dict.fromkeys(_INTERIM, np.nan)
            row["verdict"] = f"not yet: {seeds}{waits}"
        elif interval is None:  # of one pair, the others being excluded
            row["verdict"] = f"paired seeds: {len(found[contrast].seeds)}, no interval"
        else:
            row |= _judged(contrast, interval, found[contrast], margin, adjusted.get(str(contrast)))
        rows.append(row)
    for first, second in experiment.descriptive:
        for masks in dict.fromkeys(metrics["masks"]):
            for metric in metric_names(metrics):
                contrast = Contrast(first, second, metric, masks)
                pairs = _pairs(metrics, contrast)
                if (
                    contrast not in found
                    and pairs.seeds
                    and set(pairs.seeds) == _expected(experiment, contrast, excluded)
                ):
                    rows.append(_row(contrast, DESCRIPTIVE, pairs, _interval(pairs), None))
    return pd.DataFrame(rows)


def registered_verdict(interval: TrainingsInterval, margin: float, *, smaller_is_better: bool) -> str:
    """Return what plan.md says of an interval of first − second, first being the arm of the claim.

    Args:
        interval: Of the difference.
        margin: Size of the claim, positive.
        smaller_is_better: Direction of the metric.
    """
    low, high = (interval.low, interval.high) if smaller_is_better else (-interval.high, -interval.low)
    if high < 0:
        return SUPPORTED
    if low > 0:
        return CONTRADICTED
    return CONTRADICTED_IN_SIZE if low > -margin else NOT_SHOWN


def _pairs(metrics: pd.DataFrame, contrast: Contrast) -> Pairs:
    one, two = (
        metrics[(metrics["arm"] == arm) & (metrics["masks"] == contrast.masks)].set_index("seed").sort_index()
        for arm in (contrast.first, contrast.second)
    )
    if contrast.metric not in metrics:
        return Pairs([], np.empty(0), np.empty(0), {"digests": "", "commits": ""})
    values = [part[contrast.metric].dropna() for part in (one, two)]
    seeds = sorted(set(values[0].index) & set(values[1].index))
    both = pd.concat([one.loc[seeds], two.loc[seeds]])
    origin = {f"{name}s": joined(both[name]) for name in ORIGIN}
    first, second = (part.loc[seeds].to_numpy(dtype=np.float64) for part in values)
    return Pairs([int(seed) for seed in seeds], first, second, origin)


def _interval(pairs: Pairs) -> TrainingsInterval | None:
    try:
        return paired_t(pairs.first, pairs.second, level=_LEVEL)
    except MedfeError:  # fewer than two pairs, or no spread
        return None


def _expected(experiment: Experiment, contrast: Contrast, excluded: Set[tuple[str, int]]) -> set[int]:
    """Return the seeds that both arms are registered with and not excluded of."""
    runs = {(entry.arm, entry.seed) for entry in experiment.entries} - excluded
    one, two = ({seed for name, seed in runs if name == arm} for arm in (contrast.first, contrast.second))
    return one & two


def _margin(experiment: Experiment, pairs: Pairs) -> float | None:
    if experiment.relative_margin is None or not len(pairs.second):
        return None
    return experiment.relative_margin * float(pairs.second.mean())


def _row(
    contrast: Contrast, role: str, pairs: Pairs, interval: TrainingsInterval | None, margin: float | None
) -> dict[str, Any]:
    row: dict[str, Any] = {
        **contrast._asdict(), "role": role, "n": len(pairs.seeds), "seeds": " ".join(map(str, pairs.seeds)),
        "mean_second": pairs.second.mean() if pairs.seeds else np.nan,
        "difference": (pairs.first - pairs.second).mean() if pairs.seeds else np.nan,
    }  # fmt: skip
    names = ("low", "high", "level", "p_value", "detectable", "power")
    row |= {name: np.nan if interval is None else getattr(interval, name) for name in names}
    row["sd"] = (pairs.first - pairs.second).std(ddof=1) if len(pairs.seeds) > 1 else np.nan
    if role == DESCRIPTIVE:  # nothing was registered that a p-value could belong to
        row["p_value"] = np.nan
    return row | {
        "p_holm": np.nan, "lower_is_better": lower_is_better(contrast.metric),
        "margin": np.nan if margin is None else margin, "equivalent": None, "claim": "", "verdict": "",
        "interval": "" if interval is None else interval.method, "scope": "" if interval is None else interval.scope,
        **pairs.origin,
    }  # fmt: skip


def _judged(
    contrast: Contrast, interval: TrainingsInterval, pairs: Pairs, margin: float | None, adjusted: float | None
) -> dict[str, Any]:
    better_low = lower_is_better(contrast.metric)
    equivalence: Equivalence | None = None
    row: dict[str, Any] = {}
    if margin is not None and margin > 0:
        equivalence = tost(pairs.first, pairs.second, margin)
        row = {
            "equivalent": equivalence.equivalent,
            "claim": registered_verdict(interval, margin, smaller_is_better=better_low),
        }
    words = verdict(
        interval, contrast.first, contrast.second,
        f"{title(contrast.metric)}{unit(contrast.metric)}, {contrast.masks} masks",
        lower_is_better=better_low, equivalence=equivalence, adjusted_p=adjusted,
        show=partial(number, metric=contrast.metric, difference=True), scale=scale(contrast.metric),
    )  # fmt: skip
    return {**row, "verdict": words}
