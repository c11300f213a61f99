"""Work done in this process, or shared out to several: the results are the same, and a kill loses what was at work.

Each process takes the next batch when it is done with one. On a CPU each has one thread, and the results of this
package's models and judges are the same bytes; with CUDA the processes take the devices in turn.
"""

from __future__ import annotations

import multiprocessing
import signal
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.queues import SimpleQueue

import cv2
import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from medfe.devices import choose_device
from medfe.errors import MedfeError
from medfe.evaluation.embeddings import find_judges
from medfe.evaluation.methods import load_methods
from medfe.evaluation.settings import EvaluationSettings
from medfe.evaluation.store import Store
from medfe.evaluation.testset import TestSet
from medfe.evaluation.work import ORIGINALS, Task, Work
from medfe.interrupts import deferred_interrupt, end_with_parent

_FEW = 16


def complete(work: Work) -> None:
    """Do all that is missing, with a progress bar on standard error.

    Raises:
        MedfeError: a method fails, the disk is full, or a process was killed; what is stored stays.
    """
    with Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"), TimeRemainingColumn(), console=Console(stderr=True),
    ) as progress:  # fmt: skip
        tasks = list(work.tasks())
        missing = [task for task in tasks if not work.is_done(task)]
        total, left = (sum(len(task.batch) for task in some) for some in (tasks, missing))
        bar = progress.add_task("", total=total, completed=total - left, rate="")
        processes = min(work.settings.processes, len(missing))
        for task in _spread(work, missing, processes) if processes > 1 else _one_after_another(work, missing):
            name = ORIGINALS if task.method is None else work.methods[task.method].name
            rate = f"{progress.tasks[0].speed or 0:.1f} images/s"
            progress.update(bar, advance=len(task.batch), description=name, rate=rate)


def devices(asked: str | None, processes: int) -> list[str]:
    """Return where each process computes: CUDA's devices in turn, unless one is named."""
    device = asked or str(choose_device())
    if device == "cuda":
        return [f"cuda:{number % torch.cuda.device_count()}" for number in range(processes)]
    return [device] * processes


def _one_after_another(work: Work, tasks: Sequence[Task]) -> Iterator[Task]:
    threads = torch.get_num_threads()
    for task in tasks:
        # By the number of threads, torch chooses how to convolve fewer than 16 images, and with it the last bits: such
        # batches are left to one thread, as they are where several processes share the work.
        torch.set_num_threads(1 if len(task.batch) < _FEW else threads)
        try:
            work.do(task)
        finally:
            torch.set_num_threads(threads)
        yield task


def _spread(work: Work, tasks: Sequence[Task], processes: int) -> Iterator[Task]:
    context = multiprocessing.get_context("spawn")  # forking a process whose libraries have threads may hang
    places: SimpleQueue[str] = context.SimpleQueue()
    for device in devices(work.settings.device, processes):
        places.put(device)
    with ProcessPoolExecutor(processes, context, _start, (work.settings, work.testset, places)) as pool:
        try:
            with deferred_interrupt():  # processes inherit it: Ctrl-C is for this one alone
                futures = {pool.submit(_do, task): task for task in tasks}
            for future in as_completed(futures):
                future.result()
                yield futures[future]
        except BrokenProcessPool:
            raise MedfeError(
                "processes: one was killed, probably for lack of memory; results are kept, try fewer --processes"
            ) from None
        except KeyboardInterrupt:
            print("medfe: stopping when the batches at work are done and stored", file=sys.stderr, flush=True)
            raise
        finally:  # after a failure or Ctrl-C, batches at work are ended and stored, others are not begun
            pool.shutdown(wait=True, cancel_futures=True)


class _Process:
    """What a process of the pool holds."""

    settings: EvaluationSettings
    testset: TestSet
    work: Work | None = None


def _start(settings: EvaluationSettings, testset: TestSet, places: SimpleQueue[str]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with_parent()
    torch.set_num_threads(1)
    cv2.setNumThreads(0)
    _Process.settings, _Process.testset = settings.replace(device=str(choose_device(places.get()))), testset


def _do(task: Task) -> None:
    if _Process.work is None:  # here, so that an error while loading reaches the parent as one
        settings = _Process.settings
        _Process.work = Work(
            settings,
            Store(settings.out),
            _Process.testset,
            load_methods(settings.methods, settings.device),
            find_judges(
                settings.backbones,
                inception_weights=settings.inception_weights,
                lpips_weights=settings.lpips_weights,
                device=settings.device or "cpu",
            ),
        )
    _Process.work.do(task)
