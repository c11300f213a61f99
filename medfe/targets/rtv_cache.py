"""Disk cache of structure images: smoothing takes longer than a training step, and every epoch needs the same ones."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import sys
import uuid
import zipfile
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from medfe.config import RtvConfig
from medfe.errors import MedfeError
from medfe.targets.rtv_folder import Report, UnreadableError, run_parallel, smooth_photograph

Photograph = NDArray[np.uint8]

_VERSION = b"medfe rtv 1"  # change it when the same parameters give other numbers


def default_cache_folder() -> Path:
    """Return `medfe/rtv` in the user's cache folder.

    `XDG_CACHE_HOME` if set; else `LOCALAPPDATA` on Windows, `~/Library/Caches` on macOS, `~/.cache` elsewhere.
    """
    xdg, local = os.environ.get("XDG_CACHE_HOME"), os.environ.get("LOCALAPPDATA")
    if xdg:
        base = Path(xdg)
    elif sys.platform == "win32":
        base = Path(local) if local else Path.home() / "AppData" / "Local"
    else:
        base = Path.home() / ("Library/Caches" if sys.platform == "darwin" else ".cache")
    return base / "medfe" / "rtv"


class RtvCache:
    """Structure images of prepared photographs, computed once; safe for several processes at once.

    An entry is named by a hash of the photograph's pixels and of the parameters, so that a changed file or parameter
    is never mistaken for another. Entries are written whole or not at all, carry a checksum, and are computed anew if
    damaged. Values are rounded to 8 bits, an error of at most 1/510 of the range (see `smooth_photograph`).

    Flips and random crops belong after this: each would be another photograph.

    Args:
        config: parameters; sigma is scaled by the photograph's shorter side / 256.
        folder: where the entries lie; default: `default_cache_folder()`.
    """

    def __init__(self, config: RtvConfig, folder: Path | None = None) -> None:
        self.config = config
        self.folder = default_cache_folder() if folder is None else Path(folder)

    def __call__(self, path: Path, prepared: Photograph) -> Photograph:
        """Return the structure image of a photograph, uint8 H×W×3.

        Args:
            path: the photograph's file, for messages alone.
            prepared: uint8 H×W×3, cropped and resized.

        Raises:
            MedfeError: an array of another type or shape, or the folder cannot be written.
        """
        if prepared.dtype != np.uint8 or prepared.ndim != 3 or prepared.shape[2] != 3:
            shape = "×".join(map(str, prepared.shape))
            raise MedfeError(f"{path}: expected an array of uint8 H×W×3, found {prepared.dtype} {shape}")
        entry = self.entry(prepared)
        structure = _read(entry, prepared.shape)
        if structure is None:
            structure = smooth_photograph(prepared, self.config)
            _write(entry, structure)
        return structure

    def entry(self, prepared: Photograph) -> Path:
        """Return the file that holds, or will hold, the structure image of a photograph."""
        key = hashlib.blake2b(_VERSION, digest_size=16)
        key.update(f"{self.config.model_dump_json()} {prepared.shape}".encode())
        key.update(prepared.tobytes())
        name = key.hexdigest()
        return self.folder / name[:2] / f"{name[2:]}.npz"  # 256 folders: some file systems dislike large ones

    def fill(
        self,
        paths: Sequence[Path],
        prepare: Callable[[Path], Photograph],
        workers: int | None = None,
        *,
        stop: Callable[[], bool] = lambda: False,
        quiet: bool = False,
    ) -> Report:
        """Compute what is missing ahead of a training, on all cores, with a progress bar.

        Args:
            paths: photographs.
            prepare: picklable; reads, crops and resizes a photograph exactly as the training will; a `MedfeError` that
                it raises counts the file as unreadable.
            workers: processes; default: one for each core.
            stop: asked between photographs, once a structure image has been made.
            quiet: no progress bar.
        """
        work = functools.partial(_fill_one, cache=self, prepare=prepare)
        return run_parallel(work, list(paths), label="Structure images", workers=workers, stop=stop, quiet=quiet)


def _fill_one(path: Path, cache: RtvCache, prepare: Callable[[Path], Photograph]) -> bool:
    try:
        prepared = prepare(path)
    except MedfeError as error:
        raise UnreadableError(path, str(error)) from None
    present = _read(cache.entry(prepared), prepared.shape) is not None
    if not present:
        cache(path, prepared)
    return not present


def _read(entry: Path, shape: tuple[int, ...]) -> Photograph | None:
    """Return an entry; None if there is none, or it is damaged."""
    try:
        with np.load(entry, allow_pickle=False) as arrays:
            structure: Photograph = arrays["structure"]  # zip checks its CRC-32
    except (OSError, ValueError, KeyError, EOFError, NotImplementedError, zipfile.BadZipFile, zlib.error):
        return None
    return structure if structure.shape == shape and structure.dtype == np.uint8 else None


def _write(entry: Path, structure: Photograph) -> None:
    partial = entry.with_name(f".{uuid.uuid4().hex}.npz")
    try:
        entry.parent.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(partial, structure=structure)
        try:
            partial.replace(entry)
        except PermissionError:  # Windows, while another process reads the same entry
            if not entry.exists():
                raise
    except OSError as error:
        raise MedfeError(
            f"{entry.parent}: cannot be written ({error.strerror or error}), expected a cache folder"
        ) from None
    finally:
        with contextlib.suppress(OSError):
            partial.unlink()
