"""Weight files: safetensors whose metadata say which network they belong to. No pickle is ever read here."""

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from medfe.errors import MedfeError

GENERATOR_FILE = "generator.safetensors"
"""Name of a generator's weight file in its run folder."""

_METADATA_KEY = "medfe"


class WeightFile(NamedTuple):
    """Content of a weight file."""

    tensors: dict[str, Tensor]
    """In float32 whatever the file stores."""
    metadata: dict[str, Any]
    """`kind` (`generator`, `texture` or `structure`), `config`, and what else was said about the run."""


def save_weights(
    path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, Any], *, dtype: torch.dtype = torch.float32
) -> None:
    """Write tensors and metadata (JSON-able) atomically; floating-point tensors are stored as `dtype`.

    Except the noise that partial convolutions of the convention `published` divide by: its sums nearly cancel, and
    half precision would change features by a third. It stays in float32.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.part")  # always the same, so that kills leave no heap of them
    stored = {
        name: tensor.detach().cpu().to(_stored_type(name, tensor, dtype)).contiguous().clone()
        for name, tensor in tensors.items()
    }
    content = save(stored, metadata={_METADATA_KEY: json.dumps(metadata)})
    try:
        with temporary.open("wb") as file:  # safetensors' own writer would let nobody else read it
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _stored_type(name: str, tensor: Tensor, dtype: torch.dtype) -> torch.dtype:
    if not tensor.is_floating_point():
        return tensor.dtype
    return torch.float32 if name.rpartition(".")[2] == "mask_weight" else dtype


def read_metadata(path: Path) -> dict[str, Any]:
    """Read what a weight file says about itself, its header alone; empty for a file of another writer.

    Raises:
        MedfeError: if the file is missing or damaged.
    """
    try:
        with safe_open(path, framework="pt") as file:
            metadata = json.loads((file.metadata() or {}).get(_METADATA_KEY, "{}"))
    except (SafetensorError, OSError, ValueError):
        raise MedfeError(f"{path}: damaged") from None
    return metadata if isinstance(metadata, dict) else {}


def load_weights(path: Path, kind: str | None = None) -> WeightFile:
    """Read a weight file.

    Args:
        path: safetensors file.
        kind: what its metadata must say it holds.

    Raises:
        MedfeError: if the file is missing, damaged, not safetensors, without our metadata, or of another kind.
    """
    if not path.is_file():
        raise MedfeError(f"{path}: no such weight file")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = json.loads((file.metadata() or {}).get(_METADATA_KEY, "null"))
            tensors = {name: _single(file.get_tensor(name)) for name in file.keys()}  # noqa: SIM118 - not a dict
    except (SafetensorError, OSError, ValueError) as error:
        raise MedfeError(
            f"{path}: not a readable safetensors file ({error}); truncated, or of another format?"
        ) from None
    if not isinstance(metadata, dict):
        raise MedfeError(f"{path}: a safetensors file without medfe's metadata; it was not written by medfe")
    if kind is not None and metadata.get("kind") != kind:
        raise MedfeError(f"{path}: holds a {metadata.get('kind')!r}, expected a {kind!r}")
    return WeightFile(tensors, metadata)


def weights_digest(path: Path) -> str:
    """Return the SHA-256 of all tensors, rounded to float16: a file and the float16 copy of it have the same.

    Raises:
        MedfeError: as `load_weights`.
    """
    digest = hashlib.sha256()
    for name, tensor in sorted(load_weights(path).tensors.items()):
        stored = tensor.half() if tensor.is_floating_point() else tensor
        digest.update(f"{name} {stored.dtype} {tuple(stored.shape)}\n".encode())
        digest.update(stored.contiguous().numpy().tobytes())
    return digest.hexdigest()


def commit_words(metadata: Mapping[str, Any]) -> str:
    """Return the commits of the code that made weights, in words; several where a training was gone on with."""
    commits = str(metadata.get("commit") or "").split()
    return f"commits {', then '.join(commits)}" if len(commits) > 1 else f"commit {''.join(commits) or 'unknown'}"


def _single(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.is_floating_point() else tensor


def fill(module: nn.Module, tensors: Mapping[str, Tensor], source: Path) -> None:
    """Load `tensors` into `module`.

    Raises:
        MedfeError: naming the first tensor that is missing, too many, or of another shape.
    """
    own = module.state_dict()
    for name in sorted(own.keys() | tensors.keys()):
        if name not in tensors:
            raise MedfeError(f"{source}: tensor {name} is missing; a checkpoint of another preset or version?")
        if name not in own:
            raise MedfeError(f"{source}: tensor {name} is not part of the network; a checkpoint of another preset?")
        if own[name].shape != tensors[name].shape:
            found, expected = tuple(tensors[name].shape), tuple(own[name].shape)
            raise MedfeError(f"{source}: {name} is {found}, expected {expected}; a checkpoint of another preset?")
    module.load_state_dict(tensors)
