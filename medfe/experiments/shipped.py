"""Shipped weights stand in for the training that made them: on another machine it need not be repeated."""

from __future__ import annotations

import functools
from pathlib import Path

from medfe.config import AutoencoderRunConfig, RunConfig
from medfe.errors import MedfeError
from medfe.training.checkpoint import STATE_FILE, save_config
from medfe.weightfiles import load_weights, save_weights, weights_digest


def stands_in(shipped: Path, digest: str, config: RunConfig | AutoencoderRunConfig, weights: Path) -> bool:
    """Tell whether shipped weights are those that a recorded training made, and no saved state here could go on.

    Args:
        shipped: Weight file of the package.
        digest: `weights_digest` of what the training made, from its record; empty: not known.
        config: Settings of the training.
        weights: File that the training would write.
    """
    if not digest or not shipped.is_file() or (_folder(config, weights) / STATE_FILE).exists():
        return False
    found = shipped.stat()
    return _digest(shipped, found.st_mtime_ns, found.st_size) == digest


def take_shipped(shipped: Path, config: RunConfig | AutoencoderRunConfig, weights: Path) -> None:
    """Copy shipped weights to where their training would leave them; their metadata say that they were rounded.

    No state comes with them: the training is complete, and cannot be gone on with.
    """
    file = load_weights(shipped)
    save_config(_folder(config, weights), config)  # first: settings alone are no run, weights alone are refused
    save_weights(weights, file.tensors, file.metadata | {"rounded": "float16"})


@functools.lru_cache(maxsize=16)
def _digest(path: Path, changed: int, size: int) -> str:
    """Return the digest of a file, worked out once; a file that cannot be read has none."""
    del changed, size
    try:
        return weights_digest(path)
    except MedfeError:
        return ""


def _folder(config: RunConfig | AutoencoderRunConfig, weights: Path) -> Path:
    return weights.parent if isinstance(config, RunConfig) else weights.with_suffix("")
