"""The pictures a visitor can choose: samples, a folder of the operator's, or an upload."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from medfe.data.files import find_images
from medfe.data.images import formats, load_image
from medfe.data.samples import portraits, scenes
from medfe.errors import MedfeError

VIEW_SIDE = 768
"""Longest side of a picture on the page, pixels; larger ones are shown shrunk, and saved whole."""
MIN_SIDE = 16
"""Shortest side that is accepted, pixels."""
MAX_FOLDER = 60
"""Pictures of a folder that are offered."""

_THUMBNAIL = 112
_SHOWN_SCENES = ("chelsea", "coffee")


@dataclass(frozen=True)
class Picture:
    """A picture a visitor chose: a name to show, and where the original is. It stays on the server."""

    title: str
    path: Path | None = None
    sample: Image.Image | None = field(default=None, repr=False)

    def load(self) -> Image.Image:
        """Return the original, upright RGB.

        Raises:
            MedfeError: an upload that has been cleared away, is too large or too small, or is not a picture.
        """
        if self.sample is not None:
            return self.sample
        if self.path is None or not self.path.is_file():
            raise MedfeError(f"{self.title} is no longer on the server; please choose a picture again")
        return read_upload(self.path, self.title)


def read_upload(path: Path, title: str) -> Image.Image:
    """Read an uploaded file, whatever its name says; nothing of it but the pixels is kept (no EXIF, no profile).

    Raises:
        MedfeError: not a picture of a supported format, more than `medfe.data.images.MAX_PIXELS`, or too small.
    """
    try:
        with Image.open(path, formats=formats()):
            pass
    except Image.DecompressionBombError:
        pass  # load_image says how large it is
    except Exception:  # decoders raise almost anything
        raise MedfeError(
            f"{title} is not a picture that can be read; expected JPEG, PNG, WebP, GIF, BMP or TIFF"
        ) from None
    try:
        image = load_image(path)
    except MedfeError as error:  # the path is the server's business
        raise MedfeError(str(error).replace(str(path), title)) from None
    if min(image.size) < MIN_SIDE:
        raise MedfeError(f"{title} has {image.width}×{image.height} pixels, expected at least {MIN_SIDE} each way")
    return Image.fromarray(np.asarray(image))


def view_size(size: tuple[int, int]) -> tuple[int, int]:
    """Return the size at which a picture (width, height) is shown: its own, shrunk if longer than `VIEW_SIDE`."""
    longest = max(size)
    if longest <= VIEW_SIDE:
        return size
    width, height = (max(1, round(side * VIEW_SIDE / longest)) for side in size)
    return width, height


def canvas_size(size: tuple[int, int]) -> tuple[int, int]:
    """Return the size of the canvas for a picture (width, height).

    Small pictures are enlarged by a whole number, so that a hole which the server draws comes back exactly.
    """
    factor = max(1, VIEW_SIDE // max(size))
    width, height = view_size(size)
    return width * factor, height * factor


class Library:
    """The pictures offered: portraits cropped as the training faces are, scenes, and a folder of the operator's.

    Args:
        folder: folder of images, searched recursively; the first `MAX_FOLDER` are offered, under neutral names.

    Raises:
        MedfeError: no such folder, or no image in it that can be read.
    """

    def __init__(self, folder: Path | None = None) -> None:
        samples = portraits() | {name: scenes()[name] for name in _SHOWN_SCENES}
        self.pictures = [Picture(name.replace("_", " ").title(), sample=image) for name, image in samples.items()]
        self.thumbnails = [_thumbnail(picture.load()) for picture in self.pictures]
        if folder is not None:
            self._add_folder(folder)

    def _add_folder(self, folder: Path) -> None:
        refused = None
        own: list[tuple[Picture, Image.Image]] = []
        for path in find_images(folder)[:MAX_FOLDER]:
            try:
                image = load_image(path, at_least=_THUMBNAIL)
            except MedfeError as error:
                refused = error
                continue
            own.append((Picture(f"Picture {len(own) + 1}", path=path), _thumbnail(image)))
        if not own and refused is not None:
            raise refused
        self.pictures = [picture for picture, _ in own] + self.pictures
        self.thumbnails = [thumbnail for _, thumbnail in own] + self.thumbnails


def _thumbnail(image: Image.Image) -> Image.Image:
    small = image.copy()
    small.thumbnail((2 * _THUMBNAIL, 2 * _THUMBNAIL))
    return small
