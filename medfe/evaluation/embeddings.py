"""Judges: LPIPS, and the networks whose features set distances compare; and which of them are missing."""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from medfe.backbones import BackboneName, build_backbone
from medfe.errors import MedfeError
from medfe.evaluation.metrics import Lpips, lpips_file

INCEPTION = "inception"
_INCEPTION_URL = (
    "https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/weights-inception-2015-12-05-6726825d.pth"
)
TEACHERS: tuple[BackboneName, ...] = ("vgg16", "efficientnet_lite0")
"""Backbones that losses look through: a distance seen through them favours what was trained with them."""
# Images a pass. On a CPU a buffer beyond 32 MB is fetched from the system, and cleared, anew for every layer.
_CHUNK_CPU, _CHUNK_ELSEWHERE = 4, 32

Features = NDArray[np.float32]


@dataclass(frozen=True)
class Embedder:
    """A frozen network whose pooled features stand for images.

    Attributes:
        name: `inception`, or the backbone's name.
        network: uint8 N×3×H×W on `device` → N×d.
        device: Where it computes.
        digest: Of the file of weights, where a user can give another.
    """

    name: str
    network: Callable[[Tensor], Tensor]
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    digest: str = ""

    @property
    def piece(self) -> str:
        """Name under which features are stored; those of other weights have another."""
        return _piece(self.name, self.digest)

    @property
    def kid(self) -> str:
        """Name of the kernel distance; only Inception's goes without the network's name."""
        return "kid" if self.name == INCEPTION else f"kid_{self.name}"

    @property
    def frechet(self) -> str:
        """Name of the Fréchet distance; only Inception's is called FID."""
        return "fid" if self.name == INCEPTION else f"fd_{self.name}"

    @torch.inference_mode()
    def __call__(self, images: Tensor) -> Features:
        """Return the features of uint8 images N×3×H×W, float32 N×d."""
        size = _CHUNK_CPU if self.device.type == "cpu" else _CHUNK_ELSEWHERE
        chunks = [self.network(chunk.to(self.device)).float().cpu() for chunk in torch.split(images, size)]
        features: Features = torch.cat(chunks).numpy()
        return features


@dataclass(frozen=True)
class Judges:
    """The networks that judge.

    Attributes:
        embedders: For set distances.
        lpips: For LPIPS, if its weights are there.
        missing: For each judge that is not there, what is missing and how to get it.
        lpips_digest: Of the file of LPIPS' weights.
    """

    embedders: tuple[Embedder, ...]
    lpips: Lpips | None
    missing: tuple[str, ...]
    lpips_digest: str = ""

    @property
    def lpips_piece(self) -> str:
        """Name under which LPIPS is stored; that of other weights has another."""
        return _piece("lpips", self.lpips_digest)


def find_judges(
    backbones: Sequence[BackboneName] = ("efficientnet_lite2",),
    *,
    inception_weights: Path | None = None,
    lpips_weights: Path | None = None,
    device: torch.device | str = "cpu",
) -> Judges:
    """Return Inception, LPIPS and the named backbones, as far as their weights are on this machine.

    Nothing is downloaded for Inception and LPIPS.

    Args:
        backbones: Names of `medfe.backbones`.
        inception_weights: torch-fidelity's file; default: torch's cache.
        lpips_weights: torchvision's AlexNet; default: torch's cache.
        device: Where they compute.

    Raises:
        MedfeError: if a file that was named is missing or damaged.
    """
    place, missing = torch.device(device), []
    embedders, lpips, lpips_digest = [], None, ""
    try:
        embedders.append(build_inception(inception_weights, place))
    except MedfeError as error:
        if inception_weights is not None:
            raise
        missing.append(f"FID and KID: {error}, or name the file with --inception-weights")
    for name in dict.fromkeys(backbones):
        try:
            embedders.append(build_embedder(name, place))
        except MedfeError as error:
            missing.append(f"kid_{name} and fd_{name}: {error}")
    try:
        path = lpips_file(lpips_weights)
        lpips, lpips_digest = Lpips.from_pretrained(path).to(place), _digest(path)
    except MedfeError as error:
        if lpips_weights is not None:
            raise
        missing.append(f"LPIPS: {error}, or name the file with --lpips-weights")
    return Judges(tuple(embedders), lpips, tuple(missing), lpips_digest)


def build_embedder(name: BackboneName, device: torch.device | None = None) -> Embedder:
    """Return a backbone as an embedder.

    Raises:
        MedfeError: if its package or weights are missing.
    """
    place = device or torch.device("cpu")
    # On a CPU this layout halves the time of depthwise convolutions.
    backbone = build_backbone(name).to(place).to(memory_format=torch.channels_last)
    _keep_to_onednn_on_cpu(backbone, place)

    def network(images: Tensor) -> Tensor:
        return backbone.embed((images.float() / 127.5 - 1).contiguous(memory_format=torch.channels_last))

    return Embedder(name, network, place)


def _keep_to_onednn_on_cpu(network: nn.Module, place: torch.device) -> None:
    """Let oneDNN compute every 1×1 convolution, in place, where a CPU has it.

    With one thread and fewer than 16 images torch computes them otherwise, in half as much time again, and the bits of
    the result would depend on the number of threads.
    """
    if place.type != "cpu" or not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return
    for module in network.modules():
        if isinstance(module, nn.Conv2d) and module.kernel_size == (1, 1):
            module.forward = partial(_pointwise, module)  # type: ignore[method-assign]


def _pointwise(layer: nn.Conv2d, x: Tensor) -> Tensor:
    return torch.mkldnn_convolution(
        x, layer.weight, layer.bias, [0, 0], layer.stride, layer.dilation, layer.groups
    )  # fmt: skip


def build_inception(weights: Path | None = None, device: torch.device | None = None) -> Embedder:
    """Return torch-fidelity's Inception-v3, its resize and its 2048 features, as FID has them.

    Raises:
        MedfeError: if the file is missing (saying where it is looked for and how to get it) or does not fit.
    """
    name = _INCEPTION_URL.rpartition("/")[2]
    path = Path(torch.hub.get_dir()) / "checkpoints" / name if weights is None else weights
    if not path.is_file():
        raise MedfeError(
            f"Inception weights: found no {path}, expected torch-fidelity's {name}, to be had from {_INCEPTION_URL}"
        )
    # Loaded here and not with the module: it takes seconds, and few who measure have the weights.
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3  # noqa: PLC0415

    try:
        # torch-fidelity reads the file as a pickle; read it as mere tensors first, which refuses code in it.
        torch.load(path, map_location="cpu", weights_only=True)
        network = FeatureExtractorInceptionV3("inception-v3-compat", ["2048"], feature_extractor_weights_path=str(path))
    except (OSError, EOFError, KeyError, TypeError, AttributeError, RuntimeError, pickle.UnpicklingError):
        raise MedfeError(
            f"Inception weights: {path} does not hold torch-fidelity's network, expected {name} from {_INCEPTION_URL}"
        ) from None
    place = device or torch.device("cpu")
    network = network.to(place)
    _keep_to_onednn_on_cpu(network, place)

    def pooled(images: Tensor) -> Tensor:
        features: Tensor = network(images)[0]
        return features

    return Embedder(INCEPTION, pooled, place, _digest(path))


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:12]


def _piece(name: str, digest: str) -> str:
    return f"{name}-{digest}" if digest else name
