"""Structure images: smoothing by relative total variation, as in MATLAB's `tsmooth`, but solved exactly.

Xu, Yan, Xia and Jia, "Structure extraction from texture via relative total variation", SIGGRAPH Asia 2012.
Each iteration weights the edges of the pixel grid by how little structure they carry, then solves
(I + λ/2 · L) x = image with L the Laplacian of that weighted grid. MATLAB stops a preconditioned conjugate gradient
at a relative residual of 0.1; here the system is solved to the end unless a `tolerance` asks for less.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from medfe.errors import MedfeError
from medfe.targets.grid_cg import solve_grid_iteratively
from medfe.targets.grid_cholesky import solve_grid

Solver = Literal["auto", "direct", "iterative"]

SMALLEST_SIGMA = 0.5
VARIATION_FLOOR = 1e-3  # of the blurred image's differences, as in tsmooth
EXACT_TOLERANCE = 1e-6  # relative residual; the solution is then within 1e-6 of the direct one
DIRECT_PIXELS = 512 * 512  # above this the direct solver's memory hurts more than the iterative one's time


def smooth(
    image: Tensor,
    *,
    smoothness: float = 0.015,
    sigma: float = 3.0,
    sharpness: float = 0.001,
    iterations: int = 3,
    tolerance: float | None = None,
    solver: Solver = "auto",
) -> Tensor:
    """Remove texture, keep structure.

    Computed in float64 on the device of `image` (on the CPU for devices without float64). The direct solver agrees
    with `tsmooth` and a direct solve to 3e-8, the iterative one to 2e-6 (maximum absolute difference).

    Args:
        image: N×3×H×W in [0, 1].
        smoothness: λ of the paper; halved at once, as in `tsmooth`. 0 returns the image.
        sigma: size in pixels of the texture to remove; halved after each iteration, never under 0.5.
        sharpness: floor of the gradient magnitude; smaller keeps sharper edges.
        iterations: number of re-weighted solves.
        tolerance: relative residual at which the iterative solver stops, `tsmooth` uses 0.1; None solves exactly.
        solver: `direct`, one image after the other by a Cholesky factorisation shared by the three colours;
            `iterative`, all images together by preconditioned conjugate gradients; `auto`, direct on a CPU up to
            512×512 pixels and iterative otherwise.

    Returns:
        N×3×H×W float32, within the range of each image's colour.

    Raises:
        MedfeError: if shape, range or a parameter is wrong, or the iterative solver does not converge.
    """
    _check(image, smoothness, sigma, sharpness, iterations, tolerance, solver)
    device = torch.device("cpu") if image.device.type == "mps" else image.device
    original = image.to(device, torch.float64)
    direct = solver == "direct" or (
        solver == "auto" and tolerance is None and device.type == "cpu" and image[0, 0].numel() <= DIRECT_PIXELS
    )
    smoothed = original
    for iteration in range(iterations):
        weight_x, weight_y = edge_weights(smoothed, max(sigma / 2**iteration, SMALLEST_SIGMA), sharpness)
        weight_x, weight_y = weight_x * (smoothness / 2), weight_y * (smoothness / 2)
        if direct:
            systems = zip(weight_x, weight_y, original, strict=True)
            smoothed = torch.stack([solve_grid(*system) for system in systems])
        else:
            limit = EXACT_TOLERANCE if tolerance is None else tolerance
            try:
                smoothed = solve_grid_iteratively(weight_x, weight_y, original, tolerance=limit)
            except ArithmeticError as error:
                raise MedfeError(f"smoothness: {smoothness} is too large for the iterative solver ({error})") from None
    return smoothed.to(image.device, torch.float32)


def edge_weights(image: Tensor, sigma: float, sharpness: float) -> tuple[Tensor, Tensor]:
    """Return how strongly each pixel is tied to its right and its lower neighbour.

    A weight is 1 / (gradient magnitude · windowed inherent variation): small where the blurred image changes as well
    (structure), large where changes cancel in the window (texture).

    Args:
        image: N×C×H×W.
        sigma: standard deviation in pixels of the window.
        sharpness: floor of the gradient magnitude.

    Returns:
        Two N×H×W tensors; the last column of the first and the last row of the second are 0.
    """
    step_x, step_y = _differences(image)
    magnitude = (step_x.square() + step_y.square()).sqrt_().mean(dim=1).clamp_(min=sharpness)
    blurred_x, blurred_y = _differences(gaussian_blur(image, sigma))
    weight_x = 1 / (magnitude * blurred_x.abs_().mean(dim=1).clamp_(min=VARIATION_FLOOR))
    weight_y = 1 / (magnitude * blurred_y.abs_().mean(dim=1).clamp_(min=VARIATION_FLOOR))
    weight_x[..., :, -1] = 0
    weight_y[..., -1, :] = 0
    return weight_x, weight_y


def gaussian_blur(image: Tensor, sigma: float) -> Tensor:
    """Blur N×C×H×W by a Gaussian cut off at 2.5 sigma, with zeros around the image, as in `tsmooth`."""
    length = round(5 * sigma) | 1
    offsets = torch.arange(length, dtype=image.dtype, device=image.device) - length // 2
    kernel = torch.exp(-offsets.square() / (2 * sigma**2))
    kernel = (kernel / kernel.sum()).view(1, 1, 1, length)
    planes = image.reshape(-1, 1, *image.shape[-2:])
    planes = functional.conv2d(planes, kernel, padding=(0, length // 2))
    planes = functional.conv2d(planes, kernel.mT, padding=(length // 2, 0))
    return planes.reshape(image.shape)


def _differences(image: Tensor) -> tuple[Tensor, Tensor]:
    """Return forward differences in x and y, 0 at the last column and row."""
    step_x, step_y = torch.zeros_like(image), torch.zeros_like(image)
    torch.sub(image[..., :, 1:], image[..., :, :-1], out=step_x[..., :, :-1])
    torch.sub(image[..., 1:, :], image[..., :-1, :], out=step_y[..., :-1, :])
    return step_x, step_y


def _check(
    image: Tensor,
    smoothness: float,
    sigma: float,
    sharpness: float,
    iterations: int,
    tolerance: float | None,
    solver: Solver,
) -> None:
    if image.ndim != 4 or image.shape[1] != 3 or image.numel() == 0:
        raise MedfeError(f"image: found shape {tuple(image.shape)}, expected N×3×H×W")
    low, high = (float(bound) for bound in image.aminmax())
    if not (low >= 0 and high <= 1):  # also true of NaN
        raise MedfeError(f"image: found values from {low:g} to {high:g}, expected [0, 1]")
    if not 0 <= smoothness < float("inf"):
        raise MedfeError(f"smoothness: found {smoothness}, expected a finite number of at least 0")
    for name, value in (("sigma", sigma), ("sharpness", sharpness)):
        if not 0 < value < float("inf"):
            raise MedfeError(f"{name}: found {value}, expected a finite number above 0")
    if iterations < 1:
        raise MedfeError(f"iterations: found {iterations}, expected at least 1")
    if tolerance is not None and not 0 < tolerance < 1:
        raise MedfeError(f"tolerance: found {tolerance}, expected a number between 0 and 1, or None")
    if tolerance is not None and solver == "direct":
        raise MedfeError("tolerance: the direct solver always solves exactly; leave tolerance out or solver at auto")
