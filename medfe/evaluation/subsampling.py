"""How sure a Fréchet distance is: intervals by subsampling without replacement.

A bootstrap would repeat images. Repetition adds bias to a Fréchet distance, and the interval moves away from its own
estimate; so there is no bootstrap here. The independent unit is the photograph, as in `medfe.evaluation.distances.kid`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from medfe.errors import MedfeError
from medfe.evaluation.distances import Labels, check_features, frechet_distance, photograph_labels
from medfe.evaluation.set_statistics import check_paired
from medfe.evaluation.statistics import ONE_PAIR_OF_TRAININGS, Interval


def frechet_interval(
    reference: npt.ArrayLike,
    generated: npt.ArrayLike,
    *,
    photographs: npt.ArrayLike | None = None,
    reference_photographs: npt.ArrayLike | None = None,
    fraction: float = 0.5,
    subsamples: int = 200,
    level: float = 0.95,
    scope: str = ONE_PAIR_OF_TRAININGS,
    seed: int = 0,
) -> Interval:
    """Return a subsampling interval of the Fréchet distance that so many images give on average.

    Random parts of the photographs are drawn without replacement (Politis and Romano 1994); their spread about their
    median, scaled to the full size and for the finite pool by √(f / (1 − f)), stands for the spread of the estimate.
    The interval is about the distance *at this number of images*: the bias of order 1/N stays in it (see
    `medfe.analysis.sample_size`). Where that bias is large the interval is too wide rather than too narrow, the more
    so the smaller the fraction.

    Args:
        reference: (M, d) features of real images.
        generated: (N, d) features of a method's images.
        photographs: (N,) labels; default: all different.
        reference_photographs: (M,) labels; default: all different, and none of `photographs`.
        fraction: Part f of the photographs in a subsample.
        subsamples: Number of subsamples.
        level: Nominal coverage.
        scope: Label of the interval.
        seed: Seed of the subsampling.

    Raises:
        MedfeError: if features or labels do not fit together, or a subsample would have fewer than two images.
    """
    x, y = check_features(reference, generated)
    labels = photograph_labels(len(y), len(x), photographs, reference_photographs)

    def distance(own: Labels, real: Labels) -> float:
        return frechet_distance(x[real], y[own])

    interval = _subsampling_interval(distance, labels, fraction, subsamples, level, scope, seed)
    return replace(interval, low=max(interval.low, 0.0))


def frechet_difference(
    reference: npt.ArrayLike,
    first: npt.ArrayLike,
    second: npt.ArrayLike,
    *,
    photographs: npt.ArrayLike | None = None,
    reference_photographs: npt.ArrayLike | None = None,
    fraction: float = 0.5,
    subsamples: int = 200,
    level: float = 0.95,
    scope: str = ONE_PAIR_OF_TRAININGS,
    seed: int = 0,
) -> Interval:
    """Return the subsampling interval of the difference of two Fréchet distances to one reference, first − second.

    Both distances see the same subsamples. Args and errors as for `frechet_interval`; `first` and `second` are paired
    row by row. The two biases of order 1/N cancel only in part.
    """
    x, one = check_features(reference, first)
    _, two = check_features(reference, second)
    check_paired(one, two)
    labels = photograph_labels(len(one), len(x), photographs, reference_photographs)

    def contrast(own: Labels, real: Labels) -> float:
        return frechet_distance(x[real], one[own]) - frechet_distance(x[real], two[own])

    return _subsampling_interval(contrast, labels, fraction, subsamples, level, scope, seed)


def _subsampling_interval(
    statistic: Callable[[Labels, Labels], float],
    labels: tuple[Labels, Labels],
    fraction: float,
    subsamples: int,
    level: float,
    scope: str,
    seed: int,
) -> Interval:
    """Return the subsampling interval of a statistic of row numbers (method's, reference's)."""
    if not 0 < fraction < 1:
        raise MedfeError(f"fraction: found {fraction}, expected a number between 0 and 1")
    own, real = labels
    size = 1 + int(max(own.max(), real.max()))
    # Photographs in the method's set, in the reference, or in both are drawn in the same proportion.
    membership = np.isin(np.arange(size), own) + 2 * np.isin(np.arange(size), real)
    strata = [np.flatnonzero(membership == kind) for kind in np.unique(membership)]
    rng = np.random.default_rng(seed)
    values = np.empty(subsamples)
    for i in range(subsamples):
        drawn = np.zeros(size, dtype=bool)
        for stratum in strata:
            drawn[rng.choice(stratum, round(fraction * len(stratum)), replace=False)] = True
        rows, real_rows = np.flatnonzero(drawn[own]), np.flatnonzero(drawn[real])
        if min(len(rows), len(real_rows)) < 2:
            raise MedfeError(f"fraction: {fraction} of {len(own)} images leaves fewer than 2, expected a larger one")
        values[i] = statistic(rows, real_rows)
    estimate = statistic(np.arange(len(own)), np.arange(len(real)))
    spread = (values - np.median(values)) * np.sqrt(fraction / (1 - fraction))
    low, high = np.quantile(spread, [(1 - level) / 2, (1 + level) / 2])
    return Interval(
        estimate=float(estimate),
        low=float(estimate - high),
        high=float(estimate - low),
        level=level,
        n=len(np.unique(own)),
        method=f"{subsamples} subsamples of {100 * fraction:g} % without replacement; bias of order 1/N not removed",
        scope=scope,
    )
