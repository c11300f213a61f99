"""Speed and memory of the app: from pressing the button to having the pictures, for one visitor and for many."""

from __future__ import annotations

import contextlib
import importlib.util
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from medfe.benchmark.results import Result, Row, Timing
from medfe.benchmark.visitor import AppError, Visitor
from medfe.data.masks import Mask, make_mask
from medfe.data.samples import portraits
from medfe.errors import MedfeError
from medfe.inference import Inpainter

MODELS = ("faces128/low_resolution", "faces128/autoencoder")
_SIDE = 128
_FLOORS = 50  # requests beside which the models alone are timed
_ROUNDING = 1  # levels that a result may be off: sums in another order where thread counts differ


class Server(NamedTuple):
    """A running app."""

    address: str
    process: int

    def memory(self) -> dict[str, int]:
        """Return its memory now (`VmRSS`) and at its peak (`VmHWM`), bytes; empty where the system does not tell."""
        status = Path(f"/proc/{self.process}/status")
        if not status.exists():
            return {}
        words = (line.split() for line in status.read_text(encoding="utf-8").splitlines())
        return {word[0].rstrip(":"): 1024 * int(word[1]) for word in words if word[0] in ("VmRSS:", "VmHWM:")}


@contextlib.contextmanager
def running(models: Sequence[str]) -> Iterator[Server]:
    """Start the app as a process of its own, on this machine alone, and end it at last.

    Raises:
        MedfeError: the app is not installed, or ends at once.
    """
    if importlib.util.find_spec("demo") is None or importlib.util.find_spec("gradio") is None:
        raise MedfeError('benchmark app: the app is not installed, expected pip install "medfe[demo]"')
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-u", "-m", "demo", "--port", str(port), "--device", "cpu", "--no-shipped", "--models"]
    with subprocess.Popen([*command, *models], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        try:
            assert process.stdout is not None
            said = []
            for line in process.stdout:
                said.append(line.strip())
                address = next((word for word in line.split() if word.startswith("http://")), None)
                if address:
                    yield Server(address, process.pid)
                    return
            raise MedfeError(f"benchmark app: the app ended and said: {' '.join(said[-3:])}")
        finally:
            process.terminate()


class Task(NamedTuple):
    """A picture and a hole that no other visitor has, and what the models make of them."""

    picture: Image.Image
    hole: Mask
    expected: list[NDArray[np.uint8]]

    def check(self, pictures: Sequence[NDArray[np.uint8]]) -> None:
        """Compare what a visitor got.

        Raises:
            AppError: it is not this visitor's own right result.
        """
        truth = np.asarray(self.picture)
        original, masked, *results = pictures
        if not np.array_equal(original, truth) or not np.array_equal((masked != truth).any(axis=2), self.hole):
            raise AppError("a visitor got somebody else's picture or hole")
        for result, expected in zip(results, self.expected, strict=True):
            off = np.abs(result.astype(int) - expected)
            if off[~self.hole].any() or off.max() > _ROUNDING:
                raise AppError(f"a visitor got a result that is off by {off.max()} levels")


def make_task(seed: int, inpainters: Sequence[Inpainter]) -> Task:
    """Return the task of a seed: a portrait in colours of its own, with a brush's hole."""
    rng = np.random.default_rng(seed)
    names = sorted(portraits())
    portrait = portraits()[names[seed % len(names)]].resize((_SIDE, _SIDE), Image.Resampling.BICUBIC)
    # So dark that no pixel has the colour in which holes are shown: it would be missing from the hole that is checked.
    tint = rng.uniform(0.2, 0.45, 3)
    picture = Image.fromarray((np.asarray(portrait) * tint).round().astype(np.uint8))
    hole = make_mask("brush", _SIDE, rng)
    return Task(picture, hole, [np.asarray(inpainter(picture, hole)) for inpainter in inpainters])


def benchmark_app(requests: int, visitors: int, models: Sequence[str] = MODELS) -> Result:
    """Measure the app as its visitors see it, every result checked.

    One visitor presses the button `requests` times, one after another; then `visitors`, each with a picture and a hole
    of their own, press it at the same moment. The time goes from pressing the button, the drawing's upload included,
    until all pictures have been fetched. The floor is the models alone on the same picture, in this process.

    Args:
        requests: runs of the first visitor.
        visitors: visitors at once.
        models: models compared.

    Raises:
        MedfeError: the app cannot be started, or a visitor got an error or a wrong result.
    """
    if min(requests, visitors) < 1:
        raise MedfeError(f"benchmark app: found --requests {requests} --visitors {visitors}, expected at least 1 each")
    inpainters = [Inpainter.from_pretrained(model, "cpu") for model in models]
    tasks = [make_task(seed, inpainters) for seed in range(visitors)]
    with running(models) as server:
        try:
            floors, alone = one_visitor(server.address, tasks[0], inpainters, requests)
            before = server.memory()
            together = many_visitors(server.address, tasks)
            after = server.memory()
        except AppError as error:
            raise MedfeError(f"benchmark app: {error}") from None
    names = f"{len(models)} models"
    what = f"app, from the button to the pictures, {names}"
    peak = after.get("VmHWM")
    notes = [
        f"app: 95th percentile of {requests} runs by one visitor {1000 * np.quantile(alone, 0.95):.0f} ms; "
        f"of {visitors} visitors at once {1000 * np.quantile(together, 0.95):.0f} ms, "
        "who wait for each other; every result was right."
    ]
    if peak:
        notes.append(
            f"app: memory of the server {before['VmRSS'] / 1e9:.2f} GB after {requests} runs, "
            f"{after['VmRSS'] / 1e9:.2f} GB after {requests + visitors}."
        )
    rows = (
        Row(f"{what}, one visitor", Timing.of(alone), Timing.of(floors), "the models alone", peak),
        Row(f"{what}, {visitors} visitors at once", Timing.of(together)),
    )
    return Result("app", rows, tuple(notes))


def one_visitor(
    address: str, task: Task, inpainters: Sequence[Inpainter], requests: int
) -> tuple[list[float], list[float]]:
    """Return seconds of the models alone, and of runs through the app; they take turns."""
    visitor = Visitor(address)
    visitor.choose(task.picture)
    task.check(visitor.fill(task.hole))  # the first run warms up
    floors, seconds = [], []
    for request in range(requests):
        started = time.perf_counter()
        pictures = visitor.fill(task.hole)
        seconds.append(time.perf_counter() - started)
        task.check(pictures)
        if request < _FLOORS:
            started = time.perf_counter()
            for inpainter in inpainters:
                inpainter(task.picture, task.hole)
            floors.append(time.perf_counter() - started)
    return floors, seconds


def many_visitors(address: str, tasks: Sequence[Task]) -> list[float]:
    """Return the seconds that each visitor waits, all having pressed the button at once."""
    visitors = [Visitor(address) for _ in tasks]
    with ThreadPoolExecutor(len(tasks)) as pool:
        list(pool.map(lambda visitor, task: visitor.choose(task.picture), visitors, tasks))

        def fill(visitor: Visitor, task: Task) -> float:
            started = time.perf_counter()
            pictures = visitor.fill(task.hole)
            seconds = time.perf_counter() - started
            task.check(pictures)
            return seconds

        return list(pool.map(fill, visitors, tasks))
