"""A run folder belongs to one training at a time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from lightning_fabric import Fabric

from medfe.claims import claim
from medfe.errors import MedfeError
from medfe.training.checkpoint import STATE_FILE
from medfe.training.loop import anyone

Stamp = tuple[int, int] | None


def state_stamp(folder: Path) -> Stamp:
    """Return what tells one saved state of a run from the next, without reading it; None: there is none."""
    try:
        found = (folder / STATE_FILE).stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size


@contextmanager
def exclusive(folder: Path, seen: Stamp, fabric: Fabric) -> Iterator[None]:
    """Keep other trainings out of a run folder for as long as the context lasts, or the process lives.

    Args:
        folder: run folder; made if it is missing.
        seen: stamp of the state that this training goes on from, taken before it was read.
        fabric: launched Fabric, whose first process holds the folder for all.

    Raises:
        MedfeError: in all processes, if another training is there, or was there after the state had been read.
    """
    refused = ""
    with ExitStack() as stack:
        if fabric.is_global_zero:
            owner = stack.enter_context(claim(folder, "run"))
            if owner is not None:
                refused = f"{folder}: process {owner} trains here, expected another folder, or its end"
            elif state_stamp(folder) != seen:
                refused = f"{folder}: another process has trained here meanwhile; the same command goes on"
        if anyone(fabric, bool(refused)):
            raise MedfeError(refused or f"{folder}: another process trains here")
        yield
