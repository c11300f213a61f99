"""Direct solver for one image's five-point system: Cholesky by nested dissection, every level of it in one batch.

A grid is cut in two by a line of pixels, each half again, until the boxes are tiny (George, "Nested dissection of a
regular finite element mesh", 1973). The pixels of a line depend on the pixels around its box alone, so eliminating it
is dense algebra on a small matrix, a *front*, and all fronts of a level have nearly the same size: padded to the same,
they are one batched call of PyTorch (the multifrontal method, Duff and Reid, 1983). A general sparse package sees
neither the regular pattern, nor that it is the same in every image, and takes longer.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

Indices = npt.NDArray[np.int64]
Interval = tuple[int, int]

# Boxes no longer than this are eliminated whole. At 256×256 that is 4×4; 2×2 and 8×8 take 1.5 times as long.
LEAF_SIDE = 6


def solve_grid(weight_x: Tensor, weight_y: Tensor, right: Tensor) -> Tensor:
    """Solve (I + L) x = `right`, L being the Laplacian of the pixel grid with the given weights on its edges.

    Time grows with (H·W)^1.5, memory with H·W·log(H·W): about 0.2 GB for 256×256, 1 GB for 512×512.

    Args:
        weight_x: H×W, ≥ 0; weight of the edge between pixel (i, j) and (i, j + 1). The last column must be 0.
        weight_y: H×W, ≥ 0; weight of the edge between pixel (i, j) and (i + 1, j). The last row must be 0.
        right: C×H×W right-hand sides; same dtype and device as the weights, float64 for full accuracy.

    Returns:
        C×H×W solution.
    """
    columns, height, width = right.shape
    pixels = height * width
    entries = torch.cat([_diagonal(weight_x, weight_y), -weight_x.flatten(), -weight_y.flatten()])
    right = right.reshape(columns, pixels).mT.contiguous()  # (H·W, C)
    levels = _dissect(height, width, columns, right.device)

    # The right-hand sides border each front like further neighbours, so that one product also eliminates them.
    factors: list[tuple[Tensor, Tensor]] = []
    update: Tensor | None = None
    for level in levels:
        fronts = right.new_zeros(level.count * level.size**2)
        fronts[level.entry_slots] = entries[level.entries]
        fronts[level.right_slots] = right[level.right_pixels].flatten()
        fronts[level.padding_slots] = 1
        if update is not None:
            fronts.scatter_add_(0, level.update_slots, update)
        fronts = fronts.view(level.count, level.size, level.size)
        inner = level.inner
        lower = torch.linalg.cholesky(fronts[:, :inner, :inner])
        coupling = torch.linalg.solve_triangular(lower, fronts[:, :inner, inner:], upper=False)
        update = torch.baddbmm(fronts[:, inner:, inner:], coupling.mT, coupling, alpha=-1).flatten()
        factors.append((lower, coupling))

    solution = right.new_zeros(pixels + 1, columns)  # the last row stands for the padding of fronts
    for level, (lower, coupling) in zip(reversed(levels), reversed(factors), strict=True):
        reduced = coupling[:, :, -columns:] - coupling[:, :, :-columns] @ solution[level.outer_pixels]
        solution[level.inner_pixels] = torch.linalg.solve_triangular(lower.mT, reduced, upper=True)
        solution[pixels] = 0
    return solution[:pixels].mT.reshape(columns, height, width)


def _diagonal(weight_x: Tensor, weight_y: Tensor) -> Tensor:
    diagonal = 1 + weight_x + weight_y
    diagonal[:, 1:] += weight_x[:, :-1]
    diagonal[1:] += weight_y[:-1]
    return diagonal.flatten()


@dataclass(frozen=True)
class _Level:
    """Where the numbers of one level's fronts come from and go to; slots index the flattened fronts."""

    count: int
    """Number of fronts."""
    inner: int
    """Pixels of a front that are eliminated, with padding; its other rows are neighbours and right-hand sides."""
    size: int
    """Rows of a front: inner, outer, right-hand sides."""
    inner_pixels: Tensor
    """(count, inner) pixels; padding is the pixel past the last."""
    outer_pixels: Tensor
    """(count, outer) pixels around each box."""
    entries: Tensor
    """Entries of the matrix that appear first in this level: pixel, H·W + pixel for edges in x, 2·H·W + … in y."""
    entry_slots: Tensor
    right_pixels: Tensor
    right_slots: Tensor
    padding_slots: Tensor
    """Diagonal of padded rows."""
    update_slots: Tensor
    """Slots to which the level below adds its updates."""


