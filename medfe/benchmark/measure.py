"""How time and memory are measured."""

from __future__ import annotations

import gc
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

WARM_UPS = 2


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


def peak_memory(module: str, call: str) -> int | None:
    """Return the peak memory, bytes, of a new process that makes a function and runs it three times.

    None where the system does not tell, as on Windows.

    Args:
        module: module of `medfe.benchmark`.
        call: expression in it that returns the function.
    """
    code = (
        f"from medfe.benchmark import {module} as module; from medfe.benchmark.measure import peak_resident_bytes; "
        f"run = module.{call}; run(); run(); run(); print(peak_resident_bytes())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    found = done.stdout.split()[-1]
    return None if found == "None" else int(found)


def peak_resident_bytes() -> int | None:
    """Return this process's peak memory, bytes; None where the system does not tell."""
    status = Path("/proc/self/status")
    if status.exists():  # getrusage would count the parent's memory too, as it was when this process was started
        line = next(line for line in status.read_text(encoding="utf-8").splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    try:
        import resource  # noqa: PLC0415 - Windows has none
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
