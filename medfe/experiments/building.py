"""Shorthand for what experiments are made of: trainings named by arm and seed, and the auto-encoders they need."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from medfe.config import AUTOENCODER_ARMS
from medfe.experiments.measurement import Evaluation
from medfe.experiments.pairs import AutoencoderPair
from medfe.experiments.trainings import GeneratorRun

FACES = Evaluation("utkface/test", channels="utkface/val")
KID, FRECHET = "kid_efficientnet_lite2", "fd_efficientnet_lite2"
_SMALLER = {"save_every": 250}


def pair(preset: str, seed: int, photographs: str, held_out: str, **changes: Any) -> AutoencoderPair:
    """Return the pair of auto-encoders of a preset, a data set and a seed."""
    domain = photographs.partition("/")[0]
    return AutoencoderPair(
        name=f"autoencoders_seed{seed}", folder=f"{preset}_{domain}/autoencoders_seed{seed}", arm="autoencoders",
        seed=seed, preset=preset, photographs=photographs, held_out=held_out, changes=changes,
    )  # fmt: skip


def training(
    preset: str,
    target: str,
    seed: int,
    *,
    arm: str = "",
    photographs: str = "utkface/train",
    evaluation: Evaluation = FACES,
    changes: Mapping[str, Any] | None = None,
    autoencoders_seed: int | None = None,
    **fields: Any,
) -> GeneratorRun:
    """Return a training of an arm, called by `arm` and seed.

    Where the arm needs auto-encoders, they are the pair of `autoencoders_seed`, or else of the same seed.
    """
    label = arm or target
    name = f"{label}_seed{seed}"
    pair_seed = seed if autoencoders_seed is None else autoencoders_seed
    autoencoders = f"autoencoders_seed{pair_seed}" if target in AUTOENCODER_ARMS else ""
    start = (fields["start"],) if "start" in fields else ()
    needs = (*((autoencoders,) if autoencoders else ()), *start, *fields.get("matches", ()))
    return GeneratorRun(
        name=name, folder=f"{preset}_{photographs.partition('/')[0]}/{name}", arm=label, seed=seed, needs=needs,
        preset=preset, target=target, photographs=photographs, evaluation=evaluation, pair=autoencoders,
        changes={**_SMALLER, **(changes or {})}, **fields,
    )  # fmt: skip
