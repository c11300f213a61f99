"""Loss terms: pure functions of tensors, and their weighted sum. No network, no optimizer."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from medfe.config import LossConfig

Mean = Callable[[Tensor], Tensor]
"""Mean over all elements of the batch; over several devices it averages theirs too, with gradients."""


def l1(a: Tensor, b: Tensor) -> Tensor:
    """Return the mean absolute difference."""
    return F.l1_loss(a, b)


def hole_l1(a: Tensor, b: Tensor, mask: Tensor) -> Tensor:
    """Return the absolute difference averaged over each image's hole, then over images.

    Args:
        a: N×3×H×W.
        b: N×3×H×W.
        mask: N×1×H×W, 1 = hole; an image without a hole counts 0.
    """
    error = ((a - b).abs().mean(dim=1, keepdim=True) * mask).sum(dim=(1, 2, 3))  # (N,)
    return (error / mask.sum(dim=(1, 2, 3)).clamp(min=1)).mean()


def critic_loss(real: Tensor, fake: Tensor, mean: Mean = torch.mean) -> Tensor:
    """Return the relativistic average least-squares loss of a critic.

    ½[mean(r − f̄ − 1)² + mean(f − r̄ + 1)²], bars being means over the whole map and batch (Jolicoeur-Martineau 2018).

    Args:
        real: scores of real images, any shape.
        fake: scores of generated images.
        mean: how to average over the batch.
    """
    return 0.5 * (mean((real - mean(fake) - 1) ** 2) + mean((fake - mean(real) + 1) ** 2))


def adversarial_loss(real: Tensor, fake: Tensor, mean: Mean = torch.mean) -> Tensor:
    """Return the generator's side of `critic_loss`: the same with real and generated exchanged."""
    return critic_loss(fake, real, mean)


def perceptual_loss(a: Sequence[Tensor], b: Sequence[Tensor]) -> Tensor:
    """Return the L1 distance of two images' backbone features, each N×C×H×W, summed over layers."""
    return torch.stack([l1(x, y) for x, y in zip(a, b, strict=True)]).sum()


def gram(features: Tensor) -> Tensor:
    """Return the Gram matrices, N×C×C, of features N×C×H×W, divided by C·H·W (Gatys et al. 2016)."""
    # Style is a difference of nearly equal matrices: in bfloat16 it would drown in rounding.
    with torch.autocast(features.device.type, enabled=False):
        flat = features.flatten(2).to(torch.promote_types(features.dtype, torch.float32))  # (N, C, HW)
        flat = flat / math.sqrt(features[0].numel())
        return flat @ flat.transpose(1, 2)


def style_loss(a: Sequence[Tensor], b: Sequence[Tensor]) -> Tensor:
    """Return the L1 distance of the Gram matrices of two images' features, summed over layers."""
    return perceptual_loss([gram(x) for x in a], [gram(x) for x in b])


def intermediate_loss(read: Sequence[Tensor], goals: Sequence[Tensor]) -> Tensor:
    """Return the L1 distance between what is read from the features and their goals, summed over both features."""
    return perceptual_loss(read, goals)


class Objective(NamedTuple):
    """Weighted sum of the terms, and the terms themselves, unweighted."""

    total: Tensor
    terms: dict[str, Tensor]


def weigh(terms: Mapping[str, Tensor], config: LossConfig, intermediate_weight: float) -> Objective:
    """Sum the generator's terms with their weights.

    Args:
        terms: scalars by name; `intermediate` and any field of `LossConfig` that is a weight.
        config: weights.
        intermediate_weight: weight of the intermediate term, which belongs to the target.
    """
    weights = {**config.model_dump(), "intermediate": intermediate_weight}
    total = torch.stack([weights[name] * value for name, value in terms.items()]).sum()
    return Objective(total, dict(terms))
