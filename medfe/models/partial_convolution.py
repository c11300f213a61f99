"""Partial convolution: a convolution that sees only known cells, and the mask that shrinks with it.

Masks here say what is *known* (1) and what is a hole (0), N×1×H×W, one channel for all features. The mask after a
block, and the normaliser of a block, depend on the mask alone, so they are computed once for both branches.
"""

from typing import NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from medfe.models.layers import leaky_relu, norm


class KnownArea(NamedTuple):
    """What a partial convolution needs of the mask."""

    known: Tensor  # (N, 1, H, W): 1 where the input is known
    scale: Tensor  # (N, 1 or C, H, W): multiplies the convolution of the known cells; 0 where the window has none
    updated: Tensor  # (N, 1, H, W): 1 where the output is known


def known_cells(mask: Tensor, stride: int) -> Tensor:
    """Shrink a hole mask to feature scale: a cell is a hole when more than half of its pixels are.

    Args:
        mask: N×1×H×W, 1 = hole, sides multiples of `stride`.
        stride: pixels a cell.

    Returns:
        N×1×(H/stride)×(W/stride), 1 = known.
    """
    return (F.avg_pool2d(mask, stride) <= 0.5).to(mask.dtype)


class PartialConv2d(nn.Module):
    """Partial convolution scaled by window size over valid count (Liu et al. 2018, eq. 1 and 2), without bias.

    Cells beyond the border count as not known, so the border is renormalised too.
    """

    def __init__(self, inputs: int, outputs: int, kernel_size: int) -> None:
        super().__init__()
        self.kernel_size = kernel_size
        self.convolution = nn.Conv2d(inputs, outputs, kernel_size, padding=kernel_size // 2, bias=False)

    def area(self, known: Tensor) -> KnownArea:
        """Return scale and updated mask for `known` (N×1×H×W)."""
        size = self.kernel_size
        count = F.avg_pool2d(known, size, stride=1, padding=size // 2, divisor_override=1)  # zero padding
        return KnownArea(known, torch.where(count > 0, size**2 / count.clamp(min=1), 0.0), (count > 0).to(known.dtype))

    def forward(self, x: Tensor, area: KnownArea) -> Tensor:
        """Convolve the known cells of `x` (N×C×H×W); 0 where a window holds none."""
        convolved: Tensor = self.convolution(x * area.known)
        return convolved * area.scale.to(convolved.dtype)


class PublishedPartialConv2d(PartialConv2d):
    """Partial convolution as the released code computes it: divided by a frozen convolution of the mask.

    That convolution (`mask_conv` of the code, outputs×inputs×k×k) is meant to hold ones, and in the released code holds
    N(0, 0.02) noise. The mask is the same in all channels, so only its sum over the inputs matters: outputs×1×k×k.
    There is no factor for the size of the window.
    """

    mask_weight: Tensor

    def __init__(self, inputs: int, outputs: int, kernel_size: int) -> None:
        super().__init__(inputs, outputs, kernel_size)
        # The common random numbers stand still: both conventions start from the same weights.
        with torch.random.fork_rng(devices=()):
            noise = torch.randn(outputs, 1, kernel_size, kernel_size) * 0.02 * inputs**0.5  # sum of `inputs` draws
        self.register_buffer("mask_weight", noise)

    def area(self, known: Tensor) -> KnownArea:
        """Return scale and updated mask for `known` (N×1×H×W)."""
        # In float64, which neither autocast nor TF32 touches: the sum nearly cancels, and what is left divides.
        precise = torch.float32 if known.device.type == "mps" else torch.float64
        weight = self.mask_weight.to(precise)
        normaliser = F.conv2d(known.to(precise), weight, padding=self.kernel_size // 2)  # (N, C, H, W)
        seen = normaliser != 0
        scale = torch.where(seen, 1 / torch.where(seen, normaliser, 1.0), 0.0)
        return KnownArea(known, scale, seen.any(dim=1, keepdim=True).to(known.dtype))


class PartialConvBlock(nn.Module):
    """Partial convolution, instance normalisation with scale and shift, leaky ReLU; N×C×H×W to the same shape."""

    def __init__(self, convolution: PartialConv2d, channels: int) -> None:
        super().__init__()
        self.convolution = convolution
        self.norm = norm(channels, affine=True)

    def area(self, known: Tensor) -> KnownArea:
        """Return what the block needs of the mask."""
        return self.convolution.area(known)

    def forward(self, x: Tensor, area: KnownArea) -> Tensor:
        """Return the block's output; `area` comes from the method of that name."""
        return leaky_relu(self.norm(self.convolution(x, area)))


class FillingStack(nn.Module):
    """Partial convolution blocks of one kernel size in a row, the mask shrinking from block to block."""

    def __init__(self, channels: int, kernel_size: int, *, depth: int = 5, published: bool = False) -> None:
        super().__init__()
        kind = PublishedPartialConv2d if published else PartialConv2d
        self.blocks = nn.ModuleList(
            PartialConvBlock(kind(channels, channels, kernel_size), channels) for _ in range(depth)
        )

    def areas(self, known: Tensor) -> list[KnownArea]:
        """Return what each block needs of the mask; `known` is N×1×H×W."""
        areas: list[KnownArea] = []
        for block in self.blocks:
            areas.append(cast(PartialConvBlock, block).area(areas[-1].updated if areas else known))
        return areas

    def forward(self, x: Tensor, areas: list[KnownArea]) -> Tensor:
        """Fill `x` (N×C×H×W) from its known cells inwards."""
        for block, area in zip(self.blocks, areas, strict=True):
            x = block(x, area)
        return x
