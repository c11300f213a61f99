"""Photographs in and out: files, value ranges, squares, compositing. Nothing else converts between these forms.

Inside, an image is a float tensor N×3×H×W in [-1, 1]; outside, uint8 H×W×3 or a PIL image in mode RGB. Embedded colour
profiles are ignored, as is usual in training data: the numbers in the file are taken for sRGB.
"""

from __future__ import annotations

import uuid
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from medfe.errors import MedfeError

MAX_PIXELS = 40_000_000
"""Largest photograph that is read, pixels: 120 MB once decoded; most cameras stay below."""

# Antialiased: Pillow widens the kernel by the shrinking factor. Bicubic rings less at edges than Lanczos and is the
# filter whose agreement with the signal Parmar et al. (2022) recommend before FID.
_FILTER = Image.Resampling.BICUBIC
_WHITE = (255, 255, 255)
_FORMATS = (
    "JPEG", "PNG", "WEBP", "GIF", "BMP", "DIB", "TIFF", "MPO", "AVIF", "PPM", "JPEG2000", "TGA", "PCX", "SGI",
)  # fmt: skip


def load_image(
    source: str | Path | BinaryIO,
    max_pixels: int = MAX_PIXELS,
    *,
    background: tuple[int, int, int] = _WHITE,
    at_least: int | None = None,
) -> Image.Image:
    """Read a photograph of any mode as RGB, upright; of an animation, the first frame.

    Wider files are scaled to 8 bits: 16 bits from 0…65535 (32-bit integers too, or from 0…2³¹ - 1 if they exceed it),
    floats from the smallest of [0, 1], [0, 255] and [0, 65535] that holds them. The orientation that the camera wrote
    (EXIF) is applied.

    Args:
        source: path, or binary file open for reading.
        max_pixels: a file with more is refused before it is decoded.
        background: colour behind transparent pixels.
        at_least: let JPEG be decoded at 1/2, 1/4 or 1/8 of its size, the shorter side staying this long, pixels.

    Raises:
        MedfeError: missing, too large, damaged or not an image.
    """
    with _one_line_errors(source), _open(source, max_pixels) as image:
        if at_least is not None:
            image.draft(None, (at_least, at_least))  # leaves the mode as it is
        image.load()
        return to_rgb(upright(image), background)


def check_header(source: str | Path | BinaryIO, max_pixels: int = MAX_PIXELS) -> tuple[int, int]:
    """Return (width, height) as stored, from the header alone: cheap, but blind to damage behind it.

    Raises:
        MedfeError: as `load_image`.
    """
    with _one_line_errors(source), _open(source, max_pixels) as image:
        return image.size


@contextmanager
def _one_line_errors(source: str | Path | BinaryIO) -> Iterator[None]:
    """Turn whatever Pillow raises into the project's error, and keep its warnings off the terminal."""
    name = _name(source)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"PIL\.")
            yield
    except (MedfeError, MemoryError):
        raise
    except FileNotFoundError:
        raise MedfeError(f"{name}: no such file, expected an image") from None
    except IsADirectoryError:
        raise MedfeError(f"{name}: is a folder, expected an image") from None
    except UnidentifiedImageError:
        raise MedfeError(f"{name}: not an image of a known format, expected one of: {', '.join(formats())}") from None
    except Exception as error:  # the decoders of damaged files raise almost anything
        reason = " ".join(str(error).split()) or type(error).__name__
        raise MedfeError(f"{name}: cannot be read as an image ({reason})") from None


def _name(source: str | Path | BinaryIO) -> str:
    return str(source) if isinstance(source, str | Path) else str(getattr(source, "name", "the image"))


@cache
def formats() -> tuple[str, ...]:
    """Return the formats that are read, as Pillow names them: none that runs another program, as EPS does."""
    Image.init()
    return tuple(name for name in _FORMATS if name in Image.OPEN)


def _open(source: str | Path | BinaryIO, max_pixels: int) -> Image.Image:
    try:
        image = Image.open(source, formats=formats())
    except Image.DecompressionBombError:
        raise MedfeError(
            f"{_name(source)}: far too large, expected at most {max_pixels / 1e6:.3g} megapixels"
        ) from None
    if image.width * image.height > max_pixels:
        image.close()
        raise MedfeError(
            f"{_name(source)}: {image.width}×{image.height} is {image.width * image.height / 1e6:.3g} megapixels, "
            f"expected at most {max_pixels / 1e6:.3g}"
        )
    return image


def upright(image: Image.Image) -> Image.Image:
    """Return an image turned as its EXIF orientation asks for."""
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # damaged EXIF beside intact pixels
        return image


