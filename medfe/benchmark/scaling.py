"""Speed of a training step by threads and processes: one process, two that share a batch, two of their own.

The floor of two cores is half the time of one: what perfect scaling would take.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch

from medfe.benchmark.forward import sample_batch
from medfe.benchmark.measure import WARM_UPS
from medfe.benchmark.results import Result, Row, Timing
from medfe.benchmark.step import TrainingPrecision, build_run
from medfe.config import RunConfig
from medfe.errors import MedfeError


@dataclass(frozen=True)
class Arrangement:
    """How a machine's cores are used.

    Attributes:
        name: In words.
        processes: Number of processes.
        threads: Threads of each.
        together: Whether the processes share every batch (DDP over gloo), or each has its own training.
    """

    name: str
    processes: int
    threads: int
    together: bool = False

    @property
    def cores(self) -> int:
        """Number of cores it uses."""
        return self.processes * self.threads

    @property
    def batches(self) -> int:
        """Batches that are trained on at once."""
        return 1 if self.together else self.processes


ARRANGEMENTS = (
    Arrangement("1 process of 1 thread", 1, 1),
    Arrangement("1 process of 2 threads", 1, 2),
    Arrangement("2 processes of 1 thread, DDP over gloo", 2, 1, together=True),
    Arrangement("2 independent trainings of 1 thread, side by side", 2, 1),
)


def benchmark_scaling(preset: str, precision: TrainingPrecision, batch_size: int | None, repeats: int) -> Result:
    """Measure a training step on the CPU in every arrangement, one after another, each in processes of its own.

    Args:
        preset: networks, losses and batch size.
        precision: of the training step.
        batch_size: images a step, over all processes that share it; default: the preset's, at least 2.
        repeats: timed steps.

    Raises:
        MedfeError: unknown preset, a batch that two processes cannot share, or a process that fails.
    """
    images = batch_size or max(RunConfig.create(preset).batch_size, 2)  # that of `paper` is 1
    if images % 2:
        raise MedfeError(f"batch_size: found {images}, expected an even number, which two processes can share")
    times = {
        one.name: Timing.of(run_arrangement(one, preset, precision, images, repeats), per=images * one.batches)
        for one in ARRANGEMENTS
    }
    single = times[ARRANGEMENTS[0].name]
    rows, notes = [], []
    for one in ARRANGEMENTS:
        found = times[one.name]
        floor = Timing(*(getattr(single, name) / one.cores for name in ("median", "low", "high", "best")))
        what = f"training step, `{preset}`, {precision}, batch {images}, {one.name}, an image"
        rate, efficiency = 1 / found.median, floor.median / found.median
        if one.cores == 1:
            rows.append(Row(what, found))
            notes.append(f"{one.name}: {rate:.2f} images/s.")
        else:
            rows.append(Row(what, found, floor, f"one thread's time over {one.cores}"))
            notes.append(f"{one.name}: {rate:.2f} images/s, efficiency {100 * efficiency:.0f} %.")
    return Result("scaling", tuple(rows), tuple(notes))


def run_arrangement(
    arrangement: Arrangement, preset: str, precision: TrainingPrecision, batch_size: int, repeats: int
) -> list[float]:
    """Return the seconds of each step; of independent trainings, those of all."""
    port = _free_port() if arrangement.together else 0
    with ExitStack() as stack:
        started = [
            stack.enter_context(_start(arrangement, rank, port, preset, precision, batch_size, repeats))
            for rank in range(arrangement.processes)
        ]
        try:
            for process in started:
                _answer(process)
            for process in started:  # all at once, when the last is ready
                _tell(process)
            return [second for process in started for second in json.loads(_answer(process))]
        finally:
            for process in started:
                process.kill()


def measure_here(
    preset: str, precision: TrainingPrecision, batch_size: int, repeats: int, threads: int, processes: int
) -> None:
    """Measure in this process, when standard input says so, and print the seconds of each step as JSON."""
    torch.set_num_threads(threads)
    run = build_run(preset, precision, batch_size, processes=processes)
    image, mask = sample_batch(run.config.generator, batch_size // processes)
    batch = {"image": image, "mask": mask, "structure": image}
    print("ready", flush=True)
    sys.stdin.readline()
    seconds = []
    for step in range(1, WARM_UPS + repeats + 1):
        start = time.perf_counter()
        run.advance(batch, step)
        seconds.append(time.perf_counter() - start)
    print(json.dumps(seconds[WARM_UPS:]), flush=True)


def _start(arrangement: Arrangement, rank: int, port: int, *settings: Any) -> subprocess.Popen[str]:
    processes = arrangement.processes if arrangement.together else 1
    arguments = (*settings, arrangement.threads, processes)
    environment = {**os.environ, "OMP_NUM_THREADS": str(arrangement.threads)}
    if arrangement.together:  # with these Fabric takes the processes as they are and starts no more
        environment |= {
            "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "NODE_RANK": "0", "LOCAL_RANK": str(rank),
        }  # fmt: skip
    code = f"from medfe.benchmark.scaling import measure_here; measure_here(*{arguments!r})"
    return subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True, env=environment,
    )  # fmt: skip


def _answer(process: subprocess.Popen[str]) -> str:
    """Return the next line that is one: libraries print others."""
    lines: Sequence[str] = []
    if process.stdout is not None:
        for line in process.stdout:
            if line.startswith(("ready", "[")):
                return line
    if process.stderr is not None:
        lines = process.stderr.read().strip().splitlines()
    raise MedfeError(f"scaling: a process failed ({lines[-1] if lines else 'without a word'})")


def _tell(process: subprocess.Popen[str]) -> None:
    if process.stdin is not None:
        process.stdin.write("\n")
        process.stdin.flush()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