@lru_cache(maxsize=4)
def _dissect(height: int, width: int, columns: int, device: torch.device) -> tuple[_Level, ...]:
    """Return the levels from the smallest boxes to the first cut. Depends on the size alone, hence the cache."""
    inner, outer, parents = _boxes(height, width)
    pixels = height * width
    depth = np.empty(pixels, np.int64)
    owner = np.empty(pixels, np.int64)
    for level, boxes in enumerate(inner):
        front, position = np.nonzero(boxes < pixels)
        depth[boxes[front, position]], owner[boxes[front, position]] = level, front
    first, second, entries = _edges(height, width)
    first_is_deeper = depth[first] >= depth[second]  # the deeper end is eliminated first
    first, second = np.where(first_is_deeper, first, second), np.where(first_is_deeper, second, first)

    levels = []
    below: Indices | None = None  # outer pixels of the level below
    for level in reversed(range(len(inner))):
        nodes = np.concatenate([inner[level], outer[level]], axis=1)
        count, size = len(nodes), nodes.shape[1] + columns
        find = _Finder(nodes, pixels)
        border = np.arange(columns) + nodes.shape[1]

        def slots(front: Indices, row: Indices, column: Indices, size: int = size) -> Indices:
            return (front * size + row) * size + column

        here = np.flatnonzero(depth[first] == level)
        front = owner[first[here]]
        row, column = find(front, first[here]), find(front, second[here])
        off = row != column
        right_front, right_row = np.nonzero(inner[level] < pixels)
        padded_front, padded_row = np.nonzero(inner[level] == pixels)
        update_slots = np.empty(0, np.int64)
        if below is not None:
            parent = parents[level][:, None]
            position = np.where(below < pixels, find(parent, np.minimum(below, pixels - 1)), 0)
            position = np.concatenate([position, np.broadcast_to(border, (len(position), columns))], axis=1)
            update_slots = slots(parent[:, :, None], position[:, :, None], position[:, None, :]).ravel()
        arrays = {
            "inner_pixels": inner[level],
            "outer_pixels": outer[level],
            "entries": np.concatenate([entries[here], entries[here][off]]),
            "entry_slots": np.concatenate([slots(front, row, column), slots(front, column, row)[off]]),
            "right_pixels": inner[level][right_front, right_row],
            "right_slots": slots(right_front[:, None], right_row[:, None], border).ravel(),
            "padding_slots": slots(padded_front, padded_row, padded_row),
            "update_slots": update_slots,
        }
        tensors = {name: torch.from_numpy(array).to(device) for name, array in arrays.items()}
        levels.append(_Level(count, inner[level].shape[1], size, **tensors))
        below = outer[level]
    return tuple(levels)


class _Finder:
    """Position of a pixel within a front."""

    def __init__(self, nodes: Indices, pixels: int) -> None:
        self.pixels = pixels
        front, position = np.nonzero(nodes < pixels)
        keys = front * pixels + nodes[front, position]
        order = np.argsort(keys)
        self.keys, self.positions = keys[order], position[order]

    def __call__(self, front: Indices, pixel: Indices) -> Indices:
        """Return positions; a pixel that is not in the front gets an arbitrary one."""
        found = np.searchsorted(self.keys, front * self.pixels + pixel)
        return self.positions[np.minimum(found, len(self.positions) - 1)]


def _boxes(height: int, width: int) -> tuple[list[Indices], list[Indices], list[Indices]]:
    """Return per level, first cut first: eliminated pixels, surrounding pixels, and for the level *below*, parents.

    Entry `level` of the parents holds, for each front of level + 1, the front of `level` that it is a part of.
    """
    grid = np.arange(height * width, dtype=np.int64).reshape(height, width)
    rows: list[Interval] = [(0, height)]
    columns: list[Interval] = [(0, width)]
    inner: list[Indices] = []
    outer: list[Indices] = []
    parents: list[Indices] = []
    while True:
        tallest = max(stop - start for start, stop in rows)
        widest = max(stop - start for start, stop in columns)
        leaf = max(tallest, widest) <= LEAF_SIDE
        cut_rows = tallest >= widest
        eliminated, around = [], []
        for top, bottom in rows:
            for left, right in columns:
                if leaf:
                    box = grid[top:bottom, left:right]
                elif cut_rows:
                    box = grid[(top + bottom) // 2, left:right]
                else:
                    box = grid[top:bottom, (left + right) // 2]
                eliminated.append(box.ravel())
                around.append(_ring(grid, top, bottom, left, right))
        inner.append(_pad(eliminated, grid.size))
        outer.append(_pad(around, grid.size))
        if leaf:
            return inner, outer, parents
        fronts = np.arange(len(rows) * len(columns)).reshape(len(rows), len(columns))
        parents.append(fronts.repeat(2, axis=0 if cut_rows else 1).ravel())
        if cut_rows:
            rows = _halve(rows)
        else:
            columns = _halve(columns)


def _halve(intervals: list[Interval]) -> list[Interval]:
    middles = [(start + stop) // 2 for start, stop in intervals]
    return [
        half
        for (start, stop), middle in zip(intervals, middles, strict=True)
        for half in ((start, middle), (middle + 1, stop))
    ]


def _ring(grid: Indices, top: int, bottom: int, left: int, right: int) -> Indices:
    """Return the pixels that share an edge with the box and lie outside it; none beyond the image."""
    above, below = grid[max(top - 1, 0) : top, left:right], grid[bottom : bottom + 1, left:right]
    before, after = grid[top:bottom, max(left - 1, 0) : left], grid[top:bottom, right : right + 1]
    return np.concatenate([side.ravel() for side in (above, below, before, after)])


def _pad(lists: list[Indices], fill: int) -> Indices:
    padded = np.full((len(lists), max(map(len, lists))), fill, np.int64)
    for row, values in zip(padded, lists, strict=True):
        row[: len(values)] = values
    return padded


def _edges(height: int, width: int) -> tuple[Indices, Indices, Indices]:
    """Return both ends and the entry number of each diagonal entry and each edge of the grid."""
    grid = np.arange(height * width, dtype=np.int64).reshape(height, width)
    left, above = grid[:, :-1].ravel(), grid[:-1].ravel()
    first = np.concatenate([grid.ravel(), left, above])
    second = np.concatenate([grid.ravel(), left + 1, above + width])
    return first, second, np.concatenate([grid.ravel(), grid.size + left, 2 * grid.size + above])
