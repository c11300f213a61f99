"""Per-image metrics of a pair of images: L1, PSNR, SSIM and LPIPS, over the whole image or over the hole alone.

Images are compared as 8-bit images: uint8 N×3×H×W, or floats N×3×H×W in [-1, 1], which are rounded to 8 bits first.
Masks are N×1×H×W, 1 in the hole. Every metric returns one float64 value per image, (N,); where the hole has no pixel to
judge, the value is NaN.
"""

from __future__ import annotations

import pickle
from functools import cache
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from medfe.data.images import to_uint8
from medfe.errors import MedfeError

LOWER_IS_BETTER = {"l1": True, "psnr": False, "ssim": False, "lpips": True}
SSIM_RADIUS = 5  # the window of Wang et al. 2004: Gaussian, 11×11, sigma 1.5
_SSIM_SIGMA = 1.5
_SSIM_C1, _SSIM_C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
_CHUNK = 4  # images measured at once: the moments of more of them do not fit in a core's cache
_LPIPS_URL = "https://download.pytorch.org/models/alexnet-owt-7be5be79.pth"
_LPIPS_NAME = _LPIPS_URL.rpartition("/")[2]


def l1(prediction: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
    """Return the mean absolute difference, (N,), in units of [0, 1]: 1/255 is one grey level of an 8-bit image.

    Args:
        prediction: Images of a method.
        target: Original images.
        mask: N×1×H×W, the pixels that count; default: all.

    Raises:
        MedfeError: if shapes, types or values are not as the module says.
    """
    one, two = _pair(prediction, target)
    return _mean((one - two).abs() / 255, mask)


def psnr(prediction: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
    """Return the peak signal-to-noise ratio, (N,), in dB, 10·log₁₀(255² / mean squared error); infinite if equal.

    Args and errors as for `l1`.
    """
    one, two = _pair(prediction, target)
    return _decibel(_mean(((one - two) / 255).square(), mask))


def ssim(prediction: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
    """Return the structural similarity, (N,): the mean of `ssim_map` over the pixels of `mask` and the colours.

    Pixels nearer than 5 to the border have no full window and do not count, with a mask or without.

    Args and errors as for `l1`.
    """
    return _mean(ssim_map(prediction, target), _inner(mask))


def ssim_map(prediction: Tensor, target: Tensor) -> Tensor:
    """Return the structural similarity of each window that fits in the image, N×3×(H − 10)×(W − 10).

    Wang et al. 2004: Gaussian window 11×11 with sigma 1.5, K₁ = 0.01, K₂ = 0.03, range 255, population covariance; as
    scikit-image with gaussian_weights=True and use_sample_covariance=False. The blur is two products with band
    matrices, which on CPU takes a small part of the time of torchmetrics' 11×11 convolution, in float64.

    Raises:
        MedfeError: as for `l1`, or if the images are smaller than the window.
    """
    return _ssim_map(*_pair(prediction, target))


def lpips_file(weights: Path | None = None) -> Path:
    """Return torchvision's AlexNet weights: the file that is named, or the one in torch's cache.

    Raises:
        MedfeError: if it is missing, saying where it is looked for and how to get it.
    """
    path = Path(torch.hub.get_dir()) / "checkpoints" / _LPIPS_NAME if weights is None else weights
    if not path.is_file():
        raise MedfeError(
            f"LPIPS weights: found no {path}, expected torchvision's {_LPIPS_NAME}, to be had from {_LPIPS_URL}"
        )
    return path


class Lpips(nn.Module):
    """Learned perceptual image patch similarity (Zhang et al. 2018), AlexNet, version 0.1; torchmetrics' network.

    The linear layers come with torchmetrics; AlexNet's weights are given or loaded by `from_pretrained`.
    """

    def __init__(self) -> None:
        # Loaded here and not with the module: it takes seconds, and few who measure have the weights.
        from torchmetrics.functional.image import lpips  # noqa: PLC0415

        super().__init__()
        self._normalize = lpips._normalize_tensor
        self.network = lpips._NoTrainLpips(pretrained=True, net="alex", pnet_rand=True)

    @classmethod
    def from_pretrained(cls, weights: Path | None = None) -> Lpips:
        """Return the network with torchvision's AlexNet weights from `weights` or torch's cache; nothing is downloaded.

        Raises:
            MedfeError: if the file is missing (saying where it is looked for and how to get it) or does not fit.
        """
        path = lpips_file(weights)
        lpips = cls()
        backbone = lpips.network.net
        try:
            state = torch.load(path, map_location="cpu", weights_only=True)
            # slice2.3.weight of torchmetrics is features.3.weight of torchvision
            renamed = {key: state["features." + key.partition(".")[2]] for key in backbone.state_dict()}
            backbone.load_state_dict(renamed)
        except (OSError, EOFError, KeyError, TypeError, RuntimeError, pickle.UnpicklingError):
            raise MedfeError(
                f"LPIPS weights: {path} does not hold AlexNet, expected {_LPIPS_NAME} from {_LPIPS_URL}"
            ) from None
        return lpips

    @torch.no_grad()
    def forward(self, prediction: Tensor, target: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """Return LPIPS of the whole image, (N,), and of the hole, (N,), or None without a mask; float64, on CPU.

        The hole's value is the mean over its pixels of the layers' difference maps, enlarged bilinearly to the size of
        the image; receptive fields reach beyond the hole.

        Args and errors as for `l1`.
        """
        device = next(self.parameters()).device
        one, two = ((image / 127.5 - 1).float().to(device) for image in _pair(prediction, target))
        network = self.network
        features = zip(network.net(network.scaling_layer(one)), network.net(network.scaling_layer(two)), strict=True)
        differences = [(self._normalize(a) - self._normalize(b)) ** 2 for a, b in features]
        maps = [layer(difference) for layer, difference in zip(network.lins, differences, strict=True)]  # (N, 1, h, w)
        whole = torch.stack([layer.mean(dim=(1, 2, 3)) for layer in maps]).sum(0).double().cpu()
        if mask is None:
            return whole, None
        size = one.shape[-2:]
        enlarged = [functional.interpolate(m, size, mode="bilinear", align_corners=False) for m in maps]
        return whole, _mean(torch.stack(enlarged).sum(0).double().cpu(), mask)


def image_metrics(
    prediction: Tensor, target: Tensor, mask: Tensor | None = None, lpips: Lpips | None = None
) -> dict[str, Tensor]:
    """Return every metric of a batch by name: `l1`, `psnr`, `ssim`, and, with `mask`, `l1_hole` and so on.

    LPIPS is left out unless its network is given.

    Args and errors as for `l1`.
    """
    one, two = _pair(prediction, target)
    masks = [None] * len(one) if mask is None else torch.split(mask, _CHUNK)
    chunks = zip(torch.split(one, _CHUNK), torch.split(two, _CHUNK), masks, strict=False)
    parts = [_pixel_metrics(*chunk) for chunk in chunks]
    values = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
    if lpips is not None:
        whole, hole = lpips(prediction, target, mask)
        values |= {"lpips": whole} | ({} if hole is None else {"lpips_hole": hole})
    return values


def _pixel_metrics(one: Tensor, two: Tensor, mask: Tensor | None) -> dict[str, Tensor]:
    error, similarity = (one - two) / 255, _ssim_map(one, two)
    values = {}
    regions = {"": None} if mask is None else {"": None, "_hole": mask}
    for suffix, region in regions.items():
        values["l1" + suffix] = _mean(error.abs(), region)
        values["psnr" + suffix] = _decibel(_mean(error.square(), region))
        values["ssim" + suffix] = _mean(similarity, _inner(region))
    return values


def _pair(prediction: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Return both as float64 N×3×H×W on CPU with the values 0, 1, … 255."""
    if prediction.shape != target.shape or prediction.ndim != 4 or prediction.shape[1] != 3:
        raise MedfeError(
            f"images: found shapes {tuple(prediction.shape)} and {tuple(target.shape)}, expected N×3×H×W twice"
        )
    return _eight_bit(prediction), _eight_bit(target)


def _eight_bit(images: Tensor) -> Tensor:
    if images.dtype == torch.uint8:
        return images.cpu().double()
    if not images.is_floating_point():
        raise MedfeError(f"images: found {images.dtype}, expected uint8, or floats in [-1, 1]")
    if not torch.isfinite(images).all():
        raise MedfeError("images: found infinities or NaN, expected floats in [-1, 1]")
    return torch.from_numpy(to_uint8(images.detach().cpu())).movedim(-1, 1).double()


def _mean(values: Tensor, mask: Tensor | None) -> Tensor:
    """Return the mean of N×C×H×W over the pixels of the mask and the channels, (N,)."""
    if mask is None:
        return values.flatten(1).mean(dim=1)
    if mask.shape != (len(values), 1, *values.shape[2:]):
        expected = f"{len(values)}×1×{values.shape[2]}×{values.shape[3]}"
        raise MedfeError(f"mask: found shape {tuple(mask.shape)}, expected {expected}")
    hole = mask.detach().cpu() > 0.5
    return (values * hole).flatten(1).sum(1) / (hole.flatten(1).sum(1) * values.shape[1])


def _decibel(mean_square: Tensor) -> Tensor:
    return -10 * torch.log10(mean_square)


def _inner(mask: Tensor | None) -> Tensor | None:
    """Return the mask where SSIM's window fits in the image."""
    return None if mask is None else mask[..., SSIM_RADIUS:-SSIM_RADIUS, SSIM_RADIUS:-SSIM_RADIUS]


def _ssim_map(one: Tensor, two: Tensor) -> Tensor:
    height, width = one.shape[-2:]
    if min(height, width) <= 2 * SSIM_RADIUS:
        raise MedfeError(f"SSIM: found images of {width}×{height}, expected at least 11×11")
    rows, columns = _window(height), _window(width)
    moments = torch.stack((one, two, one * one, two * two, one * two))
    mean1, mean2, square1, square2, product = rows @ moments @ columns.T  # (N, 3, H-10, W-10) each
    covariance = product - mean1 * mean2
    variances = (square1 - mean1 * mean1) + (square2 - mean2 * mean2)
    luminance = (2 * mean1 * mean2 + _SSIM_C1) / (mean1 * mean1 + mean2 * mean2 + _SSIM_C1)
    contrast_structure = (2 * covariance + _SSIM_C2) / (variances + _SSIM_C2)
    similarity: Tensor = luminance * contrast_structure
    return similarity


@cache
def _window(size: int) -> Tensor:
    """Return the (size − 10, size) matrix that blurs a line with SSIM's window, where the window fits."""
    offsets = torch.arange(-SSIM_RADIUS, SSIM_RADIUS + 1, dtype=torch.float64)
    weights = torch.exp(-0.5 * (offsets / _SSIM_SIGMA) ** 2)
    weights = weights / weights.sum()
    matrix = torch.zeros(size - 2 * SSIM_RADIUS, size, dtype=torch.float64)
    for i in range(len(matrix)):
        matrix[i, i : i + len(weights)] = weights
    return matrix
