"""Smoothing many photographs: a folder of files, and the processes that share the work, one core each."""

from __future__ import annotations

import functools
import itertools
import multiprocessing
import os
import signal
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

from medfe.config import RtvConfig
from medfe.data.files import find_images
from medfe.data.images import load_image, save_png, to_tensor, to_uint8
from medfe.errors import MedfeError
from medfe.interrupts import deferred_interrupt, end_with_parent
from medfe.targets.rtv import smooth

Item = TypeVar("Item")

REFERENCE_SIDE = 256
"""Shorter side, in pixels, of the image that `RtvConfig.sigma` is meant for."""


@dataclass
class Report:
    """What became of the photographs."""

    made: int = 0
    """Smoothed now."""
    present: int = 0
    """Found already done."""
    unreadable: dict[Path, str] = field(default_factory=dict)
    """Files that could not be read, with the reason."""
    interrupted: bool = False
    """Ctrl-C, or the end of the time there was, came before the end; run again to go on."""

    def __str__(self) -> str:
        lines = [f"{self.made} smoothed, {self.present} already there, {len(self.unreadable)} unreadable"]
        lines += [f"  {reason}" for reason in self.unreadable.values()]
        return "\n".join(lines + ["interrupted; run again to go on"] * self.interrupted)


def smooth_photograph(photograph: NDArray[np.uint8], config: RtvConfig) -> NDArray[np.uint8]:
    """Return the structure image of one photograph, uint8 H×W×3.

    `config.sigma` is scaled by the shorter side / 256. Rounding to 8 bits adds at most 1/510 (0.002 of the range) to
    the exact solution, as much as the photograph itself was rounded by.
    """
    values = to_tensor(photograph)[None].add(1).div(2)
    parameters = config.model_dump()
    parameters["sigma"] *= min(photograph.shape[:2]) / REFERENCE_SIDE
    return to_uint8(smooth(values, **parameters)[0] * 2 - 1)


def smooth_folder(source: Path, out: Path, config: RtvConfig, workers: int | None = None) -> Report:
    """Smooth every photograph below `source` into a PNG of the same relative name below `out`.

    What is there already is left alone, and a file appears only when it is whole, so an interrupted run can be
    repeated. Shows a progress bar.

    Args:
        source: folder of images, searched recursively; of any size, see `smooth_photograph`.
        out: folder for the results, outside of `source`; made if missing.
        config: parameters.
        workers: processes; default: one for each core.

    Raises:
        MedfeError: no images, `out` within `source`, or two images that would get the same name.
    """
    source, out = Path(source), Path(out)
    if out.resolve().is_relative_to(source.resolve()):
        raise MedfeError(f"{out}: lies within {source}, whose images are read; expected a folder outside of it")
    targets: dict[Path, Path] = {}
    for path in find_images(source):
        target = out / path.relative_to(source).with_suffix(".png")
        if target in targets:
            raise MedfeError(f"{path}: would overwrite the result of {targets[target].name}; rename one of them")
        targets[target] = path
    missing = [(path, target) for target, path in targets.items() if not target.exists()]
    report = run_parallel(functools.partial(_smooth_file, config=config), missing, label="Smoothing", workers=workers)
    report.present += len(targets) - len(missing)
    return report


def _smooth_file(item: tuple[Path, Path], config: RtvConfig) -> bool:
    path, target = item
    try:
        photograph = np.asarray(load_image(path))
    except MedfeError as error:
        raise UnreadableError(path, str(error)) from None
    save_png(smooth_photograph(photograph, config), target)
    return True


class UnreadableError(Exception):
    """One photograph cannot be read: the others go on."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(path, reason)
        self.path = path
        self.reason = reason


def run_parallel(
    work: Callable[[Item], bool],
    items: Sequence[Item],
    *,
    label: str,
    workers: int | None = None,
    stop: Callable[[], bool] = lambda: False,
    quiet: bool = False,
) -> Report:
    """Call `work` for each item in processes of one thread each, with a progress bar on standard error.

    Ctrl-C, or `stop`, lets the items in work end, starts no other, and returns.

    Args:
        work: picklable; returns False for an item that was done already; raises `UnreadableError` to skip one.
        items: picklable.
        label: name beside the bar.
        workers: processes, 1 for this one; default: one for each core that this process may use.
        stop: asked between items, once one has been done that was not done already, so that every call gets further.
        quiet: no progress bar.

    Raises:
        MedfeError: raised by `work`, or a worker was killed.
    """
    if workers is not None and workers < 1:
        raise MedfeError(f"workers: found {workers}, expected at least 1")
    report = Report()
    workers = min(workers or available_cores(), len(items))
    if not items:
        return report
    queue = iter(items)
    running: set[Future[bool]] = set()
    # A process gets `work` once: it may hold a whole data set, which takes longer to send than an item to be done.
    call = work if workers == 1 else _work
    with _progress(quiet) as progress, _pool(workers, work) as pool:
        bar = progress.add_task(label, total=len(items))

        def submit(count: int) -> None:
            with deferred_interrupt():  # processes inherit it: Ctrl-C is for this one alone
                running.update(pool.submit(call, item) for item in itertools.islice(queue, count))

        try:
            submit(2 * workers)
            while running:
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    _count(future, report)
                    running.remove(future)
                    progress.advance(bar)
                    submit(1)
                if running and report.made and stop():
                    raise KeyboardInterrupt  # what follows is the same
        except KeyboardInterrupt:
            report.interrupted = True
            pool.shutdown(wait=True, cancel_futures=True)
            for future in running:
                if not future.cancelled():
                    _count(future, report)
        except BrokenProcessPool:
            raise MedfeError("a worker process was killed, probably for lack of memory; try fewer workers") from None
    return report


def _pool(workers: int, work: Callable[[Item], bool]) -> Executor:
    if workers == 1:  # not worth the seconds that a process takes to start
        return ThreadPoolExecutor(1)
    context = multiprocessing.get_context("spawn")  # forking a process whose libraries have threads may hang
    return ProcessPoolExecutor(workers, context, _start_worker, (work,))


def _count(future: Future[bool], report: Report) -> None:
    try:
        made = future.result()
    except UnreadableError as error:
        report.unreadable[error.path] = error.reason
    else:
        report.made += made
        report.present += not made


def available_cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class _Worker:
    """What a process of the pool holds."""

    work: Callable[[Any], bool]


def _start_worker(work: Callable[[Any], bool]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with_parent()
    torch.set_num_threads(1)
    _Worker.work = staticmethod(work)


def _work(item: Any) -> bool:
    return _Worker.work(item)


class _Speed(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(f"{task.finished_speed or task.speed or 0:.1f} images/s")


def _progress(quiet: bool) -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), _Speed(), TimeRemainingColumn())
    return Progress(*columns, console=Console(stderr=True), disable=quiet)
