"""Pictures with a hole at another size: nothing of the hole reaches known pixels, and those keep their level."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from medfe.data.images import resize
from medfe.data.masks import Mask

_LEAST_WEIGHT = 1e-3


def resize_with_hole(picture: NDArray[np.uint8], hole: Mask, side: int) -> tuple[NDArray[np.uint8], Mask]:
    """Resample a picture without what is in its hole, and the hole.

    Known pixels are resampled as by `medfe.data.images.resize`, weighted by 1, the hole by 0, and divided by what the
    weights become (normalised convolution). In floating point: 8-bit RGBA would clip the weights and not the colours.

    Args:
        picture: uint8 H×W×3.
        hole: bool H×W, True = hole.
        side: of the square that comes out, S pixels.

    Returns:
        uint8 S×S×3, and bool S×S: a pixel that covers any of the hole is of it. Colours in the hole mean nothing.
    """
    known = (~hole).astype(np.float32)
    weight = _resample(known, side)
    colours = np.dstack([_resample(picture[..., channel] * known, side) for channel in range(3)])
    pixels = colours / np.maximum(weight, _LEAST_WEIGHT)[..., None]
    return np.clip(np.rint(pixels), 0, 255).astype(np.uint8), touched(hole, side)


def touched(hole: Mask, side: int) -> Mask:
    """Return which cells of an S×S grid over a mask H×W cover any of its hole, S×S."""
    for axis, length in enumerate(hole.shape):
        before = np.insert(np.cumsum(hole, axis=axis), 0, 0, axis=axis)  # hole pixels before each border of pixels
        borders = np.arange(side + 1) * length
        starts, stops = borders[:-1] // side, -(-borders[1:] // side)
        hole = before.take(stops, axis) > before.take(starts, axis)
    return hole


def _resample(plane: NDArray[np.float32], side: int) -> NDArray[np.float32]:
    return np.asarray(resize(Image.fromarray(plane), side))
