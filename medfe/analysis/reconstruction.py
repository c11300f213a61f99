"""How much of an image a target keeps: reconstructions of auto-encoders and their comparisons, and what is lost.

"Near-lossless" is the claim of the variant's authors about the codes that features are compared with. Here it is a
number (L1, PSNR) and a spectrum, beside the target it replaces: an image shrunk to the grid, three numbers a cell.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from medfe.config import GRID_STRIDE, GeneratorConfig, RtvConfig, TargetConfig
from medfe.evaluation.metrics import psnr
from medfe.models.autoencoder import Autoencoder
from medfe.models.layers import resize
from medfe.targets.block_dct import BlockDct
from medfe.targets.rtv import smooth
from medfe.targets.rtv_folder import REFERENCE_SIDE

Reconstruct = Callable[[Tensor], Tensor]
"""Images N×3×S×S in [-1, 1] → the same through a code."""


def bilinear_round_trip(images: Tensor) -> Tensor:
    """Return images shrunk to the feature grid and enlarged again, both bilinearly, as the published target is made.

    Shrinking takes four pixels a cell, without antialiasing; the target has 3 numbers where an 8×8 block has 192.

    Args:
        images: N×3×S×S in [-1, 1].
    """
    side = images.shape[-1]
    return resize(resize(images, side // GRID_STRIDE), side)


def dct_round_trip(images: Tensor, coefficients: int) -> Tensor:
    """Return images that keep the first of each 8×8 block's 192 DCT coefficients: a fixed linear code of that size.

    Args:
        images: N×3×S×S in [-1, 1].
        coefficients: 3 keeps block means, 192 all.
    """
    config = GeneratorConfig(image_size=images.shape[-1], feature_channels=coefficients)
    target = BlockDct(TargetConfig(arm="block_dct", coefficients=coefficients), config).to(images)
    return target.decode(target.encode(images)).clamp(-1, 1)


def reconstruction_errors(images: Tensor, ways: Mapping[str, Reconstruct]) -> pd.DataFrame:
    """Return L1 and PSNR of every image by every way of reconstructing it.

    Args:
        images: N×3×S×S in [-1, 1].
        ways: by name.

    Returns:
        Columns `code`, `image`, `l1` (mean absolute difference, images in [-1, 1]), `psnr` (dB, of 8-bit images).
    """
    tables = []
    for name, way in ways.items():
        with torch.no_grad():
            again = way(images)
        l1 = (again - images).abs().flatten(1).mean(dim=1)
        values = {"l1": l1.cpu().numpy(), "psnr": psnr(again, images).numpy()}
        tables.append(pd.DataFrame({"code": name, "image": range(len(images)), **values}))
    return pd.concat(tables, ignore_index=True)


def error_map(images: Tensor, again: Tensor) -> Tensor:
    """Return the absolute difference averaged over colours, N×H×W, images in [-1, 1]."""
    return (again - images).abs().mean(dim=1)


def radial_spectrum(images: Tensor) -> pd.Series:
    """Return mean power by spatial frequency: colours and images averaged, rings of the Fourier plane summed up.

    The mean is taken away and a Hann window laid over each image, so that opposite borders make no false edges.

    Args:
        images: N×C×S×S.

    Returns:
        Mean power of a ring's frequencies, indexed by `frequency`, cycles per pixel, up to 0.5 (Nyquist).
    """
    side = images.shape[-1]
    window = torch.hann_window(side, periodic=False, dtype=torch.float64)
    values = images.detach().cpu().double()
    values = (values - values.mean(dim=(-2, -1), keepdim=True)) * torch.outer(window, window)
    power = torch.fft.fft2(values, norm="ortho").abs().square().flatten(0, 1).mean(dim=0)  # S×S
    frequency = torch.fft.fftfreq(side, dtype=torch.float64)
    ring = torch.hypot(frequency[:, None], frequency).mul(side).round().long().flatten()
    rings = side // 2 + 1
    inside = ring < rings
    counts = torch.bincount(ring[inside], minlength=rings)
    totals = torch.bincount(ring[inside], weights=power.flatten()[inside], minlength=rings)
    index = pd.Index(np.arange(rings) / side, name="frequency")
    return pd.Series((totals / counts).numpy(), index=index, name="power")


def lost_spectrum(images: Tensor, again: Tensor) -> pd.DataFrame:
    """Return, by frequency, the power of images and of their reconstruction's error, and the error's share.

    Args:
        images: N×3×S×S in [-1, 1].
        again: their reconstructions.

    Returns:
        Columns `image`, `error` and `lost` (error / image: 0 where all is kept, 1 where nothing is), indexed by
        `frequency`, cycles per pixel.
    """
    table = pd.DataFrame({"image": radial_spectrum(images), "error": radial_spectrum(again - images)})
    return table.assign(lost=table["error"] / table["image"]).iloc[1:]  # without the mean, which the window spoils


def target_times(encoders: Mapping[str, Autoencoder], image: Tensor, repeats: int = 5) -> pd.DataFrame:
    """Time what makes the targets of one image: RTV, exact and to the published tolerance, and encoders' codes.

    One thread, one image, float32 encoders in evaluation mode; the ways take turns, so that other load hits all alike.

    Args:
        encoders: by name.
        image: 1×3×S×S in [-1, 1].
        repeats: timed runs of each, after one that is not counted.

    Returns:
        Columns `target`, `milliseconds` (median), `lower_quartile`, `upper_quartile`.
    """
    settings = RtvConfig().model_dump()
    settings["sigma"] *= image.shape[-1] / REFERENCE_SIDE
    positive = (image + 1) / 2
    work: dict[str, Callable[[], object]] = {
        "RTV, exact": lambda: smooth(positive, **settings),
        "RTV, tolerance 0.1": lambda: smooth(positive, **settings, tolerance=0.1),
        **{name: _encoding(autoencoder, image) for name, autoencoder in encoders.items()},
    }
    seconds: dict[str, list[float]] = {name: [] for name in work}
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.inference_mode():
            for _ in range(repeats + 1):
                for name, run in work.items():
                    start = time.perf_counter()
                    run()
                    seconds[name].append(time.perf_counter() - start)
    finally:
        torch.set_num_threads(threads)
    rows = [
        {
            "target": name, "milliseconds": median, "lower_quartile": lower, "upper_quartile": upper,
        }
        for name, found in seconds.items()
        for lower, median, upper in [1e3 * np.quantile(found[1:], [0.25, 0.5, 0.75])]
    ]  # fmt: skip
    return pd.DataFrame(rows)


def _encoding(autoencoder: Autoencoder, image: Tensor) -> Callable[[], object]:
    return lambda: autoencoder.encode(image)
