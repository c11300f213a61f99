"""Linear probes: how much of a photograph a linear map can read out of a feature, position by position."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from torch import Tensor

from medfe.analysis.spectra import Array
from medfe.config import GRID_STRIDE
from medfe.errors import MedfeError

FOLDS = 4
_PENALTIES = np.logspace(-6, 1, 8)  # in units of the mean eigenvalue, so that a feature's scale does not matter


@dataclass(frozen=True)
class Moments:
    """Second moments of inputs x and outputs y; all a least-squares problem needs, and they add up."""

    xx: Array
    xy: Array
    yy: float
    """Sum of squares of all outputs."""

    def __add__(self, other: Moments) -> Moments:
        return Moments(self.xx + other.xx, self.xy + other.xy, self.yy + other.yy)

    def within(self, basis: Array) -> Moments:
        """Return the moments of the inputs' coordinates in an orthonormal basis, channels×k."""
        return Moments(basis.T @ self.xx @ basis, basis.T @ self.xy, self.yy)

    def squared_error(self, weights: Array) -> float:
        """Return the sum of (y - x·weights)²."""
        return self.yy - 2 * float(np.sum(weights * self.xy)) + float(np.sum(weights * (self.xx @ weights)))


def patches(images: Tensor) -> Array:
    """Return the 8×8 patch of an image N×3×S×S at each cell of the feature grid: N×G×G×192, float64."""
    n, colours, side, _ = images.shape
    cells = side // GRID_STRIDE
    blocks = images.reshape(n, colours, cells, GRID_STRIDE, cells, GRID_STRIDE)  # (N, 3, G, 8, G, 8)
    array: Array = blocks.permute(0, 2, 4, 1, 3, 5).flatten(3).cpu().numpy().astype(np.float64)
    return array


def probe(
    feature: Tensor,
    images: Tensor,
    cells: npt.NDArray[np.bool_],
    bases: Mapping[str, Array],
    *,
    seed: int = 0,
) -> dict[str, float]:
    """Predict the pixels under each cell from the feature in that cell by ridge regression; return R² by subspace.

    One linear map serves all cells. Feature and pixels are centred cell by cell, so R² counts what is said about *this*
    photograph beyond the mean photograph, which aligned faces would give away for nothing. Photographs are divided into
    four folds: each is predicted by a map fitted to the other three, the penalty being chosen on one of those. R² is
    1 - Σ error² / Σ deviation² over all folds, pixels and cells; it is negative where the mean photograph is better.

    Linear probes after Alain and Bengio (2017): they show what is there in linear form, not what the decoder uses.

    Args:
        feature: N×C×G×G.
        images: the photographs, N×3×8G×8G in [-1, 1].
        cells: G×G, which cells to use.
        bases: orthonormal bases, C×k each, by name; the probe sees the feature's coordinates in them alone.
        seed: of the folds.

    Raises:
        MedfeError: with fewer photographs than folds.
    """
    count = len(feature)
    if count < FOLDS:
        raise MedfeError(f"probe: found {count} photographs, expected at least {FOLDS}")
    x = feature.detach().movedim(1, -1).cpu().numpy().astype(np.float64)[:, cells]  # (N, cells, C)
    y = patches(images)[:, cells]  # (N, cells, 192)
    folds = np.array_split(np.random.default_rng(seed).permutation(count), FOLDS)
    error = dict.fromkeys(bases, 0.0)
    total = 0.0
    for number, held_out in enumerate(folds):
        others = [folds[(number + step) % FOLDS] for step in range(1, FOLDS)]
        known = np.concatenate(others)
        x_mean, y_mean = x[known].mean(axis=0), y[known].mean(axis=0)
        tune, *fit = (_moments(x[part] - x_mean, y[part] - y_mean) for part in others)
        test = _moments(x[held_out] - x_mean, y[held_out] - y_mean)
        total += test.yy
        for name, basis in bases.items():
            weights = _ridge(fit[0].within(basis) + fit[1].within(basis), tune.within(basis))
            error[name] += test.within(basis).squared_error(weights)
    return {name: 1 - value / total for name, value in error.items()}


def _moments(x: Array, y: Array) -> Moments:
    rows, targets = x.reshape(-1, x.shape[-1]), y.reshape(-1, y.shape[-1])
    return Moments(rows.T @ rows, rows.T @ targets, float(np.sum(targets**2)))


def _ridge(fit: Moments, tune: Moments) -> Array:
    """Choose the penalty by the error on `tune`, then fit to both."""
    errors = [tune.squared_error(weights) for weights in _solutions(fit)]
    return _solutions(fit + tune)[int(np.argmin(errors))]


def _solutions(moments: Moments) -> list[Array]:
    values, vectors = np.linalg.eigh(moments.xx)
    coordinates = vectors.T @ moments.xy
    floor = max(float(values.mean()), np.finfo(np.float64).tiny)
    return [vectors @ (coordinates / (values.clip(min=0) + penalty * floor)[:, None]) for penalty in _PENALTIES]
