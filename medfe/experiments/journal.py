"""What is said while an experiment runs: a line for each run, and why runs failed."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from medfe.experiments.entry import Entry

_HOPELESS = 3


class Journal:
    """Prints a line for each run with the time left for the experiment, and keeps the lines in a file.

    Args:
        path: The file.
        pending: Estimated seconds of all that is to be done at the beginning, on two cores.
    """

    def __init__(self, path: Path, pending: float) -> None:
        self.path, self.pending = path, pending
        self.started = time.monotonic()

    def say(self, message: str) -> None:
        """Print and keep a line."""
        line = f"{time.strftime('%Y-%m-%d %H:%M:%S')}  {message}"
        print(line, file=sys.stderr, flush=True)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a", encoding="utf-8") as file:
                file.write(line + "\n")
        except OSError as error:  # a disk that is full ends a run, not the experiment
            print(f"{self.path}: not written ({error})", file=sys.stderr, flush=True)

    def begun(self, entry: Entry, *, taken: bool = False) -> None:
        """Report the beginning of a run; `taken`: nothing is trained for it."""
        said = "taken from the package" if taken else f"estimated {clock(entry.estimate().seconds)} on two cores"
        self.say(f"{entry.name}: begun, {said}")

    def done(self, entry: Entry, seconds: float, pending: float) -> None:
        """Report a run and the time left: the estimate, corrected by what was done since the beginning.

        Args:
            entry: The run.
            seconds: That it took.
            pending: Estimated seconds of all that is to be done now, whoever did the rest.
        """
        finished = self.pending - pending
        left = pending * (time.monotonic() - self.started) / finished if finished > 0 else pending
        self.say(f"{entry.name}: done in {clock(seconds)}, about {clock(left)} left for the experiment")


class Failures(dict[str, str]):
    """Why runs failed, by name; three in a row mean that something is wrong with all of them."""

    def __init__(self) -> None:
        super().__init__()
        self.streak = 0

    @property
    def hopeless(self) -> bool:
        """Whether to give up."""
        return self.streak >= _HOPELESS

    def add(self, entry: Entry, reason: str, journal: Journal) -> None:
        """Keep and report a failure."""
        self[entry.name] = reason
        self.streak += 1
        journal.say(f"{entry.name}: failed: {reason}")


def clock(seconds: float) -> str:
    """Return a time as hours:minutes:seconds."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"
