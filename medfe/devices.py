"""Where to compute, and that float32 is float32 there."""

from __future__ import annotations

import torch

from medfe.errors import MedfeError


def choose_device(asked: str | torch.device | None = None) -> torch.device:
    """Return the device asked for, else CUDA, else Apple's MPS, else the CPU; float32 is exact on it.

    Raises:
        MedfeError: for a device that torch does not know.
    """
    best = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        device = torch.device(asked or best)
    except RuntimeError as error:
        raise MedfeError(f"device {str(asked)!r}: {str(error).splitlines()[0]}") from None
    exact_float32(device)
    return device


def exact_float32(device: torch.device) -> None:
    """Tell CUDA to convolve float32 in float32, not in TF32, so that results do not depend on the device."""
    if device.type == "cuda":
        torch.backends.cudnn.allow_tf32 = False
