"""Initial weights: a training can start from the weights of an earlier one instead of random ones."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from medfe.config import GeneratorConfig, RunConfig, parse
from medfe.errors import MedfeError
from medfe.weightfiles import commit_words, load_weights

_HISTORY = ("preset", "seed", "step", "images", "commit", "precision", "rounded")


class InitialWeights(NamedTuple):
    """A weight file of a generator, to start from."""

    tensors: dict[str, Tensor]
    """By name in the generator with its target."""
    arm: str
    """Arm that they were trained in."""
    history: list[dict[str, Any]]
    """The trainings that made them, the earliest first: arm, preset, seed, step, images, commit,
    precision; None: not known."""
    source: Path
    """The file."""


def history_line(one: Mapping[str, Any]) -> str:
    """Return a training of the history in words, as far as it is known."""
    said = [
        f"{one['step']} steps" if one.get("step") else "",
        f"{one['images']} images" if one.get("images") else "an unknown number of images",
        f"arm `{one['arm']}`" if one.get("arm") else "",
        "" if one.get("seed") is None else f"seed {one['seed']}",
        commit_words(one),
        one.get("precision") or "",
    ]
    return ", ".join(word for word in said if word)


def read_initial_weights(config: RunConfig) -> InitialWeights | None:
    """Return the weights that a run starts from, or None where it starts from random ones.

    Raises:
        MedfeError: if the file cannot be read, holds numbers that are not finite, or is of another generator, naming
            every setting that differs.
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
    broken = [name for name, tensor in tensors.items() if not tensor.isfinite().all()]
    if broken:
        raise MedfeError(f"{path}: {broken[0]} holds numbers that are not finite")
    arm = str((metadata.get("target") or {}).get("arm", ""))
    this = {"arm": arm, **{name: metadata.get(name) for name in _HISTORY}}
    return InitialWeights(tensors, arm, [*metadata.get("earlier", []), this], path)
