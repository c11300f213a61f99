"""Random colours: a network that has seen one photograph in many tones takes up the tone of the one it is given."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torchvision.transforms.v2 import functional


def jitter_colors(images: Sequence[Tensor], strength: float, rng: np.random.Generator) -> list[Tensor]:
    """Return images with brightness, contrast, saturation and hue changed at random, all by the same numbers.

    Args:
        images: 3×H×W in [-1, 1], all of one shape.
        strength: s: the first three are multiplied by factors drawn from [1 − s, 1 + s], one after the other, the hue
            is turned by a part of the circle drawn from [−s/10, s/10].
        rng: what draws them.

    Returns:
        Images in [-1, 1]; what leaves the range is clipped. Contrast is about each image's own mean grey.
    """
    brightness, contrast, saturation = rng.uniform(1 - strength, 1 + strength, size=3)
    hue = rng.uniform(-strength / 10, strength / 10)
    changed = torch.stack(list(images)) / 2 + 0.5
    changed = functional.adjust_brightness(changed, brightness)
    changed = functional.adjust_contrast(changed, contrast)
    changed = functional.adjust_saturation(changed, saturation)
    changed = functional.adjust_hue(changed, hue)
    return list(changed * 2 - 1)
