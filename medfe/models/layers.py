"""Building blocks shared by the networks."""

import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn

LEAK = 0.2  # slope of every leaky ReLU


def leaky_relu(x: Tensor) -> Tensor:
    """Leaky ReLU with the papers' slope of 0.2."""
    return F.leaky_relu(x, LEAK)


def norm(channels: int, *, affine: bool = False) -> nn.InstanceNorm2d:
    """Instance normalisation, eps 1e-5."""
    return nn.InstanceNorm2d(channels, affine=affine)


def norm_act(channels: int) -> list[nn.Module]:
    """Instance normalisation without scale and shift, then leaky ReLU."""
    return [norm(channels), nn.LeakyReLU(LEAK)]


def pointwise(inputs: int, outputs: int) -> nn.Conv2d:
    """1×1 convolution without bias."""
    return nn.Conv2d(inputs, outputs, 1, bias=False)


def strided(inputs: int, outputs: int, *, halve: bool = True, bias: bool = False) -> nn.Conv2d:
    """Convolution of a stage: 4×4 with stride 2 where the stage halves the map, else 3×3 with stride 1."""
    if halve:
        return nn.Conv2d(inputs, outputs, 4, stride=2, padding=1, bias=bias)
    return nn.Conv2d(inputs, outputs, 3, padding=1, bias=bias)


def upstrided(inputs: int, outputs: int, *, double: bool = True) -> nn.Module:
    """Mirror of `strided`, with bias: transposed 4×4 with stride 2 where the stage doubles the map, else 3×3."""
    if double:
        return nn.ConvTranspose2d(inputs, outputs, 4, stride=2, padding=1)
    return nn.Conv2d(inputs, outputs, 3, padding=1)


def resize(x: Tensor, side: int) -> Tensor:
    """Bilinear resize of a square map to `side`, pixel centres aligned (align_corners False), no antialiasing."""
    if x.shape[-1] == side:
        return x
    return F.interpolate(x, size=(side, side), mode="bilinear", align_corners=False)


class ResidualBlock(nn.Module):
    """x + [3×3 convolution with dilation 2, IN, ReLU, 3×3 convolution, IN], reflection padding; N×C×H×W, H, W > 2."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.ReflectionPad2d(2), nn.Conv2d(channels, channels, 3, dilation=2, bias=False), norm(channels), nn.ReLU(),
            nn.ReflectionPad2d(1), nn.Conv2d(channels, channels, 3, bias=False), norm(channels),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's output, same shape."""
        residual: Tensor = self.body(x)
        return x + residual


def initialize(modules: Iterable[nn.Module], std: float = 0.02) -> None:
    """Draw the weights as both papers' code does.

    Convolutions N(0, std) with zero bias, scale of a batch normalisation N(1, std) with zero shift. Instance
    normalisations keep scale 1 and shift 0, buffers are left alone.
    """
    for module in modules:
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.normal_(module.weight, 0.0, std)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.weight, 1.0, std)
            nn.init.zeros_(module.bias)


@contextmanager
def own_draws(name: str) -> Iterator[None]:
    """Draw torch's random numbers on the CPU from a stream set by the seed and `name`; the common one stands still."""
    with torch.random.fork_rng(devices=()):
        torch.default_generator.manual_seed(torch.initial_seed() ^ zlib.crc32(name.encode()))
        yield


def concatenate(*features: Tensor) -> Tensor:
    """Join features along the channels."""
    return torch.cat(features, dim=1)
