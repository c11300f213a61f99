"""Arms `autoencoder` (MEDFE+CAE) and `random_encoder` (what its released code trains against)."""

from pathlib import Path

import torch
from torch import Tensor

from medfe.config import AutoencoderConfig, AutoencoderKind, GeneratorConfig, TargetConfig, parse
from medfe.errors import MedfeError
from medfe.models.autoencoder import Autoencoder, build_autoencoder
from medfe.models.branches import Features
from medfe.models.layers import initialize
from medfe.targets.base import Target
from medfe.weightfiles import fill, load_weights, weights_digest


def load_autoencoder(path: Path, kind: AutoencoderKind) -> Autoencoder:
    """Return a trained auto-encoder in evaluation mode.

    Args:
        path: safetensors file that `medfe train-autoencoder` wrote.
        kind: `texture` or `structure`.

    Raises:
        MedfeError: if the file does not hold that auto-encoder.
    """
    file = load_weights(path, kind)
    autoencoder = build_autoencoder(parse(AutoencoderConfig, file.metadata.get("config", {}), str(path)))
    fill(autoencoder, file.tensors, path)
    return autoencoder.eval().requires_grad_(False)


def check_finished(path: Path, kind: AutoencoderKind) -> None:
    """Check that an auto-encoder's training was not stopped before its last step.

    Raises:
        MedfeError: if it was, or the file does not hold that auto-encoder; weights that do not say so pass.
    """
    said = load_weights(path, kind).metadata
    done, wanted = said.get("step", 0), said.get("max_steps", 0)
    if done < wanted:
        raise MedfeError(
            f"{path}: found {done} of {wanted} steps, expected a finished training; the command that began it goes on"
        )


class AutoencoderCode(Target):
    """All channels of a feature are compared with the code of the frozen auto-encoder of its kind.

    Both auto-encoders read the full image. The structure image is not used.
    """

    uses_structure_image = False

    def __init__(self, config: TargetConfig, generator: GeneratorConfig) -> None:
        super().__init__(config, generator)
        self.structure = self._load("structure")
        self.texture = self._load("texture")

    def _load(self, kind: AutoencoderKind) -> Autoencoder:
        folder = self.config.autoencoders
        if folder is None:
            raise MedfeError(
                f"arm {self.config.arm}: target.autoencoders is not set, expected the folder with texture.safetensors "
                "and structure.safetensors; medfe train-autoencoder makes it"
            )
        path = folder / f"{kind}.safetensors"
        autoencoder = load_autoencoder(path, kind)
        check_finished(path, kind)
        found, expected = autoencoder.config, self.generator
        if (found.image_size, found.code_channels) != (expected.image_size, expected.feature_channels):
            raise MedfeError(
                f"{path}: auto-encoder for {found.image_size} pixels and {found.code_channels} channels, the generator "
                f"has {expected.image_size} pixels and {expected.feature_channels} channels"
            )
        self.weight_digests[kind] = weights_digest(path)
        return autoencoder

    def train(self, mode: bool = True) -> "AutoencoderCode":
        """Change nothing: frozen auto-encoders stay in evaluation mode, or their running statistics would drift."""
        del mode
        return self

    @torch.no_grad()
    def goals(self, image: Tensor, structure_image: Tensor) -> Features:
        """Return the structure and the texture code of the image, each N×F×G×G in (-1, 1)."""
        del structure_image
        return Features(self.structure.encode(image), self.texture.encode(image))


class RandomEncoder(AutoencoderCode):
    """The encoders as the released code leaves them: re-drawn after loading, only running statistics survive.

    Convolutions N(0, 0.02), batch normalisation scale N(1, 0.02) and shift 0; running means and variances stay those of
    the trained auto-encoder.
    """

    def __init__(self, config: TargetConfig, generator: GeneratorConfig) -> None:
        super().__init__(config, generator)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            for autoencoder in (self.structure, self.texture):
                initialize(autoencoder.modules())
        self.requires_grad_(False)
