"""The hole: what the visitor drew on the canvas, or a rule or file put there, as a mask of the picture's size."""

from __future__ import annotations

import base64
from io import BytesIO
from pathlib import Path
from typing import Any

import cv2
import gradio as gr
import numpy as np
from PIL import Image

from demo.pictures import VIEW_SIDE, canvas_size
from medfe.data.images import resize
from medfe.data.masks import Mask, load_mask
from medfe.errors import MedfeError
from medfe.inpaint_files import generated_mask

RULES = {
    "Centre": "center",
    "Brush": "brush",
    "Thin": "irregular_thin",
    "Medium": "irregular_medium",
    "Thick": "irregular_thick",
}
"""Name of the button → rule of `medfe.inpaint_files.generated_mask`."""

INK = (236, 72, 120)  # the colour of the hole on the canvas
_MAX_LAYERS = 8  # of a drawing; the page makes one or two


class Canvas(gr.ImageEditor):
    """A canvas that is shown to visitors and never asked for its value.

    Gradio's own way asks it at every change of the page's state, and then it sends background, layers and composite as
    files. `demo.script.DRAWING` reads the layers once, when they are needed.
    """

    is_template = True  # the browser knows it as its parent

    def accept_blobs(self, *_: object) -> None:
        """Refuse pictures. Gradio's own is a function for browsers; this one is not marked so, and cannot be called."""
        raise MedfeError("the canvas takes no files: a drawing comes with the click that fills the hole")


def read_drawing(sent: str | None) -> Mask | None:
    """Return where any layer of a drawing is at least half opaque, or None if there is no layer.

    Args:
        sent: layers as data URLs (base64 of PNG), one a line, all of the canvas' size.

    Raises:
        MedfeError: a layer that is not a PNG, larger than any canvas (which is found before it is decoded), or of
            another size than the others; too many layers.
    """
    lines = (sent or "").split()
    if len(lines) > _MAX_LAYERS:
        raise MedfeError(f"the drawing has {len(lines)} layers, expected at most {_MAX_LAYERS}")
    layers = [_alpha(line) for line in lines]
    if not layers:
        return None
    if len({layer.shape for layer in layers}) > 1:
        raise MedfeError("the layers of the drawing differ in size")
    return np.logical_or.reduce(layers)


def _alpha(url: str) -> Mask:
    try:
        content = base64.b64decode(url.partition(",")[2], validate=True)
        with Image.open(BytesIO(content), formats=("PNG",)) as image:
            if max(image.size) <= VIEW_SIDE:
                return np.asarray(image.convert("RGBA").getchannel("A")) >= 128
            found = image.size
    except Exception:  # decoders raise almost anything
        raise MedfeError("the drawing cannot be read; please draw it again") from None
    raise MedfeError(f"the drawing has {found[0]}×{found[1]} pixels, expected at most {VIEW_SIDE}×{VIEW_SIDE}")


def on_canvas(picture: Image.Image, hole: Mask | None = None) -> dict[str, Any]:
    """Return a picture, and a hole of its size, as the canvas' value."""
    size = canvas_size(picture.size)
    layers = [] if hole is None else [_layer(_resized(hole, size))]
    return {"background": resize(picture, size), "layers": layers, "composite": None}


def _layer(hole: Mask) -> Image.Image:
    pixels = np.zeros((*hole.shape, 4), dtype=np.uint8)
    pixels[hole] = (*INK, 255)
    return Image.fromarray(pixels)


def from_canvas(drawn: Mask | None, size: tuple[int, int]) -> Mask:
    """Return the drawn hole for a picture of (width, height): a pixel is of the hole if at least half of it is.

    Raises:
        MedfeError: the drawing is that of a picture of another shape.
    """
    width, height = size
    if drawn is None:
        return np.zeros((height, width), dtype=bool)
    expected = canvas_size(size)
    if drawn.shape != expected[::-1]:
        raise MedfeError(
            f"the drawing has {drawn.shape[1]}×{drawn.shape[0]} pixels, expected {expected[0]}×{expected[1]}; "
            "please choose the picture again"
        )
    return _resized(drawn, size)


def _resized(hole: Mask, size: tuple[int, int]) -> Mask:
    if size == (hole.shape[1], hole.shape[0]):
        return hole
    cover = Image.fromarray(hole.astype(np.float32)).resize(size, Image.Resampling.BOX)
    return np.asarray(cover) >= 0.5


def by_rule(button: str, size: tuple[int, int], seed: int) -> Mask:
    """Return the hole of a button of `RULES` for a picture of (width, height)."""
    return generated_mask(RULES[button], size, seed)


def from_file(path: Path, title: str, size: tuple[int, int]) -> Mask:
    """Return the hole of an uploaded mask file (white = hole) for a picture of (width, height).

    Raises:
        MedfeError: not a picture, or of another size.
    """
    try:
        return load_mask(path, size)
    except MedfeError as error:
        raise MedfeError(str(error).replace(str(path), title)) from None


def grown(hole: Mask, pixels: int) -> Mask:
    """Return the hole grown by so many pixels all round, or shrunk if negative.

    Beyond the edge of the picture the hole goes on as it is at the edge.
    """
    side = 2 * abs(pixels) + 1
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
    change = cv2.dilate if pixels > 0 else cv2.erode
    return change(hole.astype(np.uint8), disc).astype(bool)
