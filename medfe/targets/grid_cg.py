"""Iterative solver for many images' five-point systems at once: preconditioned conjugate gradients without a matrix.

The preconditioner is MATLAB's for `tsmooth`: modified incomplete Cholesky without fill (Gustafsson, "A class of first
order factorization methods", 1978). Its triangular solves go through the grid one anti-diagonal after the other; the
pixels of an anti-diagonal, of all images and colours, are computed together.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

MAX_ITERATIONS = 2000  # photographs need 30 to 120


def solve_grid_iteratively(weight_x: Tensor, weight_y: Tensor, right: Tensor, *, tolerance: float) -> Tensor:
    """Solve (I + L) x = `right` for each image and colour, L being the Laplacian of the weighted pixel grid.

    Starts from zero. A system that has converged is left as it is while the others go on, so that an image's result
    does not depend on its batch.

    Args:
        weight_x: N×H×W, ≥ 0; weight of the edge between pixel (i, j) and (i, j + 1). The last column must be 0.
        weight_y: N×H×W, ≥ 0; weight of the edge between pixel (i, j) and (i + 1, j). The last row must be 0.
        right: N×C×H×W right-hand sides.
        tolerance: stop where ‖right − (I + L) x‖ ≤ tolerance · ‖right‖.

    Returns:
        N×C×H×W solution.

    Raises:
        ArithmeticError: if a system has not converged after 2000 iterations.
    """
    weight_x, weight_y = weight_x.unsqueeze(1), weight_y.unsqueeze(1)  # (N, 1, H, W): colours share them
    preconditioner = IncompleteCholesky(weight_x, weight_y)
    solution = torch.zeros_like(right)
    residual = right.clone()
    goal = tolerance * _norm(right)
    direction = torch.zeros_like(right)
    energy = torch.ones_like(goal)
    for _ in range(MAX_ITERATIONS):
        going = _norm(residual) > goal
        if not going.any():
            return solution
        preconditioned = preconditioner.solve(residual)
        previous, energy = energy, torch.where(going, _dot(residual, preconditioned), energy)
        direction = preconditioned + direction * (energy / previous)
        image_of_direction = apply_grid(weight_x, weight_y, direction)
        step = torch.where(going, energy / _dot(direction, image_of_direction), 0.0)
        solution += step * direction
        residual -= step * image_of_direction
    raise ArithmeticError(f"not converged after {MAX_ITERATIONS} iterations")


def apply_grid(weight_x: Tensor, weight_y: Tensor, values: Tensor) -> Tensor:
    """Return (I + L) `values`; values N×C×H×W, weights broadcast to it, their last column or row 0."""
    flow_x = weight_x[..., :, :-1] * (values[..., :, :-1] - values[..., :, 1:])
    flow_y = weight_y[..., :-1, :] * (values[..., :-1, :] - values[..., 1:, :])
    result = values.clone()
    result[..., :, :-1] += flow_x
    result[..., :, 1:] -= flow_x
    result[..., :-1, :] += flow_y
    result[..., 1:, :] -= flow_y
    return result


class IncompleteCholesky:
    """(I + L) ≈ (D + U)ᵀ D⁻¹ (D + U), U the strict upper triangle of L and D such that row sums agree.

    Args:
        weight_x: N×1×H×W edge weights to the right, last column 0.
        weight_y: N×1×H×W edge weights downwards, last row 0.
    """

    def __init__(self, weight_x: Tensor, weight_y: Tensor) -> None:
        self.height, self.width = weight_x.shape[-2:]
        from_left = functional.pad(weight_x, (1, -1))
        from_above = functional.pad(weight_y, (0, 0, 1, -1))
        self.weight_x, self.weight_y = self._skew(weight_x), self._skew(weight_y)
        from_left, from_above = self._skew(from_left), self._skew(from_above)
        # Outside of the image the diagonal is 1 and nothing is coupled.
        pivots = 1 + self.weight_x + self.weight_y + from_left + from_above
        lost = self.weight_x + self.weight_y  # row sum of U: coupling kept, fill moved to the diagonal
        for line in range(1, len(pivots)):
            before = lost[line - 1] / pivots[line - 1]
            pivots[line] -= from_left[line] * before
            pivots[line, ..., 1:] -= from_above[line, ..., 1:] * before[..., :-1]
        self.pivots = pivots
        self.from_left, self.from_above = from_left / pivots, from_above / pivots
        self.to_right, self.to_below = self.weight_x / pivots, self.weight_y / pivots

    def solve(self, right: Tensor) -> Tensor:
        """Return the solution of the factored system; N×C×H×W."""
        values = self._skew(right) / self.pivots  # (H + W − 1, N, C, H)
        lines = values.unbind()
        left, above = self.from_left.unbind(), self.from_above[..., 1:].unbind()
        for line in range(1, len(lines)):
            lines[line].addcmul_(left[line], lines[line - 1])
            lines[line][..., 1:].addcmul_(above[line], lines[line - 1][..., :-1])
        after, below = self.to_right.unbind(), self.to_below[..., :-1].unbind()
        for line in reversed(range(len(lines) - 1)):
            lines[line].addcmul_(after[line], lines[line + 1])
            lines[line][..., :-1].addcmul_(below[line], lines[line + 1][..., 1:])
        return self._straighten(values)

    def _skew(self, values: Tensor) -> Tensor:
        """Bring anti-diagonals to the front: (N, C, H, W) → (H + W − 1, N, C, H), zero outside the image."""
        lines = self.height + self.width - 1
        padded = functional.pad(values, (0, self.height)).flatten(-2)  # rows of W + H: one more than lines
        sheared = padded[..., : self.height * lines].reshape(*values.shape[:-1], lines)
        return sheared.movedim(-1, 0).contiguous()

    def _straighten(self, values: Tensor) -> Tensor:
        """Undo `_skew`."""
        sheared = functional.pad(values.movedim(0, -1).flatten(-2), (0, self.height))
        return sheared.view(*sheared.shape[:-1], self.height, -1)[..., : self.width]


def _dot(first: Tensor, second: Tensor) -> Tensor:
    """Return the inner product over pixels, N×C×1×1."""
    return torch.sum(first * second, dim=(-2, -1), keepdim=True)


def _norm(values: Tensor) -> Tensor:
    return _dot(values, values).sqrt()
