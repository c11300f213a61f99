"""From the equalized feature back to the skips, and from the skips to the image."""

from itertools import pairwise

from torch import Tensor, nn

from medfe.config import GeneratorConfig
from medfe.models.layers import concatenate, norm, norm_act, pointwise, resize, strided, upstrided


def halvings(config: GeneratorConfig) -> tuple[bool, ...]:
    """Return, for each stage of the encoder, whether it halves the map."""
    sizes = (config.image_size, *config.stage_sizes)
    return tuple(after < before for before, after in pairwise(sizes))


class Expansion(nn.Module):
    """From the grid up to a shallow skip: bilinear resize, 1×1 convolution, instance normalisation, leaky ReLU.

    Convolution and resize commute; the convolution runs first, on the small map.
    """

    def __init__(self, inputs: int, outputs: int, side: int) -> None:
        super().__init__()
        self.side = side
        self.convolution = pointwise(inputs, outputs)
        self.activate = nn.Sequential(*norm_act(outputs))

    def forward(self, x: Tensor) -> Tensor:
        """Return N×outputs×side×side."""
        expanded: Tensor = self.activate(resize(self.convolution(x), self.side))
        return expanded


class SkipPaths(nn.Module):
    """Add the equalized feature to each of the six skips, at that skip's size."""

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__()
        channels, sizes, halve = config.stage_channels, config.stage_sizes, halvings(config)
        deep = channels[-1]
        paths: list[nn.Module] = [Expansion(deep, channels[stage], sizes[stage]) for stage in range(3)]
        for stage in range(3, 6):  # one, two, three convolutions down from the grid
            layers: list[nn.Module] = []
            for step in range(3, stage + 1):
                layers += [strided(deep, deep, halve=halve[step]), *norm_act(deep)]
            paths.append(nn.Sequential(*layers[:-1]))  # no activation at the end
        self.paths = nn.ModuleList(paths)

    def forward(self, skips: list[Tensor], equalized: Tensor) -> list[Tensor]:
        """Return the six sums; `equalized` is N×8B×G×G."""
        return [skip + path(equalized) for skip, path in zip(skips, self.paths, strict=True)]


class Decoder(nn.Module):
    """Six stages of [ReLU, transposed convolution, instance normalisation], a skip joined before each but the first."""

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__()
        channels = config.stage_channels[::-1]
        outputs = (*channels[1:], 3)
        self.stages = nn.ModuleList()
        for stage, (skip, output, double) in enumerate(zip(channels, outputs, halvings(config)[::-1], strict=True)):
            inputs = skip if stage == 0 else 2 * skip
            last = stage == len(channels) - 1
            convolution = upstrided(inputs, output, double=double)
            self.stages.append(nn.Sequential(nn.ReLU(), convolution, nn.Tanh() if last else norm(output, affine=True)))

    def forward(self, skips: list[Tensor]) -> Tensor:
        """Return the image, N×3×H×W in [-1, 1], from the six sums of `SkipPaths`."""
        *shallower, deepest = skips
        x: Tensor = self.stages[0](deepest)
        for stage, skip in zip(list(self.stages)[1:], reversed(shallower), strict=True):
            x = stage(concatenate(x, skip))
        return x
