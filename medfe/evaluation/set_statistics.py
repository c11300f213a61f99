"""How sure a KID is: intervals of a KID and of a difference of two, and permutation tests of a contrast.

The independent unit is the photograph. Labels as in `medfe.evaluation.distances.kid`: images of one photograph stay
together, and a photograph may stand in the reference set and in the methods' sets at once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

from medfe.errors import MedfeError
from medfe.evaluation.distances import (
    Array,
    Labels,
    check_features,
    photograph_labels,
    polynomial_kernel,
)
from medfe.evaluation.statistics import ONE_PAIR_OF_TRAININGS, Interval


@dataclass(frozen=True, kw_only=True)
class PermutationTest:
    """A permutation test.

    Attributes:
        estimate: Observed difference, first − second.
        p_value: Two-sided; the observed labelling counts as one of the permutations.
        n: Number of photographs.
        permutations: Number of random labellings.
        method: How the test was made.
        scope: What it generalises over.
    """

    estimate: float
    p_value: float
    n: int
    permutations: int
    method: str
    scope: str = ONE_PAIR_OF_TRAININGS


class _Sample:
    """Features sorted by photograph, with the rows that belong to each."""

    def __init__(self, features: Array, labels: Labels) -> None:
        order = np.argsort(labels, kind="stable")
        self.features = features[order]
        self.photographs, self.starts, sizes = np.unique(labels[order], return_index=True, return_counts=True)
        self.sizes = sizes.astype(np.float64)


def kid_interval(
    reference: npt.ArrayLike,
    generated: npt.ArrayLike,
    *,
    photographs: npt.ArrayLike | None = None,
    reference_photographs: npt.ArrayLike | None = None,
    level: float = 0.95,
    scope: str = ONE_PAIR_OF_TRAININGS,
) -> Interval:
    """Return the interval of one method's KID; method, memory, arguments and errors as for `kid_difference`."""
    x, y = check_features(reference, generated)
    y_labels, x_labels = photograph_labels(len(y), len(x), photographs, reference_photographs)
    real, method = _Sample(x, x_labels), _Sample(y, y_labels)
    terms = [(1.0, method, method), (1.0, real, real), (-2.0, real, method)]
    return _u_statistic_interval(terms, method, level, scope)


def kid_difference(
    reference: npt.ArrayLike,
    first: npt.ArrayLike,
    second: npt.ArrayLike,
    *,
    photographs: npt.ArrayLike | None = None,
    reference_photographs: npt.ArrayLike | None = None,
    level: float = 0.95,
    scope: str = ONE_PAIR_OF_TRAININGS,
) -> Interval:
    """Return the interval of KID(reference, first) − KID(reference, second), paired by photograph.

    The difference is a U-statistic of the photographs. Its variance is that of the Hoeffding projections plus the
    second-order term, which dominates when both methods come close to the reference; the projections are freed of
    the share of that term that plugging in adds (compare Sutherland and Deka 2019). The reference is a sample too.
    Kernels of degree three have long tails: with few photographs and few dimensions (40 and 4) it covers too little.
    Memory: 8 bytes times the square of the number of photographs, a few times over.

    Args:
        reference: (M, d) features of real images.
        first: (N, d) features of the first method.
        second: (N, d) features of the second method; row i has the photograph and mask of row i of `first`.
        photographs: (N,) labels of the photographs; default: all different.
        reference_photographs: (M,) labels; default: all different, and none of `photographs`.
        level: Nominal coverage.
        scope: Label of the interval.

    Raises:
        MedfeError: if features or labels do not fit together.
    """
    real, one, two = _paired_samples(reference, first, second, photographs, reference_photographs)
    terms = [(1.0, one, one), (-1.0, two, two), (-2.0, real, one), (2.0, real, two)]
    return _u_statistic_interval(terms, one, level, scope)


def kid_label_swap_test(
    reference: npt.ArrayLike,
    first: npt.ArrayLike,
    second: npt.ArrayLike,
    *,
    photographs: npt.ArrayLike | None = None,
    reference_photographs: npt.ArrayLike | None = None,
    permutations: int = 999,
    scope: str = ONE_PAIR_OF_TRAININGS,
    seed: int = 0,
) -> PermutationTest:
    """Test whether the two methods' labels are exchangeable within photographs, by the difference of their KIDs.

    Swapping the labels of a photograph turns its two sets of features round, and the difference of two U-statistics is
    *linear* in those signs: the products of two signs cancel between the methods. So each photograph gets a weight from
    the kernel matrices, once, and a permutation costs one sum.

    Args and errors as for `kid_difference`; `permutations` random labellings are drawn with `seed`.
    """
    real, one, two = _paired_samples(reference, first, second, photographs, reference_photographs)
    first_sums, pairs = _kernel_sums(one, one)
    second_sums, _ = _kernel_sums(two, two)
    mixed, _ = _kernel_sums(one, two)
    within = (first_sums - second_sums + mixed - mixed.T).sum(axis=1) / pairs.sum()
    first_cross, cross_pairs = _kernel_sums(real, one)
    second_cross, _ = _kernel_sums(real, two)
    weights = within - 2 * (first_cross - second_cross).sum(axis=0) / cross_pairs.sum()
    n = len(weights)
    signs = _signs(permutations, n, seed)
    return _permutation_test(weights.sum(), signs @ weights, n, "label-swap permutation test of KID", scope)