def as_rgb(image: Image.Image, name: str, background: tuple[int, int, int] = _WHITE) -> Image.Image:
    """Return an image that is open already, of any mode, as `load_image` returns its file.

    Args:
        image: PIL image; one of a file may not have been read yet.
        name: what errors call it.
        background: behind transparent pixels.

    Raises:
        MedfeError: damaged, or with pixels that are not finite.
    """
    with _one_line_errors(name):
        return to_rgb(upright(image), background)


def to_rgb(image: Image.Image, background: tuple[int, int, int] = _WHITE) -> Image.Image:
    """Return an image of any mode in mode RGB, `background` behind transparent pixels; wider ones are scaled to 8 bits.

    Raises:
        ValueError: pixels that are not finite, or beyond what the mode's usual ranges hold.
    """
    if image.mode == "F" or image.mode.startswith("I"):
        return Image.fromarray(_to_8_bits(np.asarray(image), image.mode)).convert("RGB")
    if image.has_transparency_data:
        behind = Image.new("RGBA", image.size, (*background, 255))
        return Image.alpha_composite(behind, image.convert("RGBA")).convert("RGB")
    return image.convert("RGB")


def _to_8_bits(values: NDArray[Any], mode: str) -> NDArray[np.uint8]:
    """Scale wide pixels to 0…255; the file does not say its range, so the smallest usual one that holds them counts."""
    if not np.isfinite(values).all():
        raise ValueError("pixels that are not finite")
    largest = float(values.max())
    usual = (1.0, 255.0, 65535.0) if mode == "F" else (65535.0, 2.0**31 - 1)
    scale = next((limit for limit in usual if largest <= limit), None)
    if scale is None:
        raise ValueError(f"pixels up to {largest:g}, expected at most {usual[-1]:g}")
    scaled = np.clip(values.astype(np.float64) * (255 / scale), 0, 255)
    return np.rint(scaled).astype(np.uint8)


def save_png(image: Image.Image | NDArray[np.uint8], path: str | Path) -> None:
    """Write a PNG, whole or not at all: a temporary file beside it is renamed when it is complete.

    Args:
        image: PIL image, or uint8 H×W×3 or H×W.
        path: name ending in .png; missing folders are made.

    Raises:
        MedfeError: another ending (a lossy format would change known pixels), or not writable.
    """
    path = Path(path)
    if path.suffix.lower() != ".png":
        raise MedfeError(f"{path}: expected a name ending in .png, the format that changes no pixel")
    if not isinstance(image, Image.Image):
        image = Image.fromarray(image)
    partial = path.with_name(f".{uuid.uuid4().hex}.png")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            image.save(partial, format="PNG")
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
    except OSError as error:
        raise MedfeError(f"{path}: cannot be written ({error.strerror or error})") from None


def to_tensor(image: Image.Image | NDArray[np.uint8]) -> Tensor:
    """Return an image (PIL, or uint8 H×W×3 RGB) as float32 3×H×W in [-1, 1]: 0 → -1, 255 → 1.

    Raises:
        MedfeError: an array of another type or shape.
    """
    array = np.asarray(to_rgb(image) if isinstance(image, Image.Image) else image)
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3:
        shape = "×".join(map(str, array.shape))
        raise MedfeError(f"image: expected an array of uint8 H×W×3, found {array.dtype} {shape}")
    planes = torch.from_numpy(array.transpose(2, 0, 1).copy())  # H×W×3 → 3×H×W
    return planes.float().div_(127.5).sub_(1)


def to_uint8(images: Tensor) -> NDArray[np.uint8]:
    """Return float …×3×H×W in [-1, 1] as uint8 …×H×W×3: rounded to the nearest, clamped. Inverse of `to_tensor`."""
    levels = (images.detach().float() + 1).mul_(127.5).round_().clamp_(0, 255)
    array: NDArray[np.uint8] = levels.to(torch.uint8).movedim(-3, -1).cpu().numpy()  # …×3×H×W → …×H×W×3
    return np.ascontiguousarray(array)


def to_pil(image: Tensor) -> Image.Image:
    """Return one float image 3×H×W in [-1, 1] as a PIL image in mode RGB."""
    return Image.fromarray(to_uint8(image))


def center_square(image: Image.Image) -> Image.Image:
    """Cut out the largest central square; with an odd remainder the square lies half a pixel left or up."""
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    return image.crop((left, top, left + side, top + side))


def resize(image: Image.Image, size: int | tuple[int, int]) -> Image.Image:
    """Resample with the antialiased bicubic filter to `size`: side of a square, or (width, height), pixels."""
    size = (size, size) if isinstance(size, int) else size
    return image.resize(size, _FILTER) if image.size != size else image


def composite(output: Tensor, image: Tensor, mask: Tensor) -> Tensor:
    """Paste known pixels: `output` in the hole, `image` bit for bit elsewhere.

    Args:
        output: N×3×H×W.
        image: N×3×H×W.
        mask: N×1×H×W, 1 = hole.
    """
    return torch.where(mask > 0.5, output, image)
