"""The folder that uploads and results lie in, emptied by age."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from pathlib import Path

MAX_AGE = 3600.0
"""Seconds that uploads and results are kept."""
_LONGEST_WAIT = 300.0


def forget(folder: Path, age: float, keep: Iterable[str] = ()) -> None:
    """Delete the files below a folder that are older than `age` seconds, and the folders that this leaves empty.

    Age counts from a file's last change of any kind (ctime), which its name or times do not make older than it is.

    Args:
        folder: need not exist.
        age: seconds.
        keep: paths of files that stay.
    """
    kept = set(keep)
    for path in sorted(folder.rglob("*"), reverse=True):  # what is in a folder comes before the folder
        try:
            if time.time() - path.lstat().st_ctime <= age or str(path) in kept:
                continue
            if path.is_dir() and not path.is_symlink():
                path.rmdir()
            else:
                path.unlink()
        except OSError:  # in use, not empty, or gone already
            continue


class Sweeper:
    """Empties a folder by age, again and again, until it is stopped.

    Args:
        folder: the folder.
        age: seconds that files are kept; they are gone a tenth of that, at most five minutes, later.
        keep: files that stay.
    """

    def __init__(self, folder: Path, age: float, keep: Iterable[str] = ()) -> None:
        self._stopped = threading.Event()
        self._arguments = (folder, age, frozenset(keep))
        self._wait = min(age / 10, _LONGEST_WAIT)
        threading.Thread(target=self._sweep, daemon=True, name="sweeper").start()

    def _sweep(self) -> None:
        while not self._stopped.wait(self._wait):
            forget(*self._arguments)

    def stop(self) -> None:
        """End it."""
        self._stopped.set()
