"""How sure a Fréchet distance is: intervals by subsampling without replacement.

A bootstrap would repeat images. Repetition adds bias to a Fréchet distance, and the interval moves away from its own
estimate; so there is no bootstrap here. The independent unit is the photograph, as in `medfe.evaluation.distances.kid`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

from medfe.errors import MedfeError
from medfe.evaluation.distances import Array, Labels, check_features, frechet_distance, photograph_labels
from medfe.evaluation.statistics import ONE_PAIR_OF_TRAININGS, Interval


@dataclass(frozen=True, kw_only=True)
class SubsampledDistance:
    """A Fréchet distance on all images and on random parts of the photographs.

    With equal labels, fraction and seed two methods see the same parts, so that their difference is paired.

    Attributes:
        estimate: Distance on all images.
        values: (S,) distances on the parts.
        fraction: Share of the photographs in a part.
        n: Number of photographs.
    """

    estimate: float
    values: Array
    fraction: float
    n: int

    def minus(self, other: SubsampledDistance) -> SubsampledDistance:
        """Return the difference, self − other, on the same parts."""
        return replace(self, estimate=self.estimate - other.estimate, values=self.values - other.values)

    def interval(self, level: float = 0.95, scope: str = ONE_PAIR_OF_TRAININGS) -> Interval:
        """Return the subsampling interval."""
        spread = (self.values - np.median(self.values)) * np.sqrt(self.fraction / (1 - self.fraction))
        low, high = np.quantile(spread, [(1 - level) / 2, (1 + level) / 2])
        share = f"{100 * self.fraction:g} %"
        return Interval(
            estimate=float(self.estimate),
            low=float(self.estimate - high),
            high=float(self.estimate - low),
            level=level,
            n=self.n,
            method=f"{len(self.values)} subsamples of {share} without replacement; bias of order 1/N not removed",
            scope=scope,
        )


def subsampled_frechet(
    reference: npt.ArrayLike,
    generated: npt.ArrayLike,
    *,
    photographs: npt.ArrayLike | None = None,
    reference_photographs: npt.ArrayLike | None = None,
    fraction: float = 0.5,
    subsamples: int = 200,
    seed: int = 0,
) -> SubsampledDistance:
    """Return a Fréchet distance on all images and on subsamples; args and errors as for `frechet_interval`."""
    x, y = check_features(reference, generated)
    own, real = photograph_labels(len(y), len(x), photographs, reference_photographs)
    parts = _Parts(x, y)
    values = [
        parts.distance(real_rows, own_rows)
        for own_rows, real_rows in _subsamples(own, real, fraction, subsamples, seed)
    ]
    return SubsampledDistance(
        estimate=frechet_distance(x, y), values=np.array(values), fraction=fraction, n=len(np.unique(own))
    )


class _Parts:
    """Fréchet distances of many parts of two sets of features, as `frechet_distance`, in half its time.

    With fewer images than dimensions the product A Bᵀ of a part's centred features is a centred part of one product,
    made once, and its singular values are taken as roots of eigenvalues: that leaves some eight digits, far below the
    spread of the parts.
    """

    def __init__(self, reference: Array, generated: Array) -> None:
        self.x, self.y = reference, generated

    @cached_property
    def products(self) -> Array:
        """Inner products of all features, M×N; with more images than dimensions nobody asks for them."""
        return self.x @ self.y.T

    def distance(self, rows: Labels, columns: Labels) -> float:
        """Return the distance of some rows of the reference and some of the generated features."""
        x, y = self.x[rows], self.y[columns]
        if max(len(x), len(y)) > x.shape[1]:
            return frechet_distance(x, y)
        cross = self.products[np.ix_(rows, columns)]
        cross -= cross.mean(axis=0)
        cross -= cross.mean(axis=1, keepdims=True)
        wide = cross if len(x) <= len(y) else cross.T
        squares = np.linalg.eigvalsh(wide @ wide.T).clip(min=0)
        nuclear = np.sqrt(squares).sum() / np.sqrt((len(x) - 1) * (len(y) - 1))
        shift = x.mean(axis=0) - y.mean(axis=0)
        return float(shift @ shift + _trace(x) + _trace(y) - 2 * nuclear)


def _trace(features: Array) -> float:
    """Return the trace of the sample covariance."""
    return float(features.var(axis=0, ddof=1).sum())


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
    distance = subsampled_frechet(
        reference,
        generated,
        photographs=photographs,
        reference_photographs=reference_photographs,
        fraction=fraction,
        subsamples=subsamples,
        seed=seed,
    )
    interval = distance.interval(level, scope)
    return replace(interval, low=max(interval.low, 0.0))


def _subsamples(
    own: Labels, real: Labels, fraction: float, subsamples: int, seed: int
) -> Iterator[tuple[Labels, Labels]]:
    """Yield row numbers (method's, reference's) of random parts of the photographs."""
    if not 0 < fraction < 1:
        raise MedfeError(f"fraction: found {fraction}, expected a number between 0 and 1")
    size = 1 + int(max(own.max(), real.max()))
    # Photographs in the method's set, in the reference, or in both are drawn in the same proportion.
    membership = np.isin(np.arange(size), own) + 2 * np.isin(np.arange(size), real)
    strata = [np.flatnonzero(membership == kind) for kind in np.unique(membership)]
    rng = np.random.default_rng(seed)
    for _ in range(subsamples):
        drawn = np.zeros(size, dtype=bool)
        for stratum in strata:
            drawn[rng.choice(stratum, round(fraction * len(stratum)), replace=False)] = True
        rows, real_rows = np.flatnonzero(drawn[own]), np.flatnonzero(drawn[real])
        if min(len(rows), len(real_rows)) < 2:
            raise MedfeError(f"fraction: {fraction} of {len(own)} images leaves fewer than 2, expected a larger one")
        yield rows, real_rows
