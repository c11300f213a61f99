"""Child processes, each of which runs one entry."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO

from medfe.experiments.entry import Entry, Workplace

FAILED = 2
"""Exit code of a worker that ended with a user's mistake, in the last line of its log."""
STOPPED = 3
"""Exit code of a worker that was stopped before its entry was complete."""
TAKEN = 4
"""Exit code of a worker whose entry another process works on."""
_GRACE_SECONDS = 120.0


@dataclass(frozen=True)
class Ended:
    """A worker that has ended; `failure` is None after success, empty if another process had the entry."""

    entry: Entry
    seconds: float
    failure: str | None


@dataclass(frozen=True)
class _Worker:
    entry: Entry
    process: subprocess.Popen[bytes]
    log: Path
    file: IO[bytes]
    begin: int
    """Length of the log before, which is that of all attempts."""
    started: float


class Workers:
    """The children of this process; none outlives it.

    A child has one thread. It holds the reading end of a pipe, its standard input, and stops when this process is gone
    (see `medfe.experiments.stopping.Stop`). Its output goes to OUT/logs.

    Args:
        place: Experiment and folders.
    """

    def __init__(self, place: Workplace) -> None:
        self.place = place
        self._running: list[_Worker] = []

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        for worker in self._running:
            worker.process.send_signal(signal.SIGTERM)
        limit = time.monotonic() + _GRACE_SECONDS
        for worker in self._running:
            try:
                worker.process.wait(max(0.0, limit - time.monotonic()))
            except subprocess.TimeoutExpired:
                worker.process.kill()
                worker.process.wait()
            _close(worker)
        self._running.clear()

    def entries(self) -> list[Entry]:
        """Return the entries that are being run."""
        return [worker.entry for worker in self._running]

    def start(self, entry: Entry) -> None:
        """Start a child for an entry."""
        place = self.place
        log = place.out / "logs" / f"{place.experiment.name}_{entry.name}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        file = log.open("ab")
        begin = log.stat().st_size
        command = [
            sys.executable, "-m", "medfe.experiments.worker", place.experiment.name, entry.name,
            *map(str, (place.data, place.out, place.results)),
        ]  # fmt: skip
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=file, stderr=file, env={**os.environ, "OMP_NUM_THREADS": "1"}
        )
        self._running.append(_Worker(entry, process, log, file, begin, time.monotonic()))

    def ended(self) -> list[Ended]:
        """Return those that have ended since the last call."""
        over = [worker for worker in self._running if worker.process.poll() is not None]
        for worker in over:
            self._running.remove(worker)
            _close(worker)
        return [Ended(worker.entry, time.monotonic() - worker.started, _failure(worker)) for worker in over]


def _close(worker: _Worker) -> None:
    worker.file.close()
    if worker.process.stdin is not None:
        worker.process.stdin.close()


def _failure(worker: _Worker) -> str | None:
    code = worker.process.returncode
    if code == 0:
        return None
    if code == TAKEN:
        return ""
    if code == STOPPED:
        return "stopped from outside"
    written = worker.log.read_bytes()[worker.begin :].decode("utf-8", errors="replace").strip().splitlines()
    last = written[-1] if written else "it wrote nothing"
    return f"exit code {code}: {last} (log: {worker.log})"
