"""How things are timed, what a result holds, and how it is printed."""

from __future__ import annotations

import gc
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

WARM_UPS = 2


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

    def _machine(self) -> str:
        return f"{self.processor}, {self.threads} threads, torch {self.torch}"

    def text(self) -> str:
        """Return the result as lines."""
        lines = [f"{self.benchmark}: {self._machine()}"]
        for row in self.rows:
            lines.append(f"  {row.what}: {row.time}")
            if row.floor:
                lines.append(f"    {row.floor_name}: {row.floor}, ratio {row.ratio:.2f}")
            if row.peak_bytes:
                lines.append(f"    peak memory of the process: {row.peak_bytes / 1e9:.2f} GB")
        return "\n".join([*lines, *(f"  {note}" for note in self.notes)])

    def markdown(self) -> str:
        """Return the result as a table, the machine named below it."""
        lines = ["| what | time, median (quartiles) | floor | ratio | peak memory |", "|---|---|---|---|---|"]
        for row in self.rows:
            floor = f"{row.floor}, {row.floor_name}" if row.floor else "–"
            ratio = f"{row.ratio:.2f}" if row.ratio else "–"
            memory = f"{row.peak_bytes / 1e9:.2f} GB" if row.peak_bytes else "–"
            lines.append(f"| {row.what} | {row.time} | {floor} | {ratio} | {memory} |")
        return "\n".join([*lines, "", f"{self._machine()}.", *self.notes])

    def as_dict(self) -> dict[str, Any]:
        """Return the result as JSON-able values."""
        rows = [{**asdict(row), "ratio": row.ratio} for row in self.rows]
        return {**asdict(self), "rows": rows}


def alternate(functions: dict[str, Callable[[], Any]], repeats: int) -> dict[str, list[float]]:
    """Time functions in turn, `repeats` times each after warming up, so that all see the same machine.

    Returns:
        Seconds of each run, by name.
    """
    times: dict[str, list[float]] = {name: [] for name in functions}
    for turn in range(WARM_UPS + repeats):
        for name, function in functions.items():
            gc.collect()
            start = time.perf_counter()
            function()
            if turn >= WARM_UPS:
                times[name].append(time.perf_counter() - start)
    return times


def peak_memory(module: str, call: str) -> int:
    """Return the peak memory, bytes, of a new process that makes a function and runs it three times.

    Args:
        module: module of `medfe.benchmark`.
        call: expression in it that returns the function.
    """
    code = (
        f"from medfe.benchmark import {module} as module; from medfe.benchmark.measure import peak_resident_bytes; "
        f"run = module.{call}; run(); run(); run(); print(peak_resident_bytes())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return int(done.stdout.split()[-1])


def peak_resident_bytes() -> int:
    """Return this process's peak memory, bytes."""
    status = Path("/proc/self/status")
    if status.exists():  # getrusage would count the parent's memory too, as it was when this process was started
        line = next(line for line in status.read_text(encoding="utf-8").splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
