"""The work of an evaluation: every batch of originals and of every method, as far as the store lacks it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from medfe.data.images import save_png
from medfe.evaluation.embeddings import Embedder, Judges
from medfe.evaluation.methods import Method
from medfe.evaluation.metrics import image_metrics
from medfe.evaluation.settings import EvaluationSettings
from medfe.evaluation.store import Store
from medfe.evaluation.testset import TestSet

ORIGINALS, METRICS = "originals", "metrics"
"""Names in the store: of the originals' batches, and of a piece of a method's batches."""


class Task(NamedTuple):
    """One batch of the originals or of a method."""

    method: int | None
    """Number of the method; None: the originals."""
    batch: range
    """Images, or items of the test set."""


class _Missing(NamedTuple):
    embedders: list[Embedder]
    metrics: bool = False
    lpips: bool = False
    pngs: dict[int, Path] = {}  # noqa: RUF012 - never changed

    def __bool__(self) -> bool:
        return any(self)


class Work:
    """All that is to be computed, piece by piece.

    Args:
        settings: Batch size, seed, whether PNGs are wanted.
        store: Where results are, and go.
        testset: Images and masks.
        methods: What fills the holes.
        judges: What judges.
    """

    def __init__(
        self, settings: EvaluationSettings, store: Store, testset: TestSet, methods: list[Method], judges: Judges
    ) -> None:
        self.settings, self.store, self.testset = settings, store, testset
        self.methods, self.judges = methods, judges

    def tasks(self) -> Iterator[Task]:
        """Yield every batch, done or not."""
        for method in (None, *range(len(self.methods))):
            count = len(self.testset.images) if method is None else len(self.testset)
            for batch in batches(count, self.settings.batch_size):
                yield Task(method, batch)

    def is_done(self, task: Task) -> bool:
        """Tell whether the store has all of a batch."""
        return not self._missing(task)

    def do(self, task: Task) -> None:
        """Compute and store what the store lacks of a batch.

        Raises:
            MedfeError: if the method fails or the disk is full.
        """
        missing = self._missing(task)
        if task.method is None:
            images = torch.stack([self.testset.image(index) for index in task.batch])
            self._embed(ORIGINALS, images, task, missing)
        elif missing:
            self._measure(self.methods[task.method], task, missing)

    def _measure(self, method: Method, task: Task, missing: _Missing) -> None:
        name, start = key(method), task.batch.start
        images, masks = self.testset.batch(task.batch)
        with torch.random.fork_rng(devices=[]):  # a method that draws at random draws the same when it is run again
            torch.manual_seed(self.settings.seed + start)
            filled = method(images, masks)
        for item, path in missing.pngs.items():
            save_png(filled[item - start].movedim(0, -1).numpy(), path)
        self._embed(name, filled, task, missing)
        if missing.lpips and self.judges.lpips is not None:
            whole, hole = self.judges.lpips(filled, images, masks)
            self.store.save(name, self.judges.lpips_piece, start, {"lpips": whole, "lpips_hole": _array(hole)})
        if missing.metrics:
            values = image_metrics(filled, images, masks)
            self.store.save(name, METRICS, start, {metric: _array(value) for metric, value in values.items()})

    def _embed(self, name: str, images: Tensor, task: Task, missing: _Missing) -> None:
        for embedder in missing.embedders:
            self.store.save(name, embedder.piece, task.batch.start, {"features": embedder(images)})

    def _missing(self, task: Task) -> _Missing:
        method = None if task.method is None else self.methods[task.method]
        name, start = ORIGINALS if method is None else key(method), task.batch.start
        embedders = [one for one in self.judges.embedders if not self.store.has(name, one.piece, start)]
        if method is None:
            return _Missing(embedders)
        return _Missing(
            embedders,
            metrics=not self.store.has(name, METRICS, start),
            lpips=self.judges.lpips is not None and not self.store.has(name, self.judges.lpips_piece, start),
            pngs=self._missing_pngs(method, task.batch),
        )

    def _missing_pngs(self, method: Method, batch: range) -> dict[int, Path]:
        if not self.settings.save_images:
            return {}
        folder = self.store.folder / "images" / self.store.safe(key(method))
        k = self.testset.masks_per_image
        names = {item: f"{item:06d}_{Path(self.testset.names[item // k]).stem}.png" for item in batch}
        return {item: folder / name for item, name in names.items() if not (folder / name).exists()}


def key(method: Method) -> str:
    """Return the name under which a method's batches are stored; another version has another."""
    return f"{method.name}-{method.digest}"


def batches(count: int, size: int) -> Iterator[range]:
    """Yield the ranges of `size` that `count` items fall into."""
    for start in range(0, count, size):
        yield range(start, min(start + size, count))


def _array(values: Tensor | None) -> np.ndarray:
    return np.empty(0) if values is None else values.numpy()
