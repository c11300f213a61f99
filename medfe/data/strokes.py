"""Drawing of random holes: polylines, brush strokes and boxes, with lengths given at 256 pixels and scaled."""

from __future__ import annotations

import math
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

_Mask = NDArray[np.bool_]
_Floats = NDArray[np.float64]

_REFERENCE_SIZE = 256  # the published lengths are pixels at this size


class Polylines(NamedTuple):
    """Number of polylines, and upper bounds of a segment's length and width at 256 pixels."""

    fewest: int
    most: int
    length: float
    width: float


class Boxes(NamedTuple):
    """Largest number of boxes, bounds of their sides, and distance from the border at 256 pixels."""

    most: int
    shortest: float
    longest: float
    margin: float


def polylines(size: int, rng: np.random.Generator, bounds: Polylines) -> _Mask:
    """Draw polylines of one to five segments; a segment is 10 to 10 + length long and 5 to 5 + width wide."""
    scale = size / _REFERENCE_SIZE
    canvas = np.zeros((size, size), dtype=np.uint8)
    for stroke in range(rng.integers(bounds.fewest, bounds.most + 1)):
        segments = int(rng.integers(1, 6))
        draws = rng.random((3, segments))
        angles = 4 * draws[0] * (1 if stroke % 2 else -1)  # radians
        lengths = scale * (10 + bounds.length * draws[1])
        widths = scale * (5 + bounds.width * draws[2])
        _stroke(canvas, rng.uniform(0, size, 2), angles, lengths, widths)
    return canvas.astype(bool)


def brush(size: int, rng: np.random.Generator) -> _Mask:
    """Draw one to three strokes that turn by about 4π/5 at each vertex, to and fro, then mirror at random."""
    scale = size / _REFERENCE_SIZE
    mean_length = math.hypot(size, size) / 8
    canvas = np.zeros((size, size), dtype=np.uint8)
    for _ in range(rng.integers(1, 4)):
        segments = int(rng.integers(4, 12))
        spread = rng.uniform(0, 2 * math.pi / 15, 2)
        angles = rng.uniform(2 * math.pi / 5 - spread[0], 2 * math.pi / 5 + spread[1], segments)
        angles[::2] *= -1
        lengths = np.clip(rng.normal(mean_length, mean_length / 2, segments), 0, 2 * mean_length)
        widths = np.full(segments, scale * rng.uniform(12, 40))
        _stroke(canvas, rng.uniform(0, size, 2), angles, lengths, widths)
    flips = rng.random(2) < 0.5
    return canvas.astype(bool)[:: -1 if flips[0] else 1, :: -1 if flips[1] else 1].copy()


def _stroke(canvas: NDArray[np.uint8], start: _Floats, angles: _Floats, lengths: _Floats, widths: _Floats) -> None:
    """Draw segments end to end, each of its own direction, length and width; vertices stay inside."""
    last = canvas.shape[0] - 1
    x, y = (min(value, last) for value in start.tolist())
    steps = np.stack([lengths * np.cos(angles), lengths * np.sin(angles), widths]).T.tolist()
    for dx, dy, width in steps:  # plain floats: ten times as fast as arrays of two
        end_x, end_y = min(max(x + dx, 0.0), last), min(max(y + dy, 0.0), last)
        # Lines of OpenCV have round ends, so that joints need no circles.
        cv2.line(canvas, (round(x), round(y)), (round(end_x), round(end_y)), 1, max(1, round(width)))
        x, y = end_x, end_y


def boxes(size: int, rng: np.random.Generator, bounds: Boxes) -> _Mask:
    """Fill one to `most` rectangles, anywhere inside the margin."""
    scale = size / _REFERENCE_SIZE
    margin = bounds.margin * scale
    mask = np.zeros((size, size), dtype=bool)
    for _ in range(rng.integers(1, bounds.most + 1)):
        sides = np.clip(np.rint(scale * rng.uniform(bounds.shortest, bounds.longest, 2)), 1, size - 1)
        top, left = np.rint(rng.uniform(margin, np.maximum(margin, size - margin - sides))).astype(int)
        height, width = sides.astype(int)
        mask[top : top + height, left : left + width] = True
    return mask
