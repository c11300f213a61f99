"""What a benchmark found, and how it is printed, written and read."""

from __future__ import annotations

import json
import platform
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from medfe.errors import MedfeError


@dataclass(frozen=True)
class Timing:
    """Seconds of repeated runs."""

    median: float
    low: float
    """First quartile."""
    high: float
    """Third quartile."""
    best: float

    @classmethod
    def of(cls, seconds: Sequence[float], per: int = 1) -> Timing:
        """Summarize measured runs, each of which did `per` equal things."""
        each = [value / per for value in seconds]
        low, median, high = statistics.quantiles(each, n=4, method="inclusive") if len(each) > 1 else each * 3
        return cls(median, low, high, min(each))

    def __str__(self) -> str:
        digits = 0 if self.median >= 0.1 else 1
        return f"{1000 * self.median:.{digits}f} ms ({1000 * self.low:.{digits}f} to {1000 * self.high:.{digits}f})"


@dataclass(frozen=True)
class Row:
    """One measurement beside its floor."""

    what: str
    time: Timing
    floor: Timing | None = None
    """Time of the least that the computation must do, measured in the same process."""
    floor_name: str = ""
    peak_bytes: int | None = None
    """Peak memory of a process of its own, weights and libraries included."""

    @property
    def ratio(self) -> float | None:
        """Time over floor, medians."""
        return self.time.median / self.floor.median if self.floor else None


def processor_name() -> str:
    """Return the processor's name as the system gives it."""
    information = Path("/proc/cpuinfo")
    if information.exists():
        for line in information.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


@dataclass(frozen=True)
class Result:
    """What one benchmark found."""

    benchmark: str
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()
    processor: str = field(default_factory=processor_name)
    threads: int = field(default_factory=torch.get_num_threads)
    torch: str = torch.__version__

    @property
    def machine(self) -> str:
        """Processor, threads and torch, in words."""
        return f"{self.processor}, {self.threads} threads, torch {self.torch}"

    def text(self) -> str:
        """Return the result as lines."""
        lines = [f"{self.benchmark}: {self.machine}"]
        for row in self.rows:
            lines.append(f"  {row.what}: {row.time}")
            if row.floor:
                lines.append(f"    {row.floor_name}: {row.floor}, ratio {row.ratio:.2f}")
            if row.peak_bytes:
                lines.append(f"    peak memory of the process: {row.peak_bytes / 1e9:.2f} GB")
        return "\n".join([*lines, *(f"  {note}" for note in self.notes)])

    def as_dict(self) -> dict[str, Any]:
        """Return the result as JSON-able values."""
        rows = [{**asdict(row), "ratio": row.ratio} for row in self.rows]
        return {**asdict(self), "rows": rows}

    def save(self, path: Path) -> None:
        """Write the result as JSON."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(self.as_dict(), indent=2) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> Result:
        """Read a result that `save` wrote.

        Raises:
            MedfeError: if the file is missing or holds something else.
        """
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
            rows = [{name: value for name, value in row.items() if name != "ratio"} for row in values["rows"]]
            times = [
                {name: Timing(**row[name]) if row[name] is not None else None for name in ("time", "floor")}
                for row in rows
            ]
            made = tuple(Row(**{**row, **time}) for row, time in zip(rows, times, strict=True))
            return cls(**{**values, "rows": made, "notes": tuple(values["notes"])})
        except FileNotFoundError:
            raise MedfeError(f"{path}: no such file, expected one that medfe benchmark --out wrote") from None
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            raise MedfeError(
                f"{path}: not the result of a benchmark, expected what medfe benchmark --out wrote"
            ) from None


def markdown(results: Sequence[Result]) -> str:
    """Return the rows of results as one table for each machine, the machine and the results' notes below it."""
    return "\n\n".join(
        _table([result for result in results if result.machine == machine])
        for machine in dict.fromkeys(result.machine for result in results)
    )


def _table(results: Sequence[Result]) -> str:
    lines = ["| what | time, median (quartiles) | beside | ratio | peak memory |", "|---|---|---|---|---|"]
    for row in (row for result in results for row in result.rows):
        floor = f"{row.floor}, {row.floor_name}" if row.floor else "–"
        ratio = f"{row.ratio:.2f}" if row.ratio else "–"
        memory = f"{row.peak_bytes / 1e9:.2f} GB" if row.peak_bytes else "–"
        lines.append(f"| {row.what} | {row.time} | {floor} | {ratio} | {memory} |")
    notes = dict.fromkeys(note for result in results for note in result.notes)
    return "\n".join([*lines, "", f"{results[0].machine}.", *notes])
