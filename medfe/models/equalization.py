"""Feature equalization: channel attention, then every position becomes a mean of its surroundings, twice.

The spatial mean weighs all positions by distance, the range mean weighs the 3×3 neighbourhood by likeness of features
(both after the bilateral filter, which gave them their names; Liu et al. 2020, section 3.3).
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from medfe.config import GeneratorConfig
from medfe.models.layers import concatenate, leaky_relu, norm, pointwise

REDUCTION = 16


class SqueezeExcitation(nn.Module):
    """Scale each channel by a gate computed from all channels' means (Hu et al. 2018)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        hidden = max(channels // REDUCTION, 1)
        self.gate = nn.Sequential(
            nn.Conv2d(channels, hidden, 1), nn.ReLU(), nn.Conv2d(hidden, channels, 1), nn.Sigmoid()
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return the scaled features, N×C×H×W."""
        gate: Tensor = self.gate(x.mean(dim=(2, 3), keepdim=True))
        return x * gate


def gaussian_weights(side: int, sigma: float) -> Tensor:
    """Return the side×side matrix whose row i holds the weights of a 1-D Gaussian mean at position i; rows sum to 1."""
    position = torch.arange(side, dtype=torch.float64)
    weights = torch.exp(-((position[:, None] - position) ** 2) / (2 * sigma**2))
    return weights / weights.sum(dim=1, keepdim=True)


def spatial_mean(x: Tensor, weights: Tensor) -> Tensor:
    """Return, at every position, the Gaussian-weighted mean over the whole square map, border renormalised.

    The two-dimensional Gaussian and its normalisation are products over rows and columns, so two matrix products with
    `weights` (S×S, from `gaussian_weights`) compute it exactly. `x` is N×C×S×S.
    """
    return weights @ x @ weights.T


def _neighbours(x: Tensor) -> list[Tensor]:
    """Return the nine shifted views of zero-padded `x` (N×C×H×W), row by row; the fifth is `x`."""
    height, width = x.shape[-2:]
    padded = F.pad(x, (1, 1, 1, 1))
    return [padded[..., row : row + height, column : column + width] for row in range(3) for column in range(3)]


def range_mean(x: Tensor) -> Tensor:
    """Return the mean of each 3×3 neighbourhood, weighted by softmax over x_i·x_j / √C, cells outside left out.

    Args:
        x: N×C×H×W.
    """
    neighbours = _neighbours(x)
    affinity = torch.cat([(x * other).sum(dim=1, keepdim=True) for other in neighbours], dim=1) / x.shape[1] ** 0.5
    inside = torch.cat(_neighbours(torch.ones_like(x[:1, :1])), dim=1)  # (1, 9, H, W)
    weights = affinity.masked_fill(inside == 0, float("-inf")).softmax(dim=1)  # (N, 9, H, W)
    return _weighted_sum(neighbours, weights)


def published_range_mean(x: Tensor) -> Tensor:
    """Return the range mean of the released code: softmax over mean_c sigmoid(x_i)·sigmoid(x_j).

    A cell outside has affinity 0 and takes its share of the softmax with value 0.
    """
    gate = torch.sigmoid(x)
    affinity = torch.cat([(gate * other).mean(dim=1, keepdim=True) for other in _neighbours(gate)], dim=1)
    return _weighted_sum(_neighbours(x), affinity.softmax(dim=1))


def _weighted_sum(neighbours: list[Tensor], weights: Tensor) -> Tensor:
    total = neighbours[0] * weights[:, :1]
    for index, other in enumerate(neighbours[1:], start=1):
        total = torch.addcmul(total, other, weights[:, index : index + 1])
    return total


def published_layout(x: Tensor) -> Tensor:
    """Scramble positions and channels as the released code does.

    It reads a (positions, channels) table as (channels, height, width) without transposing. `x` is N×C×H×W.
    """
    return x.flatten(2).transpose(1, 2).reshape(x.shape)  # (N, C, HW) → (N, HW, C) → (N, C, H, W)


class Equalization(nn.Module):
    """Squeeze-and-excitation, spatial and range mean, 1×1 convolution 2C → C, instance normalisation, leaky ReLU."""

    spatial_weights: Tensor

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__()
        channels = config.stage_channels[-1]
        self.published = config.convention == "published"
        self.excitation = SqueezeExcitation(channels)
        self.mix = pointwise(2 * channels, channels)
        self.norm = norm(channels)
        weights = gaussian_weights(config.grid_size, config.equalization_sigma).float()
        self.register_buffer("spatial_weights", weights, persistent=False)

    def propagate(self, x: Tensor) -> Tensor:
        """Return spatial and range mean of `x` (N×C×G×G) joined: N×2C×G×G."""
        space = spatial_mean(x, self.spatial_weights.to(x.dtype))
        if self.published:
            return concatenate(published_layout(space), published_layout(published_range_mean(x)))
        return concatenate(space, range_mean(x))

    def forward(self, x: Tensor) -> Tensor:
        """Equalize `x`, N×C×G×G."""
        return leaky_relu(self.norm(self.mix(self.propagate(self.excitation(x)))))
