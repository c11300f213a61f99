"""What a run folder says of its training: whether it is complete, how long it took, what its losses were."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from medfe.config import AutoencoderRunConfig, RunConfig
from medfe.errors import MedfeError
from medfe.experiments.entry import Workplace
from medfe.experiments.stopping import Interrupted
from medfe.training.checkpoint import CONFIG_FILE, check_same_run
from medfe.training.logging import METRICS_FILE
from medfe.training.loop import UNKNOWN, build_fabric
from medfe.weightfiles import read_metadata


def is_trained(folder: Path, weights: Path, config: RunConfig | AutoencoderRunConfig) -> bool:
    """Tell whether a training is complete.

    Args:
        folder: Its run folder.
        weights: Its weight file.
        config: The settings it must have.

    Raises:
        MedfeError: if the folder holds a run with other settings, or the weights are damaged.
    """
    check_same_run(folder, config, weights)
    if not ((folder / CONFIG_FILE).is_file() and weights.is_file()):
        return False
    try:
        return bool(read_metadata(weights).get("step") == config.max_steps)
    except MedfeError as error:
        raise MedfeError(f"{error}; delete it, and the training goes on from its saved state") from None


def train_to_the_end(
    train: Callable[..., int], config: RunConfig | AutoencoderRunConfig, folder: Path, place: Workplace
) -> None:
    """Go on with a training until it is complete.

    Args:
        train: `train_generator` or `train_autoencoder`.
        config: Its settings.
        folder: As `train` takes it.
        place: Says when to stop.

    Raises:
        Interrupted: stopped before it was complete; the next call goes on.
    """
    dtype = torch.get_default_dtype()
    try:
        done = train(config, folder, build_fabric(config.precision), max_minutes=place.stop.minutes_left())
    finally:
        torch.set_default_dtype(dtype)  # 64-true changes it, and what judges the weights works in float32
    place.stop.check()
    if done < config.max_steps:
        raise Interrupted


def trained_in(weights: Path, config: RunConfig | AutoencoderRunConfig) -> str:
    """Return the precision of the training of a weight file; `unknown` for an older file of a run with `auto`."""
    asked = UNKNOWN if config.precision == "auto" else config.precision
    return str(read_metadata(weights).get("precision") or asked)


def training_row(folder: Path, weights: Path, config: RunConfig | AutoencoderRunConfig) -> dict[str, Any]:
    """Return images, steps, seconds, and the last value of every term (unweighted) of a complete training.

    Args:
        folder: Its run folder.
        weights: Its weight file.
        config: Its settings.

    Seconds are wall time, from each start to the last change of its event file: on a machine with other work, or when
    the process was stopped for a while, they are more than the training needs.

    Raises:
        MedfeError: if there are weights alone.
    """
    if not (folder / METRICS_FILE).is_file():
        raise MedfeError(
            f"{folder}: {METRICS_FILE} is missing, so its weights were not trained here; delete {weights} to train"
        )
    lines = (folder / METRICS_FILE).read_text(encoding="utf-8").splitlines()
    last = json.loads(lines[-1])
    events = folder.glob("events.out.tfevents.*")
    seconds = sum(max(0.0, path.stat().st_mtime - float(path.name.split(".")[3])) for path in events)
    terms = {name: value for name, value in last.items() if name not in ("step", "images", "learning_rate")}
    return {"images": config.max_steps * config.batch_size, "steps": last["step"], "seconds": seconds, "terms": terms}
