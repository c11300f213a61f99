"""Convolutional auto-encoders whose codes are the targets of MEDFE+CAE (Gielisse & Katona 2021)."""

from itertools import pairwise

from torch import Tensor, nn

from medfe.config import AutoencoderConfig
from medfe.models.layers import LEAK, initialize

CODE_UPSAMPLINGS = 3  # from the code, at image_size / 8, to the image


class Autoencoder(nn.Module):
    """Strided convolutions down, transposed ones up, batch normalisation between; the code ends in tanh.

    `texture` goes down to the code's grid and takes the bottleneck itself. `structure` goes two steps further, to
    image_size / 32, and takes its code after two steps back up, so only what passes the narrow bottleneck is in it.
    """

    def __init__(self, config: AutoencoderConfig) -> None:
        super().__init__()
        self.config = config
        depth = config.downsamplings
        widths = [min(config.base_channels * 2**step, config.max_channels) for step in range(depth + 1)]
        widths[CODE_UPSAMPLINGS] = config.code_channels if depth == CODE_UPSAMPLINGS else widths[CODE_UPSAMPLINGS]
        down = [
            nn.Conv2d(a, b, 3, stride=2, padding=1, bias=False) for a, b in pairwise(widths)
        ]  # fmt: skip
        up_widths = [*widths[:CODE_UPSAMPLINGS], config.code_channels, *widths[CODE_UPSAMPLINGS + 1 :]][::-1]
        up = [_upsampling(a, b) for a, b in pairwise(up_widths)]
        first = nn.Conv2d(3, widths[0], 3, padding=1, padding_mode="reflect", bias=False)
        last = nn.Conv2d(widths[0], 3, 3, padding=1, padding_mode="reflect")

        to_code: list[nn.Conv2d | nn.ConvTranspose2d] = [first, *down, *up[: depth - CODE_UPSAMPLINGS]]
        hidden = [_normalised(layer) for layer in to_code[:-1]]
        self.encoder = nn.Sequential(*hidden, nn.Sequential(to_code[-1], nn.Tanh()))
        self.decoder = nn.Sequential(
            *(_normalised(layer) for layer in up[depth - CODE_UPSAMPLINGS :]), nn.Sequential(last, nn.Tanh())
        )

    def encode(self, image: Tensor) -> Tensor:
        """Return the code, N×C×H/8×W/8 in (-1, 1), of an image N×3×H×W in [-1, 1]."""
        code: Tensor = self.encoder(image)
        return code

    def decode(self, code: Tensor) -> Tensor:
        """Return the image, N×3×H×W in [-1, 1], of a code."""
        image: Tensor = self.decoder(code)
        return image

    def forward(self, image: Tensor) -> Tensor:
        """Return the reconstruction of an image N×3×H×W in [-1, 1]."""
        return self.decode(self.encode(image))


def _upsampling(inputs: int, outputs: int) -> nn.ConvTranspose2d:
    return nn.ConvTranspose2d(inputs, outputs, 3, stride=2, padding=1, output_padding=1, bias=False)


def _normalised(convolution: nn.Conv2d | nn.ConvTranspose2d) -> nn.Sequential:
    return nn.Sequential(convolution, nn.BatchNorm2d(convolution.out_channels), nn.LeakyReLU(LEAK))


def build_autoencoder(config: AutoencoderConfig) -> Autoencoder:
    """Return the auto-encoder with freshly drawn weights."""
    autoencoder = Autoencoder(config)
    initialize(autoencoder.modules())
    return autoencoder
