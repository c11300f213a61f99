"""What the features see: structure and texture feature of a model beside the targets it was trained against."""

from __future__ import annotations

from typing import NamedTuple

import torch
from PIL import Image
from torch import Tensor

from demo.models import Contender
from medfe.analysis.trained import load_target, structure_images
from medfe.data.images import resize, to_pil, to_tensor
from medfe.data.masks import Mask
from medfe.errors import MedfeError
from medfe.inference import Inpainter
from medfe.models.branches import Features
from medfe.targets import Target
from medfe.targets.autoencoder import AutoencoderCode

_SIDE = 256  # all are shown at this size, so that 16×16 colours and a decoded picture can be compared


class Views(NamedTuple):
    """A model's features and their targets as pictures, each 256×256."""

    structure: Image.Image
    structure_target: Image.Image
    texture: Image.Image
    texture_target: Image.Image


class Observer:
    """A model together with the target it was trained against.

    Args:
        contender: the model.

    Raises:
        MedfeError: its target cannot be shown: it has none, or files of it are missing.
    """

    def __init__(self, contender: Contender) -> None:
        self.title, self.inpainter = contender
        self.target = _load_target(self.inpainter)

    @torch.inference_mode()
    def views(self, picture: Image.Image, hole: Mask) -> Views:
        """Return the features while the hole of a picture is filled, and the targets of the whole picture.

        The model sees the same square of the picture as it does to fill the hole.
        """
        prepared = self.inpainter.prepare(picture, hole)
        side, device = self.inpainter.image_size, self.inpainter.device
        output = self.inpainter.generator(prepared.image[None].to(device), prepared.mask[None].to(device))
        image = to_tensor(resize(picture.crop(prepared.window), side))[None].to(device)  # 1×3×S×S
        goals = self.target.goals(image, structure_images(image, self.target))
        pictures = _pictures(self.target, Features(output.structure, output.texture), goals)
        return Views(*(_enlarged(tensor) for tensor in pictures))


def _load_target(inpainter: Inpainter) -> Target:
    target = load_target(inpainter)
    if type(target).picture is Target.picture and not isinstance(target, AutoencoderCode):
        raise MedfeError(f"arm {target.config.arm} has no target that could be shown")
    if inpainter.arm == "random_encoder":
        raise MedfeError(f"the decoders of arm {inpainter.arm} are as random as its encoders")
    return target


def _pictures(target: Target, features: Features, goals: Features) -> list[Tensor]:
    """Return feature, goal, feature, goal of structure and texture as images N×3×h×w in [-1, 1]."""
    pictures: list[Tensor] = []
    for kind, feature, goal in zip(("structure", "texture"), features, goals, strict=True):
        if isinstance(target, AutoencoderCode):
            decode = getattr(target, kind).decode
            pictures += [decode(feature), decode(goal)]
        elif goal.shape[1] == 3:  # compared as colours already
            pictures += [target.read(feature), goal]
        else:
            pictures += [target.picture(feature), target.picture(goal)]
    return pictures


def _enlarged(image: Tensor) -> Image.Image:
    return to_pil(image[0].clamp(-1, 1)).resize((_SIDE, _SIDE), Image.Resampling.NEAREST)
