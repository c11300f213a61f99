"""Checkpoints of the released code for tests: small ones with recorded names, and their tensors under our names."""

import importlib.util
import json
from pathlib import Path

import torch

from medfe.published import (
    ENCODERS,
    READOUT,
    autoencoder_keys,
    bottleneck_keys,
    decoder_keys,
    encoder_keys,
    published_config,
    translate,
)

GOLDEN = Path(__file__).parent / "golden"
KEYS = json.loads((GOLDEN / "reference_keys.json").read_text())
_spec = importlib.util.spec_from_file_location("golden_weights", GOLDEN / "weights.py")
weights = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(weights)

SHRINKING = 16
VARIANTS = ("medfe", "medfe_cae")
KINDS = ("texture", "structure")
PARTS = ("EN.pth", "DE.pth", "MEDFE.pth")


def small_config(variant):
    """The released network with a sixteenth of its channels, at its own 256 pixels: every kernel keeps its size."""
    full = published_config(variant)
    return full.replace(base_channels=full.base_channels // SHRINKING, feature_channels=16)


def shrunken(shape, divide):
    return [count if count in (3, 6) else divide(count) for count in shape[:2]] + shape[2:]


def released(part, divide=lambda count: count // SHRINKING, salt=""):
    entry = KEYS[part]
    return {
        key: torch.from_numpy(weights.golden_tensor(salt + entry["prefix"] + key, tuple(shape), entry["gain"]))
        for key, full in entry["tensors"].items()
        for shape in [shrunken(full, divide)]
    }


def released_autoencoders(redrawn=True):
    """Both auto-encoders as a bottleneck of MEDFE+CAE holds them, no wider than 16 channels."""
    tensors = {}
    for kind in KINDS:
        for key, tensor in released(f"cae_{kind}", lambda count: min(count, 16)).items():
            shift = key.startswith("model_encode") and key.endswith("bias")
            tensors[f"loss.0.down_model_{kind}s.{key}"] = torch.zeros_like(tensor) if shift and redrawn else tensor
    return tensors


def checkpoint(variant):
    autoencoders = released_autoencoders() if variant == "medfe_cae" else {}
    return [released("encoder"), released("decoder"), released(f"bottleneck.{variant}") | autoencoders]


def save(folder, parts, names=PARTS):
    paths = [folder / name for name in names]
    for path, part in zip(paths, parts, strict=True):
        torch.save({"net": part, "optimize": {"state": {}, "param_groups": []}}, path)
    return paths


def critic_keys():
    """Map the keys of one critic with its effective weights (no spectral normalisation)."""
    return {f"stages.{stage}.{name}": f"model.{2 * stage}.{name}" for stage in range(5) for name in ("weight", "bias")}


def spectral_critic_keys():
    """Map the keys of one critic with the old-style spectral normalisation of the released checkpoints."""
    keys = {}
    for stage in range(5):
        ours, theirs = f"stages.{stage}", f"model.{2 * stage}"
        keys[f"{ours}.bias"] = f"{theirs}.bias"
        keys[f"{ours}.parametrizations.weight.original"] = f"{theirs}.weight_orig"
        keys[f"{ours}.parametrizations.weight.0._u"] = f"{theirs}.weight_u"
        keys[f"{ours}.parametrizations.weight.0._v"] = f"{theirs}.weight_v"
    return keys


def generator_state(encoder, decoder, bottleneck, variant):
    """Return the state of `build_generator(published_config(variant))` from three published state dicts."""
    parts = (
        (encoder, encoder_keys(), "encoder"),
        (decoder, decoder_keys(), "decoder"),
        (bottleneck, bottleneck_keys(variant), "bottleneck"),
    )
    state = {}
    for published, keys, source in parts:
        state |= translate(published, keys, source)
    return state


def readout_state(bottleneck):
    """Return the state of the 1×1 read-out (feature channels → RGB) of MEDFE."""
    return translate(bottleneck, {name: f"{READOUT}.{name}" for name in ("weight", "bias")}, "bottleneck")


def encoder_state(bottleneck, kind):
    """Return the state of one auto-encoder that a published MEDFE+CAE checkpoint holds, re-drawn encoder included."""
    prefix = ENCODERS.format(plural=f"{kind}s")
    own = {key.removeprefix(prefix): value for key, value in bottleneck.items() if key.startswith(prefix)}
    return translate(own, autoencoder_keys(kind), f"{kind} auto-encoder")
