"""Speed of a whole training step, beside all the convolutions in it, and of the data that feeds it."""

from __future__ import annotations

import itertools
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from medfe.backbones import Vgg16
from medfe.benchmark.convolutions import record
from medfe.benchmark.forward import sample_batch
from medfe.benchmark.results import Result, Row, Timing
from medfe.benchmark.variants import measure_variants
from medfe.config import DataConfig, RunConfig
from medfe.data.folder import TrainingSamples
from medfe.data.images import save_png
from medfe.data.samples import scenes
from medfe.training.loop import build_fabric, build_loader
from medfe.training.run import Run

TrainingPrecision = Literal["32-true", "bf16-mixed"]
PHOTOGRAPHS = 64


def training_step(
    preset: str,
    precision: TrainingPrecision,
    batch_size: int | None = None,
    *,
    compiled: bool = False,
    checkpointing: bool = False,
) -> Callable[[], Any]:
    """Return a function that trains one step on the CPU, on random images: generator, both critics, all losses."""
    run = build_run(preset, precision, batch_size, compiled=compiled, checkpointing=checkpointing)
    image, mask = sample_batch(run.config.generator, run.config.batch_size)
    batch = {"image": image, "mask": mask, "structure": image}
    steps = itertools.count(1)

    def step() -> None:
        with torch.enable_grad():
            run.advance(batch, next(steps))

    return step


def build_run(
    preset: str,
    precision: TrainingPrecision,
    batch_size: int | None = None,
    *,
    compiled: bool = False,
    checkpointing: bool = False,
    processes: int = 1,
) -> Run:
    """Return a training on the CPU that needs no photographs; with several processes, this one's part of it.

    VGG-16 gets freshly drawn weights.
    """
    changes: dict[str, Any] = {} if batch_size is None else {"batch_size": batch_size}
    config = RunConfig.create(
        preset, "low_resolution", target={"structure_image": "image"}, compile=compiled,
        generator={"checkpointing": checkpointing}, **changes,
    )  # fmt: skip
    strategy = "ddp" if processes > 1 else "auto"
    fabric = build_fabric(precision, accelerator="cpu", devices=processes, strategy=strategy)
    if config.losses.backbone != "vgg16":
        return Run(config, fabric)
    with tempfile.TemporaryDirectory() as folder:
        # Speed, memory and operations do not depend on the weights, so nothing is downloaded for them.
        weights = Path(folder) / "vgg16.pt"
        torch.save({f"features.{key}": value for key, value in Vgg16().steps.state_dict().items()}, weights)
        return Run(config.replace(losses=config.losses.replace(backbone_weights=weights)), fabric)


def benchmark_step(
    preset: str,
    precision: TrainingPrecision,
    batch_size: int | None,
    repeats: int,
    *,
    compiled: bool = False,
    checkpointing: bool = False,
) -> Result:
    """Measure a training step on the CPU beside the convolutions it contains, forward and backward.

    Args:
        preset: networks, losses and batch size.
        precision: `bf16-mixed` or `32-true`.
        batch_size: images a step; default: the preset's.
        repeats: timed steps.
        compiled: measure the step with a generator compiled by torch.compile too.
        checkpointing: measure the step with gradient checkpointing too.

    Raises:
        MedfeError: unknown preset, or the package with the weights of its losses is missing.
    """
    images = batch_size or RunConfig.create(preset).batch_size
    convolutions = record(training_step(preset, precision, batch_size))
    flops = sum(item.flops for item in convolutions) / images / 1e9
    rows, notes = measure_variants(
        training_step,
        (preset, precision, batch_size),
        convolutions,
        repeats,
        what=f"training step, `{preset}`, {precision}, batch {images}, an image",
        floor_name=f"its convolutions alone ({{layout}}, {flops:.2f} GFLOP)",
        images=images,
        compiled=compiled,
        checkpointing=checkpointing,
    )
    return Result("training step", rows, notes)


def benchmark_data(preset: str, precision: TrainingPrecision, photographs: Path | None, steps: int) -> Result:
    """Measure how long training steps wait for data from one worker, after the first two steps.

    Args:
        preset: networks, losses and batch size.
        precision: of the training step.
        photographs: folder; default: a temporary one with crops of photographs that come with the dependencies.
        steps: steps to measure.

    Raises:
        MedfeError: unknown preset, or no photographs.
    """
    with tempfile.TemporaryDirectory() as folder:
        if photographs is None:
            photographs = _write_crops(Path(folder))
        run = build_run(preset, precision)
        size, count = run.config.batch_size, steps + 2
        samples = TrainingSamples(DataConfig(root=photographs), run.config.generator.image_size, 0, count * size)
        loader = iter(build_loader(samples, 0, count, size, 1, run.fabric))
        waits, works = [], []
        for step in range(1, count + 1):
            start = time.perf_counter()
            batch = next(loader)
            ready = time.perf_counter()
            run.advance(batch, step)
            waits.append(ready - start)
            works.append(time.perf_counter() - ready)
        alone_start = time.perf_counter()
        for position in range(size * 2):
            samples[position]
        each = (time.perf_counter() - alone_start) / (2 * size)
    share = sum(waits[2:]) / (sum(waits[2:]) + sum(works[2:]))
    rows = (
        Row(
            f"waiting for data, `{preset}`, {precision}, batch {size}, one worker, an image", Timing.of(waits[2:], size)
        ),
        Row("training on it, an image", Timing.of(works[2:], size)),
    )
    notes = (
        f"Waiting: {100 * share:.2f} % of the time. A sample made in the main process takes {1000 * each:.2f} ms.",
    )
    return Result("data", rows, notes)


def _write_crops(folder: Path) -> Path:
    rng = np.random.default_rng(0)
    pictures = list(scenes().values())
    for number in range(PHOTOGRAPHS):
        picture = np.asarray(pictures[number % len(pictures)])
        top, left = (int(rng.integers(side - 200 + 1)) for side in picture.shape[:2])
        save_png(picture[top : top + 200, left : left + 200], folder / f"{number:03d}.png")
    return folder
