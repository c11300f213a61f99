"""Distances between two sets of images, given as features: KID and the Fréchet distance, all in float64.

Features are (N, d) arrays of any backbone; only with Inception's are the distances called KID and FID. Reference images
are often the originals of the very photographs that were inpainted. Then the two sets are not independent, and pairs of
one photograph would bias an unbiased estimator: name the photographs, and such pairs are left out.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from medfe.errors import MedfeError

Array = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int64]
_BLOCK = 1024  # rows of a kernel matrix held at once


def polynomial_kernel(x: Array, y: Array) -> Array:
    """Return KID's kernel (x·y / d + 1)³ of (N, d) and (M, d) features, (N, M) (Bińkowski et al. 2018)."""
    kernel: Array = (x @ y.T / x.shape[1] + 1.0) ** 3
    return kernel


def kid(
    reference: npt.ArrayLike,
    generated: npt.ArrayLike,
    *,
    photographs: npt.ArrayLike | None = None,
    reference_photographs: npt.ArrayLike | None = None,
) -> float:
    """Return the kernel inception distance: the unbiased squared MMD, a full U-statistic; it may be negative.

    Args:
        reference: (M, d) features of real images.
        generated: (N, d) features of a method's images.
        photographs: (N,) labels of the photographs that were inpainted; default: all different.
        reference_photographs: (M,) labels; default: all different, and none of `photographs`. Where a label stands in
            both, the original is compared with the inpainted versions of other photographs only.

    Raises:
        MedfeError: if the features are not two finite matrices of equal width.
    """
    x, y = check_features(reference, generated)
    y_labels, x_labels = photograph_labels(len(y), len(x), photographs, reference_photographs)
    within = _mean_kernel(x, x, x_labels, x_labels) + _mean_kernel(y, y, y_labels, y_labels)
    return within - 2 * _mean_kernel(x, y, x_labels, y_labels)


def frechet_distance(reference: npt.ArrayLike, generated: npt.ArrayLike) -> float:
    """Return the Fréchet distance of two sets of features through tr √(Σ₁Σ₂) = ‖A Bᵀ‖_* / √((N−1)(M−1)).

    A and B are the centred features. With fewer images than dimensions A Bᵀ is N×M; a larger set is first reduced to
    the d×d triangle of its QR decomposition, which leaves the singular values. No covariance is formed and no square
    root of rounding noise taken, so that the result is exact to rounding whatever the rank. With sample covariances
    (divisor N − 1) the distance is biased upwards, by an amount of order 1/N.

    Args:
        reference: (M, d) features of real images.
        generated: (N, d) features of a method's images.

    Raises:
        MedfeError: if the features are not two finite matrices of equal width with at least two rows each.
    """
    x, y = check_features(reference, generated)
    shift = x.mean(axis=0) - y.mean(axis=0)
    a, b = _centred_root(x), _centred_root(y)
    cross = np.linalg.svd(a @ b.T, compute_uv=False).sum()
    return float(shift @ shift + np.sum(a * a) + np.sum(b * b) - 2 * cross)


def _centred_root(features: Array) -> Array:
    """Return A, min(N, d)×d, with Aᵀ A the sample covariance of (N, d) features."""
    centred = (features - features.mean(axis=0)) / np.sqrt(len(features) - 1)
    if len(centred) <= centred.shape[1]:
        return np.asarray(centred, dtype=np.float64)
    return np.asarray(np.linalg.qr(centred, mode="r"), dtype=np.float64)


def check_features(reference: npt.ArrayLike, generated: npt.ArrayLike) -> tuple[Array, Array]:
    """Return both as float64 matrices.

    Raises:
        MedfeError: if they are not two finite matrices of equal width with at least two rows each.
    """
    x, y = np.asarray(reference, dtype=np.float64), np.asarray(generated, dtype=np.float64)
    for name, features in (("reference", x), ("generated", y)):
        if features.ndim != 2 or len(features) < 2 or features.shape[1] == 0:
            raise MedfeError(f"{name} features: found shape {features.shape}, expected N×d with N ≥ 2")
        if not np.isfinite(features).all():
            raise MedfeError(f"{name} features: found infinities or NaN, expected finite numbers")
    if x.shape[1] != y.shape[1]:
        raise MedfeError(f"features: found {x.shape[1]} (reference) and {y.shape[1]} dimensions, expected equal")
    return x, y


def photograph_labels(
    n: int, m: int, photographs: npt.ArrayLike | None, reference_photographs: npt.ArrayLike | None
) -> tuple[Labels, Labels]:
    """Return labels 0, 1, … of the photographs behind n images of a method and m of the reference.

    Equal labels mean the same photograph, in one set or across both; what is not named stands alone.

    Raises:
        MedfeError: if there is not one label per image, or fewer than two photographs in a set.
    """
    lines = []
    for name, count, given in (
        ("photographs", n, photographs),
        ("reference_photographs", m, reference_photographs),
    ):
        labels = (
            [(name, i) for i in range(count)]
            if given is None
            else [("", label) for label in np.asarray(given).tolist()]
        )
        if len(labels) != count:
            raise MedfeError(f"{name}: found {len(labels)} labels, expected {count}, one per image")
        if len(set(labels)) < 2:
            raise MedfeError(f"{name}: found {len(set(labels))} photograph, expected at least 2")
        lines.append(labels)
    number = {label: i for i, label in enumerate(dict.fromkeys(lines[0] + lines[1]))}
    own, reference = (np.array([number[label] for label in labels], dtype=np.int64) for labels in lines)
    return own, reference


def _mean_kernel(x: Array, y: Array, x_labels: Labels, y_labels: Labels) -> float:
    """Return the mean of the kernel over all pairs of different photographs."""
    total, count = 0.0, 0
    for start in range(0, len(x), _BLOCK):
        rows = slice(start, start + _BLOCK)
        apart = x_labels[rows, None] != y_labels
        total += float(np.sum(polynomial_kernel(x[rows], y), where=apart))
        count += int(apart.sum())
    return total / count
