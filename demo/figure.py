"""The idea in one figure, drawn as SVG in the colours of the page, so that it is right in light and dark."""

from __future__ import annotations

import base64
from html import escape
from io import BytesIO

import numpy as np
from PIL import Image

from demo.comparison import FILL
from medfe.data.images import resize
from medfe.data.masks import center_mask
from medfe.data.samples import portraits

_SIDE = 128  # of the pictures in the figure, pixels
_GRID = _SIDE // 8
_ARROW = (
    '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
    '<path d="M0 0L8 4L0 8Z" fill="currentColor"/></marker></defs>'
)


def idea_figure() -> str:
    """Return the figure as HTML: the network, and what its features are compared with in the two published arms."""
    picture = resize(portraits()["astronaut"], _SIDE)
    panels = (
        _panel("The network, the same in every arm", _network(picture), _NETWORK_TEXT),
        _panel("MEDFE: three channels against a shrunken picture", _low_resolution(picture), _LOW_RESOLUTION_TEXT),
        _panel("MEDFE+CAE: all channels against a code", _autoencoder(picture), _AUTOENCODER_TEXT),
    )
    return f'<div class="idea">{"".join(panels)}</div>'


_NETWORK_TEXT = (
    "An encoder reads the picture and its hole. Deep layers give the structure feature, shallow ones the texture "
    "feature; both are filled and equalized, and a decoder paints the picture."
)
_LOW_RESOLUTION_TEXT = (
    "In training, one 1×1 convolution reads three channels out of each feature. They are compared with the picture, "
    "shrunk eight times each way; for structure, texture is smoothed away first. The other channels are free."
)
_AUTOENCODER_TEXT = (
    "In training, every channel of each feature is compared with the code that a frozen auto-encoder makes of the "
    "picture. The code for texture is almost lossless: its decoder gives the picture back."
)


def _panel(title: str, drawing: str, text: str) -> str:
    # The drawing is described by the text below it.
    return (
        f'<figure><h3>{escape(title)}</h3><svg viewBox="0 0 400 250" role="img" aria-label="{escape(title)}">'
        f"{_ARROW}{drawing}</svg><figcaption>{escape(text)}</figcaption></figure>"
    )


def _network(picture: Image.Image) -> str:
    pixels = np.array(picture)
    pixels[center_mask(_SIDE)] = FILL
    return "".join(
        [
            _image(Image.fromarray(pixels), 0, 89, 72),
            _arrow(75, 125, 91, 125),
            _trapezium(94, 70, 66, 110, shrinks=True, text="encoder"),
            _arrow(163, 108, 180, 82),
            _arrow(163, 142, 180, 168),
            _planes(184, 48, 6, 44, "structure"),
            _planes(184, 154, 6, 44, "texture"),
            _arrow(236, 82, 253, 108),
            _arrow(236, 168, 253, 142),
            _trapezium(257, 70, 66, 110, shrinks=False, text="decoder"),
            _image(picture, 328, 89, 72),
        ]
    )


def _low_resolution(picture: Image.Image) -> str:
    small = resize(picture, _GRID)
    return "".join(
        [
            _planes(10, 88, 9, 80, "feature", lit=3),
            _arrow(126, 128, 198, 128, text="1×1 conv"),
            _planes(206, 102, 3, 52, "3 channels", lit=3),
            _compare(291, 128),
            _image(small, 312, 88, 80),
            _label(352, 186, f"{_GRID}×{_GRID} pixels"),
        ]
    )


def _autoencoder(picture: Image.Image) -> str:
    return "".join(
        [
            _planes(2, 88, 9, 76, "feature", lit=9),
            _compare(130, 128),
            _planes(148, 88, 9, 76, "code", lit=9),
            _image(picture, 322, 22, 72),
            _label(358, 110, "picture"),
            _image(picture, 322, 146, 72),
            _label(358, 234, "picture"),
            _arrow(318, 58, 266, 90),
            _label(290, 36, "encode"),
            _arrow(266, 154, 318, 182),
            _label(290, 206, "decode"),
        ]
    )


def _image(picture: Image.Image, x: float, y: float, side: float) -> str:
    buffer = BytesIO()
    picture.save(buffer, format="PNG")
    source = base64.b64encode(buffer.getvalue()).decode()
    return (
        f'<image x="{x}" y="{y}" width="{side}" height="{side}" href="data:image/png;base64,{source}" '
        f'style="image-rendering:{"pixelated" if picture.width < _SIDE else "auto"}"/>'
    )


def _planes(x: float, y: float, count: int, side: float, text: str, lit: int = 0) -> str:
    """Draw channels as a pile of squares, the front `lit` of which take part in the comparison."""
    step = 4
    pile = [
        f'<rect x="{x + step * i}" y="{y - step * i}" width="{side}" height="{side}" rx="2" '
        f'class="{"lit" if i < lit else "plane"}"/>'
        for i in reversed(range(count))
    ]
    return "".join(pile) + _label(x + side / 2, y + side + 18, text)


def _trapezium(x: float, y: float, width: float, height: float, *, shrinks: bool, text: str) -> str:
    inset = height / 5
    left, right = (0, inset) if shrinks else (inset, 0)
    points = [(x, y + left), (x + width, y + right), (x + width, y + height - right), (x, y + height - left)]
    path = " ".join(f"{px:g},{py:g}" for px, py in points)
    return f'<polygon points="{path}" class="plane"/>' + _label(x + width / 2, y + height / 2 + 4, text)


def _arrow(x1: float, y1: float, x2: float, y2: float, text: str = "") -> str:
    line = f'<line x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}" class="arrow" marker-end="url(#tip)"/>'
    return line + (_label((x1 + x2) / 2, min(y1, y2) - 8, text) if text else "")


def _compare(x: float, y: float) -> str:
    return f'<text x="{x}" y="{y + 9}" class="compare">≈</text>'


def _label(x: float, y: float, text: str) -> str:
    return f'<text x="{x:g}" y="{y:g}">{escape(text)}</text>'
