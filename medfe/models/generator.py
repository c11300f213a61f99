"""The generator of MEDFE, assembled from its parts."""

from typing import NamedTuple

from torch import Tensor, nn

from medfe.config import GeneratorConfig
from medfe.models.branches import Branches
from medfe.models.decoder import Decoder, SkipPaths
from medfe.models.encoder import Encoder
from medfe.models.equalization import Equalization
from medfe.models.layers import concatenate, initialize, norm_act, own_draws, pointwise


class GeneratorOutput(NamedTuple):
    """What the generator returns."""

    image: Tensor
    """N×3×H×W in [-1, 1], before compositing: known pixels are not pasted back."""
    structure: Tensor
    """Structure feature, N×F×H/8×W/8."""
    texture: Tensor
    """Texture feature, N×F×H/8×W/8."""


class Generator(nn.Module):
    """Mutual encoder-decoder with feature equalization (Liu et al., ECCV 2020)."""

    def __init__(
        self,
        config: GeneratorConfig,
        encoder: nn.Module,
        branches: nn.Module,
        fuse: nn.Module,
        equalization: nn.Module,
        paths: nn.Module,
        decoder: nn.Module,
    ) -> None:
        super().__init__()
        self.config = config
        self.encoder = encoder
        self.branches = branches
        self.fuse = fuse
        self.equalization = equalization
        self.paths = paths
        self.decoder = decoder

    def forward(self, image: Tensor, mask: Tensor) -> GeneratorOutput:
        """Fill the hole of each image.

        Args:
            image: N×3×H×W in [-1, 1], H = W = `config.image_size`; the pixels of the hole are not looked at.
            mask: N×1×H×W, 1 = hole.
        """
        skips = self.encoder(image, mask)
        structure, texture = self.branches(skips, mask)
        equalized = self.equalization(self.fuse(concatenate(structure, texture)))
        return GeneratorOutput(self.decoder(self.paths(skips, equalized)), structure, texture)


def build_generator(config: GeneratorConfig) -> Generator:
    """Return the generator of the given size and convention with freshly drawn weights.

    From one seed, generators with different heads have the same weights but for the head, and leave torch's random
    numbers in the same state, so that what is drawn next is the same too.
    """
    deep = config.stage_channels[-1]
    branches = Branches(config)
    generator = Generator(
        config,
        encoder=Encoder(config),
        branches=branches,
        fuse=nn.Sequential(pointwise(2 * config.feature_channels, deep), *norm_act(deep)),
        equalization=Equalization(config),
        paths=SkipPaths(config),
        decoder=Decoder(config),
    )
    head = list(branches.head.modules()) if branches.head else []
    initialize(module for module in generator.modules() if module not in head)
    with own_draws("head"):
        initialize(head)
    return generator
