"""Methods that learn nothing: what any trained network should beat."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from torch import Tensor

from medfe.data.images import to_tensor, to_uint8

RADIUS = 5.0
"""Neighbourhood that Telea and Navier-Stokes look at, pixels at 256, scaled with the image (at least 1)."""


def mean_fill(image: Tensor, mask: Tensor) -> Tensor:
    """Fill each hole with the mean colour of its image's known pixels.

    Args:
        image: N×3×H×W in [-1, 1].
        mask: N×1×H×W, 1 = hole.
    """
    known = 1 - mask
    mean = (image * known).sum(dim=(2, 3), keepdim=True) / known.sum(dim=(2, 3), keepdim=True)
    return torch.where(mask > 0.5, mean, image)


def telea(image: Tensor, mask: Tensor) -> Tensor:
    """Fill by fast marching (Telea 2004), OpenCV's; args as for `mean_fill`."""
    return _opencv(image, mask, cv2.INPAINT_TELEA)


def navier_stokes(image: Tensor, mask: Tensor) -> Tensor:
    """Continue lines of equal brightness (Bertalmio et al. 2001), OpenCV's; args as for `mean_fill`."""
    return _opencv(image, mask, cv2.INPAINT_NS)


def _opencv(image: Tensor, mask: Tensor, method: int) -> Tensor:
    radius = max(1.0, RADIUS * image.shape[-1] / 256)
    holes = (mask[:, 0] > 0.5).numpy().astype(np.uint8)
    pairs = zip(to_uint8(image), holes, strict=True)
    # Colours stay in the order red, green, blue: both methods treat the channels alike.
    return torch.stack([to_tensor(cv2.inpaint(picture, hole, radius, method)) for picture, hole in pairs])
