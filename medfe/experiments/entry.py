"""What an experiment is made of: entries, each a piece of work with a name, a seed, and what must exist before it."""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import reduce
from pathlib import Path
from typing import Any, NamedTuple

from medfe.config import Settings
from medfe.errors import MedfeError
from medfe.experiments.stopping import Stop

MACHINE_SETTINGS = (
    "workers", "save_every", "log_every", "compile", "data.root", "data.cache", "losses.backbone_weights",
    "target.autoencoders", "initial_weights",
)  # fmt: skip
"""Settings of a training that change neither data nor weights, or name files of a machine."""
LATER_SETTINGS = {"data.color_jitter": 0.0, "losses.composite": False}
"""Settings that came after the first records, with their defaults: those are left out, so that older digests hold."""


class Estimate(NamedTuple):
    """What an entry costs on two CPU cores."""

    seconds: float
    """Training and evaluation."""
    disk: float
    """Bytes that stay in the output folder."""


@dataclass(frozen=True, kw_only=True)
class Entry(ABC):
    """A piece of work: a training with its evaluation, or a comparison of finished ones.

    Attributes:
        name: Unique in the experiment; the name of its files in the results.
        folder: Where its weights lie, relative to the output folder. Entries of two experiments that are the same
            training have the same folder, and it is trained once.
        arm: Label in tables: entries of one arm differ by seed alone.
        seed: Seed of all of it.
        needs: Names of the entries whose weights it starts from.
    """

    name: str
    folder: str
    arm: str
    seed: int = 0
    needs: tuple[str, ...] = ()

    @abstractmethod
    def settings(self, experiment: Experiment) -> dict[str, Any]:
        """Return everything that decides the result, as JSON-able values without a path of this machine."""

    @abstractmethod
    def estimate(self) -> Estimate:
        """Return what it costs."""

    @abstractmethod
    def has_weights(self, place: Workplace) -> bool:
        """Tell whether what others need of it is complete in the output folder.

        Raises:
            MedfeError: if the folder holds a run with other settings.
        """

    @abstractmethod
    def run(self, place: Workplace) -> dict[str, Any]:
        """Do the work as far as it is not done, and return what goes into the record beside name, settings and digest.

        Raises:
            Interrupted: stopped before it was complete; the next call goes on.
            MedfeError: data or weights are missing, or the folder holds a run with other settings.
        """

    def requires(self, experiment: Experiment) -> tuple[str, ...]:
        """Return the names of all entries whose weights must be there before it runs: `needs`, and what those need."""
        del experiment
        return self.needs

    def requires_now(self, place: Workplace) -> tuple[str, ...]:
        """Return those of `requires` that it cannot go on without, as far as it is done."""
        return self.requires(place.experiment)

    def can_restore(self, place: Workplace) -> bool:
        """Tell of an entry that is recorded whether `restore` can take its weights from the package."""
        del place
        return False

    def restore(self, place: Workplace) -> None:
        """Make the weights again that others start from; its record is there and stays.

        Raises:
            Interrupted, MedfeError: as `run`.
        """
        self.run(place)

    def digest(self, experiment: Experiment) -> str:
        """Return a short hash of the settings, the same on every machine."""
        text = json.dumps(self.settings(experiment), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]


class Contrast(NamedTuple):
    """A difference first − second of one metric, paired by seed."""

    first: str
    """Arm."""
    second: str
    """Arm."""
    metric: str
    """Column of the metrics."""
    masks: str
    """Kind of masks."""


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """A registered experiment.

    Attributes:
        name: As on the command line.
        question: What it asks, for the report.
        entries: In the order in which they run.
        primary: The registered endpoint; None: no verdict.
        secondary: Tested too, with Holm's correction over all of them.
        descriptive: Pairs of arms (first, second) of which all else is shown without a test.
        relative_margin: Size of the claim as a share of the mean of the second arm's primary metric.
        notes: Sentences for the report.
    """

    name: str
    question: str
    entries: tuple[Entry, ...]
    primary: Contrast | None = None
    secondary: tuple[Contrast, ...] = ()
    descriptive: tuple[tuple[str, str], ...] = ()
    relative_margin: float | None = None
    notes: tuple[str, ...] = ()

    def __getitem__(self, name: str) -> Entry:
        for entry in self.entries:
            if entry.name == name:
                return entry
        raise MedfeError(f"experiment {self.name}: no run {name!r} in it")

    def choose(self, only: tuple[str, ...]) -> list[Entry]:
        """Return the entries of these names, or with these parts in their names; all without any.

        Raises:
            MedfeError: if a word fits none.
        """
        if not only:
            return list(self.entries)
        chosen: set[str] = set()
        for word in only:
            names = [entry.name for entry in self.entries]
            found = [word] if word in names else [name for name in names if word in name]
            if not found:
                raise MedfeError(f"--only {word}: no run of {self.name} is called so, expected part of {names[0]}, …")
            chosen |= set(found)
        return [entry for entry in self.entries if entry.name in chosen]


@dataclass(frozen=True, kw_only=True)
class Workplace:
    """Where an experiment runs.

    Attributes:
        experiment: Which.
        data: Folder with utkface/ and scenes/ in it.
        out: Folder for weights and features.
        results: Folder for records and tables.
        stop: Tells when to stop.
    """

    experiment: Experiment
    data: Path
    out: Path
    results: Path
    stop: Stop = field(default_factory=Stop)

    def folder(self, entry: Entry) -> Path:
        """Return the folder of an entry's weights."""
        return self.out / entry.folder

    def photographs(self, name: str) -> Path:
        """Return a folder of photographs.

        Raises:
            MedfeError: if it is not there.
        """
        folder = self.data / name
        if not folder.is_dir():
            raise MedfeError(f"{folder}: no such folder, expected the photographs of {name} in --data {self.data}")
        return folder


def training_settings(config: Settings) -> dict[str, Any]:
    """Return what of a training's settings decides its result, as JSON-able values."""
    values = config.model_dump(mode="json")
    unchanged = [name for name, value in LATER_SETTINGS.items() if _setting(values, name) == value]
    return without(values, *MACHINE_SETTINGS, *unchanged)


def _setting(values: Any, name: str) -> Any:
    """Return the value of a dotted name in a nested mapping, None where it has no such name."""
    return reduce(lambda inner, key: (inner or {}).get(key), name.split("."), values)


def without(values: Mapping[str, Any], *names: str) -> dict[str, Any]:
    """Return a nested mapping without these dotted names."""
    kept = {key: dict(value) if isinstance(value, Mapping) else value for key, value in values.items()}
    for name in names:
        first, _, rest = name.partition(".")
        if rest and isinstance(kept.get(first), dict):
            kept[first] = without(kept[first], rest)
        else:
            kept.pop(first, None)
    return kept
