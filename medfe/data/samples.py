"""Photographs that come with the dependencies, so that they can be shown anywhere and need no network.

| name | what | source, licence |
|---|---|---|
| `astronaut` | Eileen Collins, 1992 (scikit-image) | NASA, public domain |
| `grace_hopper` | Rear Admiral Grace Hopper, 1984 (matplotlib) | United States Navy, public domain |
| `chelsea` | face of a cat (scikit-image) | Stéfan van der Walt, CC0 |
| `coffee` | cup on a wooden table (scikit-image) | Rachel Michetti, CC0 |
| `rocket` | launch of a Falcon 9, 2015 (scikit-image) | SpaceX, public domain |
| `camera` | man with a camera, grey (scikit-image) | Lav Varshney, CC0 |
| `hubble` | Hubble eXtreme Deep Field (scikit-image) | NASA, public domain |
| `brick`, `gravel` | textures, grey (scikit-image) | CC0Textures, CC0 |
| `grass` | texture, grey (scikit-image) | linolafett, CC0 |
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import skimage.data
from matplotlib import cbook
from PIL import Image

from medfe.data.images import load_image

# (left, top, right, bottom), pixels. Eyes and mouth lie as near as can be (least squares over place and size) to where
# the mean of UTKFace's aligned faces (`val`) has them: (0.29, 0.29), (0.69, 0.29), (0.49, 0.69) of width and height.
# Small networks need that: in looser and closer cuts (faces 0.92 and 1.14 times as large) they smeared the eyes.
_ASTRONAUT_FACE = (170, 70, 280, 180)
_HOPPER_FACE = (160, 126, 375, 341)

_SCENES: dict[str, Callable[[], Any]] = {
    "astronaut": skimage.data.astronaut,
    "chelsea": skimage.data.chelsea,
    "coffee": skimage.data.coffee,
    "rocket": skimage.data.rocket,
    "camera": skimage.data.camera,
    "hubble": skimage.data.hubble_deep_field,
    "brick": skimage.data.brick,
    "grass": skimage.data.grass,
    "gravel": skimage.data.gravel,
}


def portraits() -> dict[str, Image.Image]:
    """Return two faces, square and cropped as the training faces are: `astronaut` 110², `grace_hopper` 215² pixels."""
    hopper = load_image(str(cbook.get_sample_data("grace_hopper.jpg", asfileobj=False)))
    return {
        "astronaut": _read("astronaut").crop(_ASTRONAUT_FACE),
        "grace_hopper": hopper.crop(_HOPPER_FACE),
    }


def scenes() -> dict[str, Image.Image]:
    """Return whole photographs, RGB, 300 to 1000 pixels wide and high; grey ones have three equal channels."""
    return {name: _read(name) for name in _SCENES}


def _read(name: str) -> Image.Image:
    return Image.fromarray(_SCENES[name]()).convert("RGB")
