"""How metrics and their values are printed."""

from __future__ import annotations

import math

from medfe.evaluation.metrics import LOWER_IS_BETTER

_TITLES = {"l1": "L1", "psnr": "PSNR", "ssim": "SSIM", "lpips": "LPIPS", "kid": "KID", "fid": "FID"}


def title(metric: str) -> str:
    """Return a metric's name as it is printed; only Inception's distances are called FID and KID alone."""
    if metric.startswith("fd_"):
        return f"Fréchet distance ({metric.removeprefix('fd_')})"
    if metric.startswith("kid_"):
        return f"KID ({metric.removeprefix('kid_')})"
    name = _TITLES[metric.removesuffix("_hole")]
    return f"{name}, hole" if metric.endswith("_hole") else name


def lower_is_better(metric: str) -> bool:
    """Return the direction of a metric; of distances between sets, lower is better."""
    return LOWER_IS_BETTER.get(metric.removesuffix("_hole"), True)


def scale(metric: str) -> float:
    """Return the factor that values are printed with: 1000 for KID, as is usual."""
    return 1000.0 if metric.startswith("kid") else 1.0


def heading(metric: str) -> str:
    """Return a metric as the head of a column: name, unit, and an arrow towards better."""
    return f"{title(metric)}{unit(metric)} {'↓' if lower_is_better(metric) else '↑'}"


def unit(metric: str) -> str:
    """Return the factor or unit that stands behind a metric's name."""
    return " ×10³" if metric.startswith("kid") else " (dB)" if metric.startswith("psnr") else ""


def number(value: float, metric: str, *, difference: bool = False) -> str:
    """Return a value as it is printed; a difference has its sign, and a digit more where few would be left."""
    if math.isnan(value):
        return "–"
    decimals = 3 if metric.startswith("kid") else 2 if metric.startswith(("psnr", "fid", "fd_")) else 4
    form = f"+.{5 if decimals == 4 else 3}f" if difference else f".{decimals}f"
    return format(scale(metric) * value, form).replace("-", "−")
