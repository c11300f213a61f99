"""Arm `low_resolution`, the target of MEDFE: three channels of a shrunken image."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from medfe.config import GeneratorConfig, TargetConfig
from medfe.models.branches import Features
from medfe.models.layers import initialize, resize
from medfe.targets.base import Target


class LowResolution(Target):
    """One 1×1 convolution reads RGB out of both features; it is compared with the images shrunk to the grid.

    The loss sees a feature only through that convolution's matrix, of rank 3: the variant's authors' argument.
    """

    def __init__(self, config: TargetConfig, generator: GeneratorConfig) -> None:
        super().__init__(config, generator)
        self.readout = nn.Conv2d(generator.feature_channels, 3, 1)
        initialize([self.readout])

    @torch.no_grad()
    def goals(self, image: Tensor, structure_image: Tensor) -> Features:
        """Return both images shrunk bilinearly, as published without antialiasing: N×3×G×G."""
        side = self.generator.grid_size
        return Features(resize(structure_image, side), resize(image, side))

    def read(self, feature: Tensor) -> Tensor:
        """Return the RGB read-out, N×3×G×G in (-1, 1)."""
        return F.tanh(self.readout(feature))

    @torch.no_grad()
    def picture(self, feature: Tensor) -> Tensor:
        """Return the RGB read-out of a feature."""
        return self.read(feature)
