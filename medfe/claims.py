"""Claims: one process alone works in a folder, and a dead process claims nothing."""

from __future__ import annotations

import contextlib
import errno
import os
import re
from collections.abc import Iterator
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]


@contextlib.contextmanager
def claim(out: Path, folder: str) -> Iterator[int | None]:
    """Claim a folder of the output for as long as the context lasts.

    The claim is a lock of the operating system on a file, which ends with the process however that dies, and which
    data loaders (forked children) do not inherit. A process must not claim a folder twice: the end of the one claim
    would end the other. Where there are no such locks (Windows, some network drives), two processes are on their own.

    Yields:
        None if the claim is ours, else the number of the process that has it (0 if unknown).
    """
    path = out / ".claims" / (re.sub(r"[^\w.+-]+", "_", folder) + ".lock")
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as file:
        if fcntl is not None:
            try:
                fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                if error.errno in (errno.EACCES, errno.EAGAIN):
                    file.seek(0)
                    text = file.read().strip()
                    yield int(text) if text.isdigit() else 0
                    return
        file.seek(0)
        file.truncate()
        file.write(str(os.getpid()))
        file.flush()
        yield None
