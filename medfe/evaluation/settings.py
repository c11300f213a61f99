"""Settings of an evaluation."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from medfe.backbones import BackboneName
from medfe.config import Settings
from medfe.data.files import Split
from medfe.data.masks import HoleColor
from medfe.errors import MedfeError
from medfe.evaluation.testset import Crop

FRECHET_MINIMUM = 2048
"""Images that a Fréchet distance needs: Inception's features have 2048 dimensions."""


class EvaluationSettings(Settings):
    """All that an evaluation needs."""

    methods: tuple[str, ...] = Field(min_length=1)
    """Methods, see `medfe.evaluation.methods.load_methods`."""
    data: Path
    """Folder of photographs, searched recursively."""
    layout: Literal["folder", "celeba"] = "folder"
    """`celeba`: img_align_celeba with list_eval_partition.txt."""
    split: Split = "all"
    """Part of the folder, as in training: its sub-folder of this name, CelebA's official list, or 90 / 5 / 5 % by the
    hash of the names."""
    out: Path
    """Folder for results; what it holds already is not computed again."""
    masks: str = "irregular"
    """A kind of mask, `irregular` (a third each thin, medium, thick), or a folder of mask files."""
    n: int | None = Field(None, ge=1)
    """Number of images; default: all photographs."""
    image_size: int | None = Field(None, ge=16)
    """Side of the images, pixels; default: the models' own, or 256 where no method has one."""
    crop: Crop = "center"
    """`center`: the photographs' central squares, resized. `random`: crops at native resolution."""
    masks_per_image: int = Field(1, ge=1)
    """Masks an image; the photograph stays the unit of the statistics."""
    seed: int = Field(0, ge=0)
    """Seed of masks, crops, resampling and permutations."""
    hole: HoleColor = "white"
    """Colour of the hole in mask files."""
    resize_masks: bool = False
    """Resize mask files of another size instead of refusing them."""
    batch_size: int = Field(32, ge=1)
    """Images that are computed, and stored, at once. On a CPU, fewer than 16 have one thread of each process."""
    frechet: bool = True
    """Compute Fréchet distances."""
    allow_small: bool = False
    """Compute Fréchet distances from fewer than 2048 images too; they are labelled."""
    backbones: tuple[BackboneName, ...] = ("efficientnet_lite2",)
    """Judges of set distances beside Inception."""
    inception_weights: Path | None = None
    """torch-fidelity's weights of Inception; default: torch's cache."""
    lpips_weights: Path | None = None
    """torchvision's weights of AlexNet; default: torch's cache."""
    contrasts: tuple[tuple[str, str], ...] = ()
    """Pairs of methods to compare, the primary one first; default: the first two methods."""
    endpoint: str | None = None
    """Primary metric; default: `kid`, or the first judge's KID where Inception is missing."""
    margin: float | None = Field(None, gt=0)
    """Differences of the primary metric up to this count as nothing, in its unit."""
    level: float = Field(0.95, gt=0.5, lt=1)
    """Nominal coverage of intervals."""
    resamples: int = Field(1999, ge=99)
    """Bootstrap samples of a per-image metric."""
    permutations: int = Field(999, ge=99)
    """Random labellings of a permutation test."""
    subsamples: int = Field(100, ge=20)
    """Subsamples of a Fréchet distance."""
    frechet_permutations: int = Field(0, ge=0)
    """Random labellings of the test of a Fréchet contrast (seconds each); 0 leaves it untested."""
    save_images: bool = False
    """Write every method's images as PNG."""
    show_data_images: bool = False
    """Show photographs of the data in the report, which then must not be published without their owners' consent."""
    processes: int = Field(1, ge=1)
    """Processes that share the batches: on a CPU of one thread each, with CUDA on the devices in turn."""
    device: str | None = None
    """Where to compute; default: the best there is."""


def check_number(settings: EvaluationSettings, n: int) -> None:
    """Refuse a Fréchet distance of few images, unless it is wanted all the same.

    Raises:
        MedfeError: saying why, and what to do.
    """
    if n < FRECHET_MINIMUM and settings.frechet and not settings.allow_small:
        raise MedfeError(
            f"n: found {n} images, FID needs at least {FRECHET_MINIMUM}: its bias is of order 1/N and differs between "
            f"methods, and the covariance of {n} images has rank {n - 1} at most; give more images, --no-frechet to "
            "leave Fréchet distances out, or --allow-small to compute them labelled as such"
        )
