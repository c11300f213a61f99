"""The folder of an evaluation: masks, what was computed batch by batch, and the tables made of it.

    evaluation.json            what is compared: data, masks, size, seed
    masks.npz                  the masks, bits packed
    batches/METHOD-DIGEST/     metrics and features, one file a batch and piece
    distances/                 distances between sets with their intervals, by the content they were computed from
    images.parquet  means.csv  sets.csv  contrasts.csv  report.html  summary.md

Every file appears whole or not at all, so a killed run loses the batch it was at, and nothing else.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from medfe.errors import MedfeError

Arrays = dict[str, npt.NDArray[Any]]
_IDENTITY, _MASKS, _BATCHES, _DISTANCES = "evaluation.json", "masks.npz", "batches", "distances"


class Store:
    """The folder of one evaluation.

    Args:
        folder: Made if it is not there.

    Raises:
        MedfeError: if it cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def claim(self, identity: Mapping[str, Any]) -> None:
        """Make this the folder of an evaluation of these settings."""
        self.write(_IDENTITY, (json.dumps(identity, indent=2) + "\n").encode())

    def is_claimed(self, identity: Mapping[str, Any]) -> bool:
        """Tell whether this is the folder of an evaluation of these settings already.

        Raises:
            MedfeError: if it holds an evaluation of other settings, naming those that differ.
        """
        path = self.folder / _IDENTITY
        if not path.exists():
            return False
        try:
            found = dict(json.loads(path.read_text(encoding="utf-8")))
        except (ValueError, TypeError):
            raise MedfeError(f"{path}: damaged; delete {self.folder} to start again") from None
        asked = json.loads(json.dumps(identity))
        names = [name for name in asked if found.get(name) != asked[name]]
        if names:
            listed = ", ".join(f"{name} {found.get(name)!r} there, {asked[name]!r} asked for" for name in names)
            raise MedfeError(f"{self.folder}: holds another evaluation ({listed}); give another --out")
        return True

    def masks(self) -> npt.NDArray[np.uint8]:
        """Return the stored masks, bits packed."""
        return self.read(self.folder / _MASKS)["masks"]

    def save_masks(self, packed: npt.NDArray[np.uint8]) -> None:
        """Store the masks."""
        self.write(_MASKS, _npz({"masks": packed}))

    def has(self, method: str, piece: str, start: int) -> bool:
        """Tell whether a piece of the batch that begins at item `start` is stored."""
        return self._batch(method, piece, start).exists()

    def save(self, method: str, piece: str, start: int, arrays: Mapping[str, npt.ArrayLike]) -> None:
        """Store a piece of a batch."""
        self.write(self._batch(method, piece, start).relative_to(self.folder).as_posix(), _npz(arrays))

    def load(self, method: str, piece: str, starts: Iterable[int]) -> Arrays:
        """Return a piece of all batches, joined along the first axis."""
        parts = [self.read(self._batch(method, piece, start)) for start in starts]
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def distance(self, key: str) -> Arrays | None:
        """Return what is stored under the key of a distance, if anything."""
        path = self.folder / _DISTANCES / f"{key}.npz"
        return self.read(path) if path.exists() else None

    def save_distance(self, key: str, arrays: Mapping[str, npt.ArrayLike]) -> None:
        """Store a distance under a key."""
        self.write(f"{_DISTANCES}/{key}.npz", _npz(arrays))

    def save_table(self, name: str, table: pd.DataFrame) -> None:
        """Write a table as Parquet or CSV, by the ending of its name."""
        buffer = io.BytesIO()
        if name.endswith(".parquet"):
            table.to_parquet(buffer, index=False)
        else:
            table.to_csv(buffer, index=False)
        self.write(name, buffer.getvalue())

    def write(self, name: str, content: bytes) -> None:
        """Write a file of the folder, whole or not at all.

        Raises:
            MedfeError: if the disk is full or the folder not writable.
        """
        path = self.folder / name
        temporary = path.with_name(f"{path.name}.{os.getpid()}.part")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary.write_bytes(content)
            temporary.replace(path)
        except OSError as error:
            with contextlib.suppress(OSError):  # the first error says what is wrong
                temporary.unlink(missing_ok=True)
            raise MedfeError(
                f"{path}: cannot be written ({error.strerror or error}); earlier results are kept, the same command "
                "goes on from there"
            ) from None

    def read(self, path: Path) -> Arrays:
        """Read a file of arrays.

        Raises:
            MedfeError: if it is damaged.
        """
        try:
            with np.load(path, allow_pickle=False) as file:
                return dict(file)
        except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
            raise MedfeError(f"{path}: damaged ({error}); delete it and run the same command again") from None

    def _batch(self, method: str, piece: str, start: int) -> Path:
        return self.folder / _BATCHES / self.safe(method) / f"{start:07d}.{piece}.npz"

    @staticmethod
    def safe(name: str) -> str:
        """Return a name that a file may have."""
        return re.sub(r"[^\w.+-]+", "_", name)


def _npz(arrays: Mapping[str, npt.ArrayLike]) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **{name: np.asarray(array) for name, array in arrays.items()})
    return buffer.getvalue()
