"""Texture and structure branches: shallow and deep features of the encoder, each brought to one grid and filled."""

from typing import NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from medfe.config import GRID_STRIDE, GeneratorConfig
from medfe.models.layers import concatenate, leaky_relu, norm, norm_act, own_draws, pointwise, resize, strided
from medfe.models.partial_convolution import FillingStack, KnownArea, known_cells

KERNEL_SIZES = (3, 5, 7)


class Features(NamedTuple):
    """The two features that the intermediate ground truth constrains, each N×F×G×G on the grid of image_size / 8."""

    structure: Tensor
    texture: Tensor


class TextureInput(nn.Module):
    """Bring the three shallow features to the grid: N×3F×G×G."""

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__()
        first, second, third = config.stage_channels[:3]
        features = config.feature_channels
        self.paths = nn.ModuleList([
            nn.Sequential(
                strided(first, second), *norm_act(second), strided(second, features), *norm_act(features)
            ),
            nn.Sequential(strided(second, features), *norm_act(features)),
            nn.Sequential(pointwise(third, features), *norm_act(features)),
        ])  # fmt: skip

    def forward(self, shallow: list[Tensor]) -> Tensor:
        """Return the joined features of activated y1, y2, y3."""
        return concatenate(*(path(x) for path, x in zip(self.paths, shallow, strict=True)))


class StructureInput(nn.Module):
    """Bring the three deep features to the grid: N×3F×G×G. One 1×1 convolution serves all three.

    A 1×1 convolution and a bilinear resize commute, so the convolution runs first, on the small map.
    """

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__()
        self.side = config.grid_size
        self.convolution = pointwise(config.stage_channels[-1], config.feature_channels)
        self.norm = norm(config.feature_channels)

    def forward(self, deep: list[Tensor]) -> Tensor:
        """Return the joined features of activated y4, y5, y6."""
        return concatenate(*(leaky_relu(self.norm(resize(self.convolution(x), self.side))) for x in deep))


class MultiScaleFilling(nn.Module):
    """Three stacks of partial convolutions with kernels 3, 5 and 7 side by side: N×F×G×G to N×3F×G×G."""

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__()
        published = config.convention == "published"
        self.checkpointing = config.checkpointing
        self.stacks = nn.ModuleList(
            FillingStack(config.feature_channels, kernel_size, published=published) for kernel_size in KERNEL_SIZES
        )

    def forward(self, x: Tensor, known: Tensor) -> Tensor:
        """Fill `x`, which holds several branches a mask: its batch is a multiple of the mask's (N×1×G×G)."""
        branches = x.shape[0] // known.shape[0]
        filled = []
        for stack in self.stacks:
            alone = cast(FillingStack, stack).areas(known)
            areas = [KnownArea(*(part.repeat(branches, 1, 1, 1) for part in area)) for area in alone]
            if self.checkpointing and x.requires_grad:
                filled.append(checkpoint(stack, x, areas, use_reentrant=False))
            else:
                filled.append(stack(x, areas))
        return concatenate(*filled)


class Branches(nn.Module):
    """From the encoder's features to the structure and the texture feature.

    `squeeze` (3F → F) is one layer with three uses, as published: behind both inputs, and, where the head is
    `norm_lrelu`, behind the filling.
    """

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__()
        features = config.feature_channels
        self.published = config.convention == "published"
        self.texture_input = TextureInput(config)
        self.structure_input = StructureInput(config)
        self.squeeze = nn.Sequential(pointwise(3 * features, features), *norm_act(features))
        self.filling = MultiScaleFilling(config)
        self.head: nn.Module | None = None
        if config.head != "norm_lrelu":
            with own_draws("head"):
                layers: list[nn.Module] = [pointwise(3 * features, features)]
            if config.head == "tanh":
                layers += [norm(features), nn.Tanh()] if self.published else [nn.Tanh()]
            self.head = nn.Sequential(*layers)

    def forward(self, skips: list[Tensor], mask: Tensor) -> Features:
        """Return both features; both branches run as one batch, because they share their layers.

        Args:
            skips: y1 … y6 of the encoder.
            mask: N×1×H×W, 1 = hole.
        """
        active = [leaky_relu(skip) for skip in skips]
        joined = torch.cat([self.structure_input(active[3:]), self.texture_input(active[:3])])  # (2N, 3F, G, G)
        known = known_cells(mask, GRID_STRIDE)
        if self.published:  # the threshold of the released code never marks a hole
            known = torch.ones_like(known)
        filled = self.filling(self.squeeze(joined), known)  # (2N, 3F, G, G)
        structure, texture = (self.head or self.squeeze)(filled).chunk(2)
        return Features(structure, texture)
