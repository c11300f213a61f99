"""The released MEDFE and MEDFE+CAE code: where its tensors belong in our networks, and how its files are read.

The released checkpoints are `EN.pth` (encoder), `DE.pth` (decoder) and `MEDFE.pth` (bottleneck, and the RGB read-out
of MEDFE or the auto-encoders of MEDFE+CAE), each `{'net': state dict, 'optimize': …}` or a bare state dict, with or
without DataParallel's prefix.
"""

import pickle
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from medfe.config import AutoencoderKind, GeneratorConfig
from medfe.errors import MedfeError

Variant = Literal["medfe", "medfe_cae"]
State = dict[str, Tensor]
KeyMap = dict[str, str]  # our key → published key

READOUT = "loss.0.down_model.0"
ENCODERS = "loss.0.down_model_{plural}."
_SCALE_AND_SHIFT = ("weight", "bias")


def published_config(variant: Variant) -> GeneratorConfig:
    """Return the configuration of a released network."""
    return GeneratorConfig(convention="published", head="norm_lrelu" if variant == "medfe" else "tanh")


def encoder_keys() -> KeyMap:
    """Map the encoder's keys; `stages.0.0.weight` has six input channels there and four here."""
    keys = {}
    for stage in range(6):
        convolution = 0 if stage == 0 else 1
        parts = [(convolution, convolution)] + ([(2, 2)] if 0 < stage < 5 else [])
        for ours, theirs in parts:
            for name in _SCALE_AND_SHIFT:
                keys[f"encoder.stages.{stage}.{ours}.{name}"] = f"Encoder_{stage + 1}.model.{theirs}.{name}"
    for block in range(4):
        for layer in (1, 5):
            keys[f"encoder.residual.{block}.body.{layer}.weight"] = f"middle.{block}.conv_block.{layer}.weight"
    # Ours lists pad, convolution, norm, ReLU, pad, convolution, norm: the same indices as theirs.
    return keys


def decoder_keys() -> KeyMap:
    """Map the decoder's keys."""
    return {
        f"decoder.stages.{stage}.{layer}.{name}": f"Decoder_{stage + 1}.model.{layer}.{name}"
        for stage in range(6)
        for layer in ((1, 2) if stage < 5 else (1,))
        for name in _SCALE_AND_SHIFT
    }


def bottleneck_keys(variant: Variant) -> KeyMap:
    """Map the bottleneck's keys; `mask_conv` is summed over its input channels here."""
    pairs = {
        "branches.texture_input.paths.0.0": "down_128.model.0",
        "branches.texture_input.paths.0.3": "down_128.model.3",
        "branches.texture_input.paths.1.0": "down_64.model.0",
        "branches.texture_input.paths.2.0": "down_32.model.0",
        "branches.structure_input.convolution": "up.conv",
        "branches.squeeze.0": "down.model.0",
        "fuse.0": "fuse.model.0",
        "equalization.mix": "base.down.0",
        "paths.paths.0.convolution": "up_128.conv",
        "paths.paths.1.convolution": "up_64.conv",
        "paths.paths.2.convolution": "up_32.conv",
        "paths.paths.3.0": "down_16.model.0",
        "paths.paths.4.0": "down_8.model.0",
        "paths.paths.4.3": "down_8.model.3",
        "paths.paths.5.0": "down_4.model.0",
        "paths.paths.5.3": "down_4.model.3",
        "paths.paths.5.6": "down_4.model.6",
    }
    if variant == "medfe_cae":
        pairs["branches.head.0"] = "down_tanh.model.0"
    keys = {f"{ours}.weight": f"pc_block.{theirs}.weight" for ours, theirs in pairs.items()}
    for layer in (0, 2):
        for name in _SCALE_AND_SHIFT:
            keys[f"equalization.excitation.gate.{layer}.{name}"] = f"pc_block.base.model.0.fc.{layer}.{name}"
    for stack, kernel in enumerate((3, 5, 7)):
        for block in range(5):
            ours, theirs = f"branches.filling.stacks.{stack}.blocks.{block}", f"pc_block.cov_{kernel}.{block}"
            keys[f"{ours}.convolution.convolution.weight"] = f"{theirs}.conv.input_conv.weight"
            keys[f"{ours}.convolution.mask_weight"] = f"{theirs}.conv.mask_conv.weight"
            for name in _SCALE_AND_SHIFT:
                keys[f"{ours}.norm.{name}"] = f"{theirs}.bn.{name}"
    return keys


