"""Critics: one looks at the whole image, one at a random crop."""

from itertools import pairwise
from typing import NamedTuple

from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from medfe.config import GeneratorConfig
from medfe.models.layers import LEAK, initialize, strided

SMALLEST_MAP = 2


class Critic(nn.Module):
    """Five strided convolutions with spectral normalisation and bias; the last has one channel and no activation.

    A stage halves its map down to 2×2; from there on it is 3×3 with stride 1.
    """

    def __init__(self, image_size: int, base_channels: int) -> None:
        super().__init__()
        widths = (3, *(base_channels * factor for factor in (1, 2, 4, 8)), 1)
        side = image_size
        stages = []
        for inputs, outputs in pairwise(widths):
            halve = side // 2 >= SMALLEST_MAP
            stages.append(strided(inputs, outputs, halve=halve, bias=True))
            side = side // 2 if halve else side
        self.stages = nn.ModuleList(stages)
        self.activate = nn.LeakyReLU(LEAK)

    def forward(self, image: Tensor) -> Tensor:
        """Return the map of scores, N×1×h×w, of an image N×3×H×W in [-1, 1]."""
        x = image
        for stage in list(self.stages)[:-1]:
            x = self.activate(stage(x))
        score: Tensor = self.stages[-1](x)
        return score


class Scores(NamedTuple):
    """Maps of scores of the two critics, each N×1×h×w."""

    whole: Tensor
    local: Tensor


class Critics(nn.Module):
    """Global and local critic. The crop is the caller's, so that real and generated images share it."""

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__()
        self.crop_size = config.local_crop
        self.whole = Critic(config.image_size, config.base_channels)
        self.local = Critic(config.local_crop, config.base_channels)

    def forward(self, image: Tensor, corner: tuple[int, int]) -> Scores:
        """Score whole images and one crop of each.

        Args:
            image: N×3×H×W in [-1, 1].
            corner: first row and column of the crop, from 0 to H - `crop_size`.
        """
        row, column = corner
        crop = image[:, :, row : row + self.crop_size, column : column + self.crop_size]
        return Scores(self.whole(image), self.local(crop))


def build_critics(config: GeneratorConfig) -> Critics:
    """Return both critics with freshly drawn weights and spectral normalisation."""
    critics = Critics(config)
    initialize(critics.modules())
    for module in list(critics.modules()):
        if isinstance(module, nn.Conv2d):
            spectral_norm(module)
    return critics
