"""Holes: generated, read from files, or drawn from a folder of files.

Outside of tensors a mask is a boolean array H×W, True in the hole; as a tensor it is float 1×H×W, 1 in the hole.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Literal, Protocol, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from medfe.config import MaskKind
from medfe.data.files import contents_digest, find_images
from medfe.data.images import as_rgb, load_image
from medfe.data.strokes import Boxes, Polylines, boxes, brush, polylines
from medfe.errors import MedfeError

Mask = NDArray[np.bool_]
HoleColor = Literal["white", "black"]

IRREGULAR: tuple[MaskKind, ...] = ("irregular_thin", "irregular_medium", "irregular_thick")
AREA_BINS: dict[str, tuple[float, float]] = {
    "1-10": (0.01, 0.1), "10-20": (0.1, 0.2), "20-30": (0.2, 0.3),
    "30-40": (0.3, 0.4), "40-50": (0.4, 0.5), "50-60": (0.5, 0.6),
}  # fmt: skip
"""Share of the hole, percent → (above, up to and including): the classes of Liu et al. 2018, section 4.1."""

_log = logging.getLogger(__name__)
_SMALLEST = 4
_SHARE = (0.01, 0.5)
_BOX = Boxes(1, 64, 128, margin=0)
_IRREGULAR: dict[MaskKind, tuple[Polylines, Boxes | None]] = {
    "irregular_thin": (Polylines(4, 50, length=40, width=10), None),
    "irregular_medium": (Polylines(4, 5, length=100, width=50), Boxes(5, 10, 50, margin=0)),
    "irregular_thick": (Polylines(1, 5, length=200, width=100), Boxes(3, 30, 150, margin=10)),
}


class MaskSource(Protocol):
    """Anything that yields masks."""

    def mask(self, size: int, rng: np.random.Generator) -> Mask:
        """Return a mask size×size, neither empty nor full; equal states of `rng` yield equal masks."""


def center_mask(size: int) -> Mask:
    """Return the central hole, rows and columns size/4 to 3·size/4: a quarter of the area."""
    mask = np.zeros((size, size), dtype=bool)
    mask[size // 4 : 3 * size // 4, size // 4 : 3 * size // 4] = True
    return mask


def make_mask(kind: MaskKind, size: int, rng: np.random.Generator) -> Mask:
    """Return a mask size×size of the given kind, never empty and never full.

    - `center`: `center_mask`.
    - `box`: one rectangle, each side uniform in [size/4, size/2], anywhere inside.
    - `brush`: free-form strokes of DeepFill v2 (Yu et al. 2019, algorithm 1, with the parameters of its release).
    - `irregular_thin`, `_medium`, `_thick`: LaMa's narrow, medium and wide masks (Suvorov et al. 2022): polylines of
      wide segments, or, 3 times in 13, boxes (never for thin).

    Lengths and widths are the published ones at 256 pixels, scaled by size/256. A random hole of less than 1 % or more
    than 50 % of the area is drawn again, as LaMa's test sets drop masks over 50 %. Share of the hole, percent, mean ±
    standard deviation over 20 000 masks:

    | kind | 64 px | 128 px | 256 px |
    |---|---|---|---|
    | center | 25.0 ± 0.0 | 25.0 ± 0.0 | 25.0 ± 0.0 |
    | box | 14.1 ± 3.9 | 14.1 ± 3.9 | 14.1 ± 3.9 |
    | brush | 17.5 ± 8.9 | 16.4 ± 8.5 | 15.9 ± 8.3 |
    | irregular_thin | 30.4 ± 12.6 | 30.0 ± 12.9 | 29.4 ± 12.9 |
    | irregular_medium | 25.3 ± 13.1 | 24.0 ± 12.5 | 23.4 ± 12.2 |
    | irregular_thick | 26.8 ± 12.8 | 26.8 ± 12.8 | 26.8 ± 12.9 |

    Args:
        kind: one of `medfe.config.MaskKind`.
        size: side, pixels, at least 4.
        rng: source of randomness; `center` draws nothing.

    Raises:
        MedfeError: unknown kind, or a smaller size.
    """
    if kind == "center":
        return center_mask(size)
    if size < _SMALLEST:
        raise MedfeError(f"masks: size {size}, expected at least {_SMALLEST} pixels")
    while True:
        mask = _draw(kind, size, rng)
        if _SHARE[0] < mask.mean() <= _SHARE[1]:
            return mask


def _draw(kind: MaskKind, size: int, rng: np.random.Generator) -> Mask:
    if kind == "box":
        return boxes(size, rng, _BOX)
    if kind == "brush":
        return brush(size, rng)
    if kind not in _IRREGULAR:
        raise MedfeError(f"unknown mask {kind!r}, expected one of: {', '.join(get_args(MaskKind))}")
    lines, rectangles = _IRREGULAR[kind]
    if rectangles is None or rng.random() < 10 / 13:
        return polylines(size, rng, lines)
    return boxes(size, rng, rectangles)


def mask_to_tensor(mask: Mask) -> Tensor:
    """Return a mask H×W as float32 1×H×W, 1 = hole."""
    return torch.from_numpy(mask[None].astype(np.float32))


def check_mask(mask: Mask, name: str = "mask") -> None:
    """Refuse a mask without a hole or without a known pixel.

    Raises:
        MedfeError: with `name` in front.
    """
    if not mask.any():
        raise MedfeError(f"{name}: empty, no pixel is marked as hole; is its colour (white or black) set rightly?")
    if mask.all():
        raise MedfeError(f"{name}: full, no pixel is known; is the colour of the hole (white or black) set rightly?")


def load_mask(path: str | Path, size: tuple[int, int] | None = None, hole: HoleColor = "white") -> Mask:
    """Read a mask file: luminance at or above 128 is white. Transparent pixels are known ones.

    Args:
        path: image file of any mode.
        size: expected (width, height), pixels.
        hole: colour of the hole in the file.

    Raises:
        MedfeError: unreadable, or another size.
    """
    image = load_image(path, background=_known(hole))
    if size is not None and image.size != size:
        raise MedfeError(f"{path}: mask is {image.width}×{image.height}, image is {size[0]}×{size[1]}")
    return _hole(image, hole)


def mask_of_image(image: Image.Image, hole: HoleColor = "white") -> Mask:
    """Return the mask that an image shows, read as `load_mask` reads its file.

    Raises:
        MedfeError: damaged.
    """
    return _hole(as_rgb(image, "mask", _known(hole)), hole)


def _known(hole: HoleColor) -> tuple[int, int, int]:
    return (0, 0, 0) if hole == "white" else (255, 255, 255)


def _hole(image: Image.Image, hole: HoleColor) -> Mask:
    white = np.asarray(image.convert("L")) >= 128
    return white if hole == "white" else ~white


def area_bin(mask: Mask) -> str | None:
    """Return the class of the hole's share, a key of `AREA_BINS`, or None outside 1–60 %."""
    share = float(mask.mean())
    return next((name for name, (above, up_to) in AREA_BINS.items() if above < share <= up_to), None)