def autoencoder_keys(kind: AutoencoderKind) -> KeyMap:
    """Map the keys of one auto-encoder."""
    blocks = 4 if kind == "texture" else 8  # convolutions of the encoder, the code's included
    keys = {}
    statistics = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    for block in range(blocks):
        layer = 1 + 3 * block
        keys[f"encoder.{block}.0.weight"] = f"model_encode.{layer}.weight"
        if block < blocks - 1:
            for name in statistics:
                keys[f"encoder.{block}.1.{name}"] = f"model_encode.{layer + 1}.{name}"
    for block in range(3):
        layer = 3 * block
        keys[f"decoder.{block}.0.weight"] = f"model_decode.{layer}.weight"
        for name in statistics:
            keys[f"decoder.{block}.1.{name}"] = f"model_decode.{layer + 1}.{name}"
    for name in _SCALE_AND_SHIFT:
        keys[f"decoder.3.0.{name}"] = f"model_decode.10.{name}"
    return keys


def translate(published: Mapping[str, Tensor], keys: KeyMap, source: str) -> State:
    """Return our state dict from a published one.

    Args:
        published: tensors under the released code's names.
        keys: our key → published key.
        source: named in the error.

    Raises:
        MedfeError: if a tensor is missing.
    """
    missing = sorted(set(keys.values()) - published.keys())
    if missing:
        raise MedfeError(
            f"{source}: found {len(keys) - len(missing)} of {len(keys)} tensors of the released code, missing "
            f"{', '.join(missing[:3])}{' …' if len(missing) > 3 else ''}"
        )
    return {ours: _convert(theirs, published[theirs]) for ours, theirs in keys.items()}


def _convert(key: str, tensor: Tensor) -> Tensor:
    if key == "Encoder_1.model.0.weight":  # three equal copies of the mask: one with the summed weights
        return torch.cat([tensor[:, :3], tensor[:, 3:].sum(dim=1, keepdim=True)], dim=1)
    if "mask_conv" in key:  # the mask is the same in all input channels
        return tensor.sum(dim=1, keepdim=True, dtype=torch.float64)  # noise cancels: divisors get as small as 2e-5
    return tensor


def detect_variant(bottleneck: State) -> Variant:
    """Tell MEDFE from MEDFE+CAE by the tanh head that only the latter has."""
    return "medfe_cae" if any("down_tanh" in key for key in bottleneck) else "medfe"


def load_state(path: Path) -> State:
    """Read a released `.pth` file without running any code in it.

    Raises:
        MedfeError: if the file is missing, damaged, holds anything but tensors, or no state dict.
    """
    if not path.is_file():
        raise MedfeError(f"{path}: no such file, expected a checkpoint of the released code")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # torch on the protocol of a pickle that it then refuses
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:  # torch's own text advises to read the file without this protection
        raise MedfeError(
            f"{path}: not a readable file of tensors: found other objects or code, which are never loaded; "
            "expected {'net': …} or a dict of tensors"
        ) from None
    except Exception as error:  # torch raises many kinds for a damaged file
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise MedfeError(f"{path}: not a readable file of tensors ({reason[:120]}); truncated?") from None
    net = content.get("net", content) if isinstance(content, dict) else None
    if not isinstance(net, dict) or not all(isinstance(k, str) and isinstance(v, Tensor) for k, v in net.items()):
        raise MedfeError(f"{path}: found no state dict, expected {{'net': …}} or a dict of tensors")
    return dict(_without_prefix(net))


def _without_prefix(state: Mapping[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    for key, value in state.items():
        yield key.removeprefix("module."), value
