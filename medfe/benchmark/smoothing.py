"""Speed of the relative total variation, beside a general sparse solver on the same systems."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from scipy import sparse
from scipy.sparse.linalg import splu

from medfe.benchmark.measure import alternate
from medfe.benchmark.results import Result, Row, Timing
from medfe.config import RtvConfig
from medfe.data.images import center_square, resize, save_png
from medfe.data.samples import scenes
from medfe.targets.rtv import edge_weights, smooth
from medfe.targets.rtv_folder import smooth_folder

SIDE = 256


def benchmark_rtv(repeats: int, images: int) -> Result:
    """Measure one 256×256 photograph on one thread, and a folder on all cores.

    The floor is one sparse LU factorisation (SuperLU) for each iteration, shared by the three channels, with the
    weights given: what a general library needs for the linear systems alone.

    Args:
        repeats: timed runs of the single photograph.
        images: photographs in the folder.
    """
    picture = resize(center_square(scenes()["chelsea"]), SIDE)
    image = torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None].float() / 255
    config = RtvConfig()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        times = alternate(
            {"exact": lambda: smooth(image, **config.model_dump()), "floor": lambda: _superlu(image, config)}, repeats
        )
    finally:
        torch.set_num_threads(threads)
    with tempfile.TemporaryDirectory() as folder:
        source, out = Path(folder) / "in", Path(folder) / "out"
        for number in range(images):
            save_png(np.roll(np.asarray(picture), number, axis=(0, 1)), source / f"{number:03d}.png")
        start = time.perf_counter()
        smooth_folder(source, out, config)
        folder_seconds = time.perf_counter() - start
    rows = (
        Row(
            f"RTV, exact, {SIDE}×{SIDE}, one thread", Timing.of(times["exact"]), Timing.of(times["floor"]),
            "the same systems by SuperLU, one factorisation for three channels",
        ),
        Row(f"folder of {images} photographs, all cores, a photograph", Timing.of([folder_seconds], per=images)),
    )  # fmt: skip
    return Result("RTV", rows, (f"The folder took {folder_seconds:.1f} s, start of the processes included.",))


def _superlu(image: torch.Tensor, config: RtvConfig) -> None:
    """Solve as many systems as the smoothing does, by SuperLU."""
    right = image[0].double().flatten(1).T.numpy()  # (HW, 3)
    sigma = config.sigma
    for _ in range(config.iterations):
        weight_x, weight_y = edge_weights(image.double(), sigma, config.sharpness)
        splu(_system(weight_x, weight_y, config.smoothness / 2), permc_spec="MMD_AT_PLUS_A").solve(right)
        sigma = max(sigma / 2, 0.5)


def _system(weight_x: torch.Tensor, weight_y: torch.Tensor, smoothness: float) -> sparse.csc_matrix:
    """Return I + smoothness·L of one image, HW×HW."""
    height, width = weight_x.shape[-2:]
    right = smoothness * weight_x.reshape(height, width).numpy().ravel()
    down = smoothness * weight_y.reshape(height, width).numpy().ravel()
    diagonal = 1 + right + down + np.r_[0, right[:-1]] + np.r_[np.zeros(width), down[:-width]]
    bands = [diagonal, -right[:-1], -right[:-1], -down[:-width], -down[:-width]]
    return sparse.diags_array(bands, offsets=[0, 1, -1, width, -width], format="csc")
