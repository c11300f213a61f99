"""The protocol: every method fills the same holes of the same images, and everything is measured batch by batch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from medfe.data.masks import MaskFolder, parse_masks
from medfe.devices import choose_device
from medfe.errors import MedfeError
from medfe.evaluation.distances import Labels
from medfe.evaluation.embeddings import TEACHERS, Features, Judges, find_judges
from medfe.evaluation.methods import Method, load_methods
from medfe.evaluation.metrics import LOWER_IS_BETTER
from medfe.evaluation.processes import complete
from medfe.evaluation.settings import EvaluationSettings, check_number
from medfe.evaluation.store import Store
from medfe.evaluation.testset import TestSet
from medfe.evaluation.work import METRICS, ORIGINALS, Work, batches, key

__all__ = ["ORIGINALS", "Measurements", "batches", "choose_endpoint", "choose_size", "key", "measure"]

FEWEST_PHOTOGRAPHS = 4
DEFAULT_SIZE = 256


@dataclass(frozen=True)
class Measurements:
    """What was measured.

    Attributes:
        settings: How.
        image_size: Side of the images, pixels.
        methods: What filled the holes.
        judges: What judged.
        table: One row per (method, image, mask): where it comes from, mask area, per-image metrics.
        features: For each embedder's name and method's name, N×d.
        reference: For each embedder's name, M×d of the originals.
        photographs: (N,) labels of the photographs behind a method's images.
        reference_photographs: (M,) labels of the photographs behind the originals.
        testset: Images and masks.
        endpoint: Primary metric.
    """

    settings: EvaluationSettings
    image_size: int
    methods: tuple[Method, ...]
    judges: Judges
    table: pd.DataFrame
    features: dict[str, dict[str, Features]]
    reference: dict[str, Features]
    photographs: Labels
    reference_photographs: Labels
    testset: TestSet
    endpoint: str

    @property
    def metrics(self) -> list[str]:
        """Names of the per-image metrics."""
        return [name for name in self.table.columns if name.removesuffix("_hole") in LOWER_IS_BETTER]


def measure(settings: EvaluationSettings, store: Store) -> Measurements:
    """Run every method on every image and mask, as far as results are not stored.

    Args:
        settings: What to do.
        store: Folder of results.

    Raises:
        MedfeError: bad settings, too few images, a method that fails, or a full disk; earlier results are kept.
    """
    if settings.n is not None:
        check_number(settings, settings.n)
    methods = load_methods(settings.methods, settings.device)
    size = choose_size(methods, settings.image_size)
    for pair in settings.contrasts:
        for name in pair:
            if name not in {method.name for method in methods}:
                raise MedfeError(f"contrast: found no method {name!r}, expected two of {', '.join(settings.methods)}")
    judges = find_judges(
        settings.backbones,
        inception_weights=settings.inception_weights,
        lpips_weights=settings.lpips_weights,
        device=choose_device(settings.device),
    )
    endpoint = choose_endpoint(settings.endpoint, judges)
    testset = TestSet(
        settings.data, size, settings.n, part=settings.split, layout=settings.layout, crop=settings.crop,
        seed=settings.seed,
    )  # fmt: skip
    check_number(settings, len(testset.images))
    if len(np.unique(testset.photographs)) < FEWEST_PHOTOGRAPHS:
        found = len(np.unique(testset.photographs))
        raise MedfeError(f"{settings.data}: found {found} photographs, expected at least {FEWEST_PHOTOGRAPHS}")
    _claim(settings, testset, store)
    complete(Work(settings, store, testset, methods, judges))
    return _collect(settings, store, testset, tuple(methods), judges, endpoint)


def choose_size(methods: list[Method], asked: int | None) -> int:
    """Return the side of the images: the models' own.

    Raises:
        MedfeError: if another was asked for.
    """
    own = next((method for method in methods if method.image_size is not None), None)
    if own is None or own.image_size is None:
        return asked or DEFAULT_SIZE
    if asked is not None and asked != own.image_size:
        raise MedfeError(f"image_size: found {asked}, expected {own.image_size}, at which {own.name} works")
    return own.image_size


def choose_endpoint(asked: str | None, judges: Judges) -> str:
    """Return the primary metric: the one asked for, else the first judge's KID, else L1 in the hole.

    A network that training losses look through is no judge.

    Raises:
        MedfeError: if the one asked for cannot be computed, is a Fréchet distance, or comes from such a network.
    """
    kids = [embedder.kid for embedder in judges.embedders if embedder.name not in TEACHERS]
    metrics = [name for name in LOWER_IS_BETTER if name != "lpips" or judges.lpips is not None]
    available = kids + [name + suffix for name in metrics for suffix in ("", "_hole")]
    if asked is not None and asked not in available:
        missing = "".join(f"; {what}" for what in judges.missing)
        raise MedfeError(f"endpoint: found {asked!r}, expected one of: {', '.join(available)}{missing}")
    return asked or (kids[0] if kids else "l1_hole")


def _claim(settings: EvaluationSettings, testset: TestSet, store: Store) -> None:
    """Take stored masks, or draw and store them."""
    rule = settings.masks
    if isinstance(source := parse_masks(rule, settings.hole), MaskFolder):
        rule = f"{Path(rule).name} {source.digest()}"  # wherever it lies; an edited file makes other masks
    identity = {
        "photographs": testset.digest, "images": len(testset.images), "crop": settings.crop,
        "image_size": testset.image_size, "masks": rule,
        "masks_per_image": settings.masks_per_image, "seed": settings.seed, "batch_size": settings.batch_size,
        "hole": settings.hole, "resize_masks": settings.resize_masks,
    }  # fmt: skip
    if store.is_claimed(identity):
        testset.set_masks(store.masks())
        return
    testset.draw_masks(
        settings.masks, settings.masks_per_image, settings.seed, hole=settings.hole, resize=settings.resize_masks
    )
    store.save_masks(testset.packed_masks)
    store.claim(identity)


def _collect(
    settings: EvaluationSettings,
    store: Store,
    testset: TestSet,
    methods: tuple[Method, ...],
    judges: Judges,
    endpoint: str,
) -> Measurements:
    size = settings.batch_size
    starts = [batch.start for batch in batches(len(testset), size)]
    rows, where = [], testset.table()
    for method in methods:
        values = store.load(key(method), METRICS, starts)
        if judges.lpips is not None:
            values |= store.load(key(method), judges.lpips_piece, starts)
        rows.append(where.assign(**values).assign(method=method.name))
    table = pd.concat(rows, ignore_index=True)
    table.insert(0, "method", table.pop("method"))
    pieces = {embedder.name: embedder.piece for embedder in judges.embedders}
    originals = [batch.start for batch in batches(len(testset.images), size)]
    return Measurements(
        settings=settings, image_size=testset.image_size, methods=methods, judges=judges, table=table,
        features={
            name: {method.name: store.load(key(method), piece, starts)["features"] for method in methods}
            for name, piece in pieces.items()
        },
        reference={name: store.load(ORIGINALS, piece, originals)["features"] for name, piece in pieces.items()},
        photographs=np.repeat(testset.photographs, testset.masks_per_image),
        reference_photographs=testset.photographs,
        testset=testset,
        endpoint=endpoint,
    )  # fmt: skip
