"""Initial weights: a training can start from the weights of an earlier one instead of random ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from medfe.config import GeneratorConfig, RunConfig, parse
from medfe.errors import MedfeError
from medfe.weightfiles import load_weights

_HISTORY = ("preset", "seed", "step", "images", "commit")


class InitialWeights(NamedTuple):
    """A weight file of a generator, to start from."""

    tensors: dict[str, Tensor]
    """By name in the generator with its target."""
    arm: str
    """Arm that they were trained in."""
    history: list[dict[str, Any]]
    """The trainings that made them, the earliest first: arm, preset, seed, steps, images, commit."""
    source: Path
    """The file."""


def read_initial_weights(config: RunConfig) -> InitialWeights | None:
    """Return the weights that a run starts from, or None where it starts from random ones.

    Raises:
        MedfeError: if the file cannot be read, or is of another generator, naming every setting that differs.
    """
    path = config.initial_weights
    if path is None:
        return None
    tensors, metadata = load_weights(path, "generator")
    found = parse(GeneratorConfig, metadata.get("config", {}), str(path)).model_dump()
    asked = config.generator.model_dump()
    differing = [
        f"generator.{name} {found[name]!r} there, {asked[name]!r} asked for"
        for name in asked
        if found[name] != asked[name] and name != "checkpointing"  # which changes no number
    ]
    if differing:
        raise MedfeError(f"{path}: weights of another generator ({', '.join(differing)})")
    arm = str(metadata.get("target", {}).get("arm", ""))
    this = {"arm": arm, **{name: metadata.get(name) for name in _HISTORY}}
    return InitialWeights(tensors, arm, [*metadata.get("earlier", []), this], path)
