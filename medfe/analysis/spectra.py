"""How many directions a matrix of features or gradients really uses, and how alike two of them are."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

Array = npt.NDArray[np.float64]


def rows_by_channel(feature: Tensor) -> Array:
    """Return a feature N×C×H×W as a matrix (N·H·W)×C, float64: one row for each position of each image."""
    array: Array = feature.detach().movedim(1, -1).flatten(0, -2).cpu().numpy().astype(np.float64)
    return array


def singular_directions(matrix: Array) -> tuple[Array, Array]:
    """Return singular values, falling, and right singular vectors (one a row) of a tall matrix, by QR, then SVD."""
    _, values, directions = np.linalg.svd(np.linalg.qr(matrix, mode="r"))
    return values, directions


def numerical_rank(matrix: Array) -> int:
    """Return the number of singular values above max(rows, columns) · machine epsilon · the largest."""
    values, _ = singular_directions(matrix)
    return int(np.sum(values > values[0] * max(matrix.shape) * np.finfo(np.float64).eps))


def participation_ratio(matrix: Array, *, center: bool = True) -> float:
    """Return the effective number of directions, (Σλ)² / Σλ², λ the eigenvalues of the rows' covariance.

    1 if all rows are multiples of one direction, the number of columns if the covariance is isotropic. It counts
    directions, not axes: a rotation of the columns changes nothing. Used for neural activity by Gao et al. (2017).

    Args:
        matrix: rows are observations.
        center: subtract the columns' means; without it λ are the eigenvalues of the second moments.

    Returns:
        NaN for a matrix without variance.
    """
    if center:
        matrix = matrix - matrix.mean(axis=0)
    moments = matrix.T @ matrix
    total = np.trace(moments)
    return float(total**2 / np.sum(moments**2)) if total > 0 else float("nan")


def linear_cka(x: Array, y: Array) -> float:
    """Return the linear centred kernel alignment of two descriptions of the same rows, in [0, 1].

    ‖YᵀX‖² / (‖XᵀX‖ ‖YᵀY‖) in Frobenius norms, columns centred (Kornblith et al. 2019, equation 3 and section 3). It is
    1 for features that differ by a rotation and a factor, whatever their numbers of columns.

    Args:
        x: rows × channels.
        y: as many rows × channels of its own.

    Returns:
        NaN where one of them has no variance.
    """
    x, y = x - x.mean(axis=0), y - y.mean(axis=0)
    scale = np.linalg.norm(x.T @ x) * np.linalg.norm(y.T @ y)
    return float(np.linalg.norm(y.T @ x) ** 2 / scale) if scale > 0 else float("nan")


def random_subspace(channels: int, dimension: int, seed: int) -> Array:
    """Return an orthonormal basis, channels×dimension, of a subspace drawn uniformly."""
    normal = np.random.default_rng(seed).standard_normal((channels, dimension))
    basis: Array = np.linalg.qr(normal)[0]
    return basis


def complement(basis: Array) -> Array:
    """Return an orthonormal basis of everything orthogonal to the columns of an orthonormal `basis`."""
    full, _ = np.linalg.qr(basis, mode="complete")
    rest: Array = full[:, basis.shape[1] :]
    return rest


def component(feature: Tensor, basis: Array) -> Tensor:
    """Return the part of a feature N×C×H×W that lies in the span of an orthonormal basis C×k, at every position."""
    directions = torch.from_numpy(basis).to(feature)
    return torch.einsum("ck,dk,ndhw->nchw", directions, directions, feature)
