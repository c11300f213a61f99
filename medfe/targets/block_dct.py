"""Arm `block_dct`: a target without a network, from a shrunken image to a lossless one by one knob."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from medfe.config import GRID_STRIDE, GeneratorConfig, TargetConfig
from medfe.errors import MedfeError
from medfe.models.branches import Features
from medfe.targets.base import Target

COEFFICIENTS = 3 * GRID_STRIDE**2


def zigzag(side: int) -> list[tuple[int, int]]:
    """Return (row, column) of a side×side block's frequencies in JPEG's zigzag order, lowest first."""
    cells = [(row, column) for row in range(side) for column in range(side)]
    return sorted(cells, key=lambda cell: (sum(cell), cell[0] if sum(cell) % 2 else cell[1]))


def dct_basis(side: int) -> Tensor:
    """Return the orthonormal type-II DCT of length `side`: row k holds the k-th cosine. Float64."""
    frequency = torch.arange(side, dtype=torch.float64)[:, None]
    position = torch.arange(side, dtype=torch.float64)
    basis = torch.cos(math.pi * (position + 0.5) * frequency / side) * math.sqrt(2 / side)
    basis[0] /= math.sqrt(2)
    return basis


def block_filters(count: int) -> Tensor:
    """Return the first `count` of the 192 filters of an 8×8 RGB block, count×3×8×8, orthonormal, float64.

    Frequencies in zigzag order, the three colours of one frequency in turn.
    """
    basis = dct_basis(GRID_STRIDE)
    filters = torch.zeros(COEFFICIENTS, 3, GRID_STRIDE, GRID_STRIDE, dtype=torch.float64)
    for index, (row, column) in enumerate(zigzag(GRID_STRIDE)):
        for colour in range(3):
            filters[3 * index + colour, colour] = torch.outer(basis[row], basis[column])
    return filters[:count]


def random_isometry(rows: int, columns: int, seed: int) -> Tensor:
    """Return a random rows×columns matrix with orthonormal columns (rows ≥ columns), float64."""
    generator = torch.Generator().manual_seed(seed)
    normal = torch.randn(rows, columns, generator=generator, dtype=torch.float64)
    q, r = torch.linalg.qr(normal)
    isometry: Tensor = q * torch.sign(torch.diagonal(r))  # unique, and uniform over isometries
    return isometry


class BlockDct(Target):
    """The first K of 192 block DCT coefficients, through a fixed random isometry into all feature channels.

    Distances between codes are distances between the images' kept coefficients. K = 192 is lossless; K = 3 is the
    image of block means, compared in all channels.
    """

    encoder: Tensor

    def __init__(self, config: TargetConfig, generator: GeneratorConfig) -> None:
        super().__init__(config, generator)
        channels = generator.feature_channels
        count = config.coefficients or min(COEFFICIENTS, channels)
        if count > channels:
            raise MedfeError(f"block_dct: {count} coefficients do not fit into {channels} feature channels")
        isometry = random_isometry(channels, count, config.seed)
        encoder = torch.einsum("fk,kcij->fcij", isometry, block_filters(count))
        self.register_buffer("encoder", encoder.to(torch.get_default_dtype()))  # (F, 3, 8, 8)

    @torch.no_grad()
    def goals(self, image: Tensor, structure_image: Tensor) -> Features:
        """Return the codes of both images, each N×F×G×G."""
        return Features(self.encode(structure_image), self.encode(image))

    def encode(self, image: Tensor) -> Tensor:
        """Return the code, N×F×G×G, of an image N×3×H×W in [-1, 1]; its norm is that of the kept coefficients."""
        return F.conv2d(image, self.encoder.to(image.dtype), stride=GRID_STRIDE)

    def decode(self, code: Tensor) -> Tensor:
        """Return the image N×3×H×W whose kept coefficients the code holds; the adjoint inverts the isometry."""
        return F.conv_transpose2d(code, self.encoder.to(code.dtype), stride=GRID_STRIDE)

    @torch.no_grad()
    def picture(self, feature: Tensor) -> Tensor:
        """Return the decoded feature, N×3×H×W."""
        return self.decode(feature)