def label_swap_test(
    statistic: Callable[[Array, Array], float],
    first: npt.ArrayLike,
    second: npt.ArrayLike,
    *,
    photographs: npt.ArrayLike | None = None,
    permutations: int = 999,
    scope: str = ONE_PAIR_OF_TRAININGS,
    seed: int = 0,
) -> PermutationTest:
    """Test the same for any contrast `statistic(first, second)`, such as a difference of two Fréchet distances.

    The contrast is computed anew for every permutation; for KID `kid_label_swap_test` is far faster and equal.
    """
    x, y = check_features(first, second)
    labels, _ = photograph_labels(len(x), len(y), photographs, None)
    check_paired(x, y)
    _, index = np.unique(labels, return_inverse=True)
    n = int(index.max()) + 1
    values = []
    for signs in _signs(permutations, n, seed):
        keep = signs[index, None] > 0
        values.append(statistic(np.where(keep, x, y), np.where(keep, y, x)))
    return _permutation_test(statistic(x, y), np.array(values), n, "label-swap permutation test", scope)


def _paired_samples(
    reference: npt.ArrayLike,
    first: npt.ArrayLike,
    second: npt.ArrayLike,
    photographs: npt.ArrayLike | None,
    reference_photographs: npt.ArrayLike | None,
) -> tuple[_Sample, _Sample, _Sample]:
    x, one = check_features(reference, first)
    _, two = check_features(reference, second)
    check_paired(one, two)
    labels, x_labels = photograph_labels(len(one), len(x), photographs, reference_photographs)
    return _Sample(x, x_labels), _Sample(one, labels), _Sample(two, labels)


def check_paired(first: Array, second: Array) -> None:
    """Raise MedfeError unless both sets have the same number of rows."""
    if len(first) != len(second):
        raise MedfeError(f"paired comparison: found {len(first)} and {len(second)} images, expected equal numbers")


def _kernel_sums(x: _Sample, y: _Sample) -> tuple[Array, Array]:
    """Return, for each pair of photographs, the sum of the kernel over its images and their number; 0 if the same."""
    kernel = polynomial_kernel(x.features, y.features)
    sums = np.add.reduceat(np.add.reduceat(kernel, x.starts, axis=0), y.starts, axis=1)
    apart = x.photographs[:, None] != y.photographs
    return sums * apart, np.outer(x.sizes, y.sizes) * apart


def _u_statistic_interval(
    terms: Sequence[tuple[float, _Sample, _Sample]], counted: _Sample, level: float, scope: str
) -> Interval:
    """Return the interval of a weighted sum of mean kernels, a U-statistic of degree two over photographs."""
    size = 1 + max(int(sample.photographs.max()) for _, *pair in terms for sample in pair)
    estimate, residual = 0.0, np.zeros((size, size))
    for weight, x, y in terms:
        sums, counts = _kernel_sums(x, y)
        mean = sums.sum() / counts.sum()
        estimate += weight * mean
        residual[np.ix_(x.photographs, y.photographs)] += weight * (sums - mean * counts) / counts.sum()
    residual = (residual + residual.T) / 2
    # With residual_gh = a_g + a_h + b_gh the variance is 4 Σ projection² + 2 Σ b². A row's sum is its projection plus
    # noise, E Σ row² = Σ projection² + Σ b², and Σ residual² differs from Σ b² by order 1/n only. The estimate is
    # unbiased and so may come out at nothing, or less, where there is no projection: half of 2 Σ b² is the least.
    n = len(counted.photographs)
    rows, noise = float(np.sum(residual.sum(axis=1) ** 2)), float(np.sum(residual**2))
    error = np.sqrt(max(4 * (rows - noise) * n / (n - 1) + 2 * noise, noise))
    half = float(stats.t.ppf((1 + level) / 2, n - 1) * error)
    return Interval(
        estimate=float(estimate),
        low=float(estimate) - half,
        high=float(estimate) + half,
        level=level,
        n=n,
        method="U-statistic linearisation (Hoeffding projections and second-order term), t",
        scope=scope,
    )


def _signs(permutations: int, n: int, seed: int) -> Array:
    return np.random.default_rng(seed).choice(np.array([-1.0, 1.0]), size=(permutations, n))


def _permutation_test(observed: float, permuted: Array, n: int, method: str, scope: str) -> PermutationTest:
    tolerance = 1e-12 * np.max(np.abs(permuted), initial=abs(observed))  # a labelling and its mirror image must tie
    extreme = int(np.sum(np.abs(permuted) >= abs(observed) - tolerance))
    return PermutationTest(
        estimate=float(observed),
        p_value=(extreme + 1) / (len(permuted) + 1),
        n=n,
        permutations=len(permuted),
        method=method,
        scope=scope,
    )
