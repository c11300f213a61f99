"""Folders of photographs of noise, and what their crops are compared with."""

import numpy as np
import pytest
import torch
from PIL import Image

from medfe.data.images import center_square, load_image, resize, to_tensor

COUNT = 7


def photograph(number, width=96, height=80):
    return Image.fromarray(np.random.default_rng(number).integers(0, 256, (height, width, 3), dtype=np.uint8))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Seven photographs of noise, 96×80."""
    root = tmp_path_factory.mktemp("photographs")
    for number in range(COUNT):
        photograph(number).save(root / f"{number}.png")
    return root


@pytest.fixture
def damaged(tmp_path):
    """Photographs 0 to 3; 1 is cut in half, 2 is no image."""
    for number in range(4):
        photograph(number).save(tmp_path / f"{number}.png")
    data = (tmp_path / "1.png").read_bytes()
    (tmp_path / "1.png").write_bytes(data[: len(data) // 2])
    (tmp_path / "2.png").write_text("hello")
    return tmp_path


def places(image, whole):
    """(Top, left) of every window of the whole that is the image."""
    side = image.shape[-1]
    rows = (whole.unfold(2, side, 1) == image[:, 0, None, None]).all(dim=-1).all(dim=0)  # of the image's first row
    return [
        (top, left)
        for top, left in rows.nonzero().tolist()
        if torch.equal(whole[:, top : top + side, left : left + side], image)
    ]


def squares(root, size=64):
    return [to_tensor(resize(center_square(load_image(path)), size)) for path in sorted(root.glob("*.png"))]
