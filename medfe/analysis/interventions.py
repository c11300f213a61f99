"""What the decoder uses of a feature: change one component of it, and look at the change of the filled hole."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from medfe.analysis.spectra import Array, component
from medfe.models.branches import Features
from medfe.models.generator import Generator
from medfe.models.layers import concatenate

Intervention = Literal["permuted", "averaged"]
INTERVENTIONS: tuple[Intervention, ...] = ("permuted", "averaged")


class Effect(NamedTuple):
    """Effect of one intervention."""

    change: float
    """Mean absolute change of the pixels in the hole, levels of 8 bits."""
    size: float
    """Norm of the change of the feature, divided by the norm of the feature's deviation from its mean over images."""


def decode(generator: Generator, skips: list[Tensor], features: Features) -> Tensor:
    """Return the generator's image, N×3×H×W, for given skips and (perhaps altered) features."""
    equalized = generator.equalization(generator.fuse(concatenate(*features)))
    image: Tensor = generator.decoder(generator.paths(skips, equalized))
    return image


def derangement(count: int, seed: int) -> list[int]:
    """Return a random permutation of 0 … count - 1 that is one cycle: with two or more, nothing stays in its place."""
    order = np.random.default_rng(seed).permutation(count)
    partner = np.empty(count, dtype=int)
    partner[order] = np.roll(order, 1)
    return [int(index) for index in partner]


def intervene(feature: Tensor, basis: Array, kind: Intervention, partners: list[int]) -> Tensor:
    """Return a feature N×C×G×G with its component in the span of `basis` (C×k) replaced, all else untouched.

    - `permuted`: by the same component of another image at the same cell. Over all images the component takes exactly
      the values that it had, so norms and statistics at every cell are kept; only what it says of this image is lost.
    - `averaged`: by the component's mean over images at the same cell (mean ablation).
    """
    own = component(feature, basis)
    other = own[partners] if kind == "permuted" else own.mean(dim=0, keepdim=True)
    return feature - own + other


@torch.no_grad()
def intervention_effects(
    generator: Generator,
    images: Tensor,
    masks: Tensor,
    bases: Mapping[str, Mapping[str, Array]],
    *,
    seed: int = 0,
    batch_size: int = 32,
) -> dict[str, dict[str, dict[Intervention, Effect]]]:
    """Measure the effect of every intervention on every component of either feature, the other feature left alone.

    Args:
        generator: in evaluation mode.
        images: N×3×S×S in [-1, 1].
        masks: N×1×S×S, 1 = hole.
        bases: feature (`structure`, `texture`) → component → orthonormal basis, C×k.
        seed: of the permutation, one for all components.
        batch_size: images decoded at a time.

    Returns:
        Feature → component → intervention → effect.
    """
    parts = [slice(start, start + batch_size) for start in range(0, len(images), batch_size)]
    skips = [generator.encoder(images[part], masks[part]) for part in parts]
    encoded = [generator.branches(skip, masks[part]) for skip, part in zip(skips, parts, strict=True)]
    features = Features(*(torch.cat(batches) for batches in zip(*encoded, strict=True)))
    holes = masks.expand_as(images) > 0.5

    def decoded(altered: Features) -> Tensor:
        pieces = zip(skips, parts, strict=True)
        return torch.cat([decode(generator, skip, Features(*(f[part] for f in altered))) for skip, part in pieces])

    before = decoded(features)
    partners = derangement(len(images), seed)
    effects: dict[str, dict[str, dict[Intervention, Effect]]] = {}
    for name, components in bases.items():
        feature: Tensor = getattr(features, name)
        deviation = (feature - feature.mean(dim=0)).norm()
        effects[name] = {}
        for label, basis in components.items():
            effects[name][label] = {}
            for kind in INTERVENTIONS:
                altered = intervene(feature, basis, kind, partners)
                after = decoded(features._replace(**{name: altered}))
                change = (after - before)[holes].abs().mean() * 127.5
                effects[name][label][kind] = Effect(float(change), float((altered - feature).norm() / deviation))
    return effects
