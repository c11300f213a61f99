"""Photographs for the notebooks: of a folder where there is one, else those that ship with the dependencies."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from medfe.data.files import find_images, shuffled
from medfe.data.images import center_square, load_image, resize, to_tensor
from medfe.data.samples import portraits, scenes
from medfe.errors import MedfeError


def example_images(n: int, side: int, folder: Path | None = None, seed: int = 0) -> Tensor:
    """Return `n` square photographs, N×3×S×S in [-1, 1].

    Without a folder they are the two portraits that ship with the dependencies, then random crops of the scenes that
    do, a different one each time round, at half their size: enough to show how something is measured, too few and too
    alike to conclude anything.

    Args:
        n: number of images.
        side: S, pixels.
        folder: photographs, of which `n` are chosen by the hash of their names; central squares are taken.
        seed: of the crops.

    Raises:
        MedfeError: if the folder has fewer photographs.
    """
    if folder is not None:
        paths = shuffled(find_images(folder), folder)[:n]
        if len(paths) < n:
            raise MedfeError(f"{folder}: found {len(paths)} photographs, expected at least {n}")
        return torch.stack([to_tensor(resize(center_square(load_image(path)), side)) for path in paths])
    squares = [resize(center_square(portrait), side) for portrait in portraits().values()]
    pictures = [picture.reduce(2) if min(picture.size) >= 2 * side else picture for picture in scenes().values()]
    rng = np.random.default_rng(seed)
    squares += [_random_crop(pictures[number % len(pictures)], side, rng) for number in range(n - len(squares))]
    return torch.stack([to_tensor(square) for square in squares[:n]])


def _random_crop(picture: Image.Image, side: int, rng: np.random.Generator) -> Image.Image:
    left, top = (int(rng.integers(length - side + 1)) for length in picture.size)
    return picture.crop((left, top, left + side, top + side))