class MaskFolder:
    """A folder of mask files, as Liu et al. (2018) published theirs: a `MaskSource`.

    Args:
        root: folder, searched recursively; files in sorted order.
        hole: colour of the hole in the files.
        area: keep only the files of this class, a key of `AREA_BINS`; reads every file once.

    Attributes:
        paths: the files.

    Raises:
        MedfeError: no folder, no files, unknown class, or none of this class.
    """

    def __init__(self, root: str | Path, hole: HoleColor = "white", area: str | None = None) -> None:
        self.root, self.hole = Path(root), hole
        self.paths = find_images(root)
        self._reported: set[str] = set()
        if area is not None:
            if area not in AREA_BINS:
                raise MedfeError(f"unknown area bin {area!r}, expected one of: {', '.join(AREA_BINS)}")
            found = len(self.paths)
            self.paths = [path for path in self.paths if self._area_bin(path) == area]
            if not self.paths:
                raise MedfeError(f"{root}: none of {found} masks has a hole of {area} % of its area")

    def __len__(self) -> int:
        return len(self.paths)

    def digest(self) -> str:
        """Return a digest of the files' names and contents; where the folder lies is left out.

        Raises:
            MedfeError: a file cannot be read.
        """
        return contents_digest(self.paths, self.root)

    def _area_bin(self, path: Path) -> str | None:
        try:
            return area_bin(load_mask(path, hole=self.hole))
        except MedfeError as error:
            _log.warning("skipped: %s", error)
            return None

    def load(self, index: int, size: int) -> Mask:
        """Return file number `index` as size×size, nearest neighbour, so that it stays binary.

        Raises:
            MedfeError: unreadable, or empty or full at this size.
        """
        path = self.paths[index]
        mask = Image.fromarray(load_mask(path, hole=self.hole))
        resized = np.array(mask.resize((size, size), Image.Resampling.NEAREST))
        check_mask(resized, f"{path} at {size}×{size}")
        return resized

    def sample(self, size: int, rng: np.random.Generator) -> Mask:
        """Return a random file's mask, resized as in `load`; an unusable file gives way to the next usable one.

        Raises:
            MedfeError: no file is usable.
        """
        start = int(rng.integers(len(self.paths)))
        for index in range(start, start + len(self.paths)):
            try:
                return self.load(index % len(self.paths), size)
            except MedfeError as error:
                if str(error) not in self._reported:
                    self._reported.add(str(error))
                    _log.warning("skipped: %s", error)
        raise MedfeError(f"{self.paths[start].parent}: none of {len(self.paths)} masks is usable at {size}×{size}")

    mask = sample


class GeneratedMasks:
    """Masks drawn by `make_mask`: a `MaskSource`.

    Args:
        center_share: share of centre masks.
        kinds: the other masks' kinds, equally likely.
    """

    def __init__(self, center_share: float = 0.0, kinds: tuple[MaskKind, ...] = IRREGULAR) -> None:
        self.center_share = center_share
        self.kinds = kinds

    def mask(self, size: int, rng: np.random.Generator) -> Mask:
        """Return a mask size×size."""
        if rng.random() < self.center_share:
            return center_mask(size)
        return make_mask(self.kinds[rng.integers(len(self.kinds))], size, rng)


def parse_masks(rule: str, hole: HoleColor = "white") -> MaskSource:
    """Return the masks that a rule of the command line names.

    Args:
        rule: a kind (see `make_mask`), `irregular` (a third each thin, medium, thick), or a folder of mask files.
        hole: colour of the hole in the files.

    Raises:
        MedfeError: neither a kind nor a folder.
    """
    rules: dict[str, tuple[MaskKind, ...]] = {kind: (kind,) for kind in get_args(MaskKind)}
    rules["irregular"] = IRREGULAR
    if rule in rules:
        return GeneratedMasks(kinds=rules[rule])
    if not Path(rule).exists():
        raise MedfeError(f"masks: {rule!r} is no folder and no rule, expected one of: {', '.join(rules)}")
    return MaskFolder(rule, hole)
