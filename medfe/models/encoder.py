"""Encoder: six stages, whose outputs are the skips of the decoder and the input of the branches."""

from itertools import pairwise

import torch
from torch import Tensor, nn

from medfe.config import RGB_MEAN, GeneratorConfig
from medfe.models.layers import LEAK, ResidualBlock, norm, strided

RESIDUAL_BLOCKS = 4


def fill_hole(image: Tensor, mask: Tensor) -> Tensor:
    """Replace the hole by the mean colour.

    Args:
        image: N×3×H×W in [-1, 1].
        mask: N×1×H×W, 1 = hole.

    Returns:
        A new tensor of the image's shape; the input is left as it was.
    """
    # Made on the image's device: a copy from memory would make a GPU wait at every step.
    mean = torch.stack([image.new_full((1, 1), 2 * value - 1) for value in RGB_MEAN])
    return torch.where(mask > 0.5, mean, image)


class Encoder(nn.Module):
    """Six stages of [leaky ReLU, strided convolution, instance normalisation], then residual blocks on the last.

    The input has four channels, the filled image and the known mask; the published code repeats the mask three times,
    which is the same function.
    """

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__()
        sizes = (config.image_size, *config.stage_sizes)
        channels = (4, *config.stage_channels)
        last = len(config.stage_channels) - 1
        self.stages = nn.ModuleList()
        for stage, (inputs, outputs) in enumerate(pairwise(channels)):
            layers: list[nn.Module] = [] if stage == 0 else [nn.LeakyReLU(LEAK)]
            layers.append(strided(inputs, outputs, halve=sizes[stage + 1] < sizes[stage], bias=True))
            if 0 < stage < last:
                layers.append(norm(outputs, affine=True))
            self.stages.append(nn.Sequential(*layers))
        self.residual = nn.Sequential(*(ResidualBlock(channels[-1]) for _ in range(RESIDUAL_BLOCKS)))

    def forward(self, image: Tensor, mask: Tensor) -> list[Tensor]:
        """Return y1 … y6, y6 behind the residual blocks.

        Args:
            image: N×3×H×W in [-1, 1]; what the hole holds does not matter.
            mask: N×1×H×W, 1 = hole.
        """
        x = torch.cat([fill_hole(image, mask), 1 - mask], dim=1)  # (N, 4, H, W)
        features = []
        for stage in self.stages:
            x = stage(x)
            features.append(x)
        features[-1] = self.residual(features[-1])
        return features
