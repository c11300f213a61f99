"""Contrasts: differences of two methods in every metric, tested, corrected and put into words."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from medfe.evaluation.bootstrap import bootstrap_mean
from medfe.evaluation.distances import frechet_distance
from medfe.evaluation.embeddings import Embedder
from medfe.evaluation.methods import BASELINES
from medfe.evaluation.names import lower_is_better, number, scale, title, unit
from medfe.evaluation.protocol import Measurements
from medfe.evaluation.set_statistics import PermutationTest, kid_difference, kid_label_swap_test, label_swap_test
from medfe.evaluation.statistics import ONE_PAIR_OF_TRAININGS, Interval, holm, tost_interval, verdict
from medfe.evaluation.summaries import SetDistances, labels, values_of

PRIMARY, SECONDARY, DESCRIPTIVE = "primary", "secondary", "not tested"
OVER_IMAGES = "over images; nothing was trained"
_Key = tuple[str, str, str]  # first, second, metric


class _Contrast(NamedTuple):
    interval: Callable[[float], Interval]
    """Level → interval of first − second."""
    test: PermutationTest | None


def choose_pairs(measured: Measurements) -> list[tuple[str, str]]:
    """Return the pairs of methods to compare: those asked for, else the first two methods."""
    names = [method.name for method in measured.methods]
    return list(measured.settings.contrasts) or ([(names[0], names[1])] if len(names) > 1 else [])


def contrasts(measured: Measurements, distances: SetDistances) -> pd.DataFrame:
    """Return one row per (first, second, metric), always first − second.

    The first pair's endpoint is primary; Holm's correction covers all other tests. Permutation tests swap the labels of
    a photograph; "better" needs both interval and test. Fréchet distances are tested only if `frechet_permutations`
    asks for it.
    """
    pairs = choose_pairs(measured)
    found: dict[_Key, _Contrast] = {}
    for first, second in pairs:
        for embedder in measured.judges.embedders:
            found[first, second, embedder.kid] = _kid(measured, first, second, embedder)
            if measured.settings.frechet:
                found[first, second, embedder.frechet] = _frechet(measured, distances, first, second, embedder)
        for metric in measured.metrics:
            if metric == "psnr_hole" != measured.endpoint:
                continue  # known pixels are equal, so its difference is that of PSNR
            contrast = _per_image(measured, first, second, metric)
            if contrast is not None:
                found[first, second, metric] = contrast
    primary = (*pairs[0], measured.endpoint) if pairs else None
    tested = {key: one.test.p_value for key, one in found.items() if key != primary and one.test is not None}
    adjusted = holm({str(key): p for key, p in tested.items()})
    rows = []
    for key in sorted(found, key=lambda key: key != primary):
        role = PRIMARY if key == primary else SECONDARY if key in tested else DESCRIPTIVE
        margin = measured.settings.margin if role == PRIMARY else None
        rows.append(_row(key, found[key], role, adjusted.get(str(key)), measured.settings.level, margin))
    return pd.DataFrame(rows)


def _row(
    key: _Key, one: _Contrast, role: str, adjusted: float | None, level: float, margin: float | None
) -> dict[str, Any]:
    first, second, metric = key
    difference = replace(one.interval(level), scope=_scope(first, second))
    # Two one-sided tests at 1 − level each are an interval of level 1 − 2·(1 − level).
    equivalence = tost_interval(one.interval(2 * level - 1), margin) if margin is not None else None
    show = partial(number, metric=metric, difference=True)
    words = verdict(
        difference, first, second, title(metric) + unit(metric), lower_is_better=lower_is_better(metric),
        equivalence=equivalence, adjusted_p=adjusted, p=one.test.p_value if one.test else None, show=show,
        scale=scale(metric),
    )  # fmt: skip
    if role == DESCRIPTIVE:
        words = (
            f"{title(metric)} is not tested: its bias of order 1/N differs between methods (difference "
            f"{show(difference.estimate)}, {100 * level:g} % interval {show(difference.low)} to "
            f"{show(difference.high)})"
        )
    return {
        "first": first, "second": second, "metric": metric, "role": role, "difference": difference.estimate,
        "low": difference.low, "high": difference.high, "level": level, "photographs": difference.n,
        "p": one.test.p_value if one.test else np.nan, "p_holm": np.nan if adjusted is None else adjusted,
        "lower_is_better": lower_is_better(metric), "margin": np.nan if margin is None else margin,
        "equivalent": equivalence is not None and equivalence.equivalent,
        "interval": difference.method, "test": one.test.method if one.test else "", "scope": difference.scope,
        "verdict": words,
    }  # fmt: skip


def _scope(first: str, second: str) -> str:
    return OVER_IMAGES if first in BASELINES and second in BASELINES else ONE_PAIR_OF_TRAININGS


def _per_image(measured: Measurements, first: str, second: str, metric: str) -> _Contrast | None:
    settings = measured.settings
    one, photographs = values_of(measured, first, metric)
    two, _ = values_of(measured, second, metric)
    finite = np.isfinite(one) & np.isfinite(two)
    one, two, photographs = one[finite], two[finite], photographs[finite]
    if len(np.unique(photographs)) < 2:
        return None  # both restore everything exactly, or no hole has a pixel to judge

    def interval(level: float) -> Interval:
        return bootstrap_mean(
            one - two, photographs, level=level, resamples=settings.resamples, seed=settings.seed
        )  # fmt: skip

    test = label_swap_test(
        lambda a, b: float(np.mean(a - b)), one[:, None], two[:, None],
        photographs=photographs, permutations=settings.permutations, seed=settings.seed,
    )  # fmt: skip
    return _Contrast(interval, test)


def _kid(measured: Measurements, first: str, second: str, embedder: Embedder) -> _Contrast:
    features, settings = measured.features[embedder.name], measured.settings
    three = measured.reference[embedder.name], features[first], features[second]

    def interval(level: float) -> Interval:
        return kid_difference(*three, level=level, **labels(measured))

    test = kid_label_swap_test(
        *three, permutations=settings.permutations, seed=settings.seed, **labels(measured)
    )  # fmt: skip
    return _Contrast(interval, test)


def _frechet(measured: Measurements, distances: SetDistances, first: str, second: str, embedder: Embedder) -> _Contrast:
    settings, features = measured.settings, measured.features[embedder.name]
    difference = distances.frechet(embedder, first).minus(distances.frechet(embedder, second))
    if not settings.frechet_permutations:
        return _Contrast(difference.interval, None)
    reference = measured.reference[embedder.name]
    test = label_swap_test(
        lambda a, b: frechet_distance(reference, a) - frechet_distance(reference, b),
        features[first], features[second],
        photographs=measured.photographs, permutations=settings.frechet_permutations, seed=settings.seed,
    )  # fmt: skip
    return _Contrast(difference.interval, test)
