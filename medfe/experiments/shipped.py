"""Shipped weights stand in for the training that made them: on another machine it need not be repeated."""

from __future__ import annotations

from pathlib import Path

from medfe.config import AutoencoderRunConfig, RunConfig
from medfe.training.checkpoint import STATE_FILE, save_config, settings_digest
from medfe.weightfiles import load_weights, read_metadata, save_weights


def stands_in(shipped: Path, commit: str, config: RunConfig | AutoencoderRunConfig, weights: Path) -> bool:
    """Tell whether shipped weights can stand in for a recorded training: they are its own, and it has no state here.

    Args:
        shipped: Weight file of the package.
        commit: Commit of the training, as its record has it.
        config: Its settings.
        weights: File that the training would write.
    """
    if not commit or not shipped.is_file() or (_folder(config, weights) / STATE_FILE).exists():
        return False
    said = read_metadata(shipped)
    origin = {"settings": settings_digest(config), "step": config.max_steps, "commit": commit}
    start = config.initial_weights if isinstance(config, RunConfig) else None
    return all(said.get(name) == value for name, value in origin.items()) and bool(said.get("earlier")) == bool(start)


def take_shipped(shipped: Path, config: RunConfig | AutoencoderRunConfig, weights: Path) -> None:
    """Copy shipped weights, rounded to float16 as they are, to where their training would leave them.

    No state comes with them: the training is complete, and cannot be gone on with.
    """
    file = load_weights(shipped)
    save_weights(weights, file.tensors, file.metadata)
    save_config(_folder(config, weights), config)


def _folder(config: RunConfig | AutoencoderRunConfig, weights: Path) -> Path:
    return weights.parent if isinstance(config, RunConfig) else weights.with_suffix("")
