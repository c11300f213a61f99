"""Shipped weights stand in for the training that made them: on another machine it need not be repeated."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from medfe.config import AutoencoderRunConfig, RunConfig
from medfe.experiments.records import Record
from medfe.training.checkpoint import save_config
from medfe.weightfiles import WeightFile, load_weights, save_weights


def take_shipped(shipped: Path, record: Record, config: RunConfig | AutoencoderRunConfig, weights: Path) -> bool:
    """Copy shipped weights to where a training would leave them, if they are those of the recorded training.

    They are rounded to float16, and there is no state to go on from.

    Args:
        shipped: Weight file of the package.
        record: Record of the training.
        config: Its settings.
        weights: File to write; the settings go into a folder beside it, or into its own.

    Returns:
        Whether they were.
    """
    if not shipped.is_file():
        return False
    file = load_weights(shipped)
    if not _is_of(file, record, config):
        return False
    folder = weights.parent if isinstance(config, RunConfig) else weights.with_suffix("")
    save_weights(weights, file.tensors, file.metadata)
    save_config(folder, config)
    return True


def _is_of(file: WeightFile, record: Record, config: RunConfig | AutoencoderRunConfig) -> bool:
    wanted: dict[str, Any] = {"seed": config.seed, "step": config.max_steps, "commit": record["commit"]}
    if isinstance(config, RunConfig):
        wanted |= {
            "kind": "generator", "preset": config.preset, "config": config.generator.model_dump(mode="json"),
            "target": config.target.model_dump(mode="json", exclude={"autoencoders"}),
        }  # fmt: skip
    else:
        wanted |= {"kind": config.autoencoder.kind, "config": config.autoencoder.model_dump(mode="json")}
    return all(file.metadata.get(name) == value for name, value in wanted.items())
