"""Pictures of the report: original, hole, and every method's filling, of random and of telling items."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from medfe.data.images import center_square, resize
from medfe.data.masks import mask_to_tensor
from medfe.data.samples import portraits
from medfe.evaluation.contrasts import choose_pairs
from medfe.evaluation.metrics import image_metrics
from medfe.evaluation.names import title
from medfe.evaluation.protocol import Measurements
from medfe.evaluation.summaries import values_of
from medfe.evaluation.testset import Batch

RANDOM_ROWS = 3
MASKS_A_PORTRAIT = 6
Picture = NDArray[np.uint8]


@dataclass(frozen=True)
class Row:
    """One row of the gallery; pictures are uint8 S×S×3.

    Attributes:
        caption: What it shows, and why it was chosen.
        pictures: Original, the original with a white hole, then the methods' pictures, in their order.
    """

    caption: str
    pictures: tuple[Picture, ...]


def gallery(measured: Measurements) -> list[Row]:
    """Return seeded random rows, and the best, median and worst item by the first pair's difference in the hole.

    The photographs are portraits that come with dependencies, under masks of the test set, unless the settings say that
    the data may be shown.
    """
    metric = "lpips_hole" if measured.judges.lpips is not None else "l1_hole"
    pairs = choose_pairs(measured)
    if measured.settings.show_data_images:
        names = [f"item {item}" for item in range(len(measured.testset))]
        candidates = None
        values = [values_of(measured, method, metric)[0] for method in (pairs[0] if pairs else ())]
    else:
        names, candidates = _portraits(measured)
        by_name = {method.name: method for method in measured.methods}
        values = [
            image_metrics(by_name[method](*candidates), *candidates, lpips=measured.judges.lpips)[metric].numpy()
            for method in (pairs[0] if pairs else ())
        ]
    difference = values[0] - values[1] if values else None
    chosen = choose(len(names), difference, measured.settings.seed, pairs[0] if pairs else ("", ""))
    rows = []
    for item, reasons in chosen.items():
        one = _one(candidates, item) if candidates is not None else measured.testset.batch(range(item, item + 1))
        filled = [method(*one) for method in measured.methods]
        white = torch.where(one.masks > 0.5, torch.full_like(one.images, 255), one.images)
        why = ", ".join(reasons)
        if difference is not None:
            why += f"; {title(metric)}: {pairs[0][0]} − {pairs[0][1]} {difference[item]:+.4f}".replace("-", "−")
        rows.append(Row(f"{names[item]}: {why}", tuple(_picture(images) for images in (one.images, white, *filled))))
    return rows


def choose(
    count: int, difference: NDArray[np.float64] | None, seed: int, pair: tuple[str, str]
) -> dict[int, list[str]]:
    """Return the items to show, and why: random ones, then the lowest, median and highest first − second.

    Args:
        count: Number of items to choose from.
        difference: (count,) of a metric of which less is better; None: random ones only.
        seed: Of the random choice.
        pair: Names of first and second.
    """
    drawn = np.random.default_rng(seed).permutation(count)[:RANDOM_ROWS]
    chosen: dict[int, list[str]] = {int(item): ["random"] for item in drawn}
    if difference is not None:
        order = [item for item in np.argsort(difference, kind="stable").tolist() if np.isfinite(difference[item])]
        places = ((f"best for {pair[0]}", 0), ("median", (len(order) - 1) // 2), (f"best for {pair[1]}", -1))
        for reason, place in places if order else ():
            chosen.setdefault(order[place], []).append(reason)
    return chosen


def _portraits(measured: Measurements) -> tuple[list[str], Batch]:
    """Return portraits under different masks of the test set."""
    size, testset = measured.image_size, measured.testset
    order = np.random.default_rng(measured.settings.seed).permutation(len(testset)).tolist()
    masks: list[NDArray[np.bool_]] = []
    for item in order:
        mask = testset.mask(item)
        if not any(np.array_equal(mask, other) for other in masks):
            masks.append(mask)
        if len(masks) == MASKS_A_PORTRAIT:
            break
        if len(masks) == 1 and item == order[min(64, len(order) - 1)]:
            break  # all alike, such as centre masks
    names, images, holes = [], [], []
    for name, portrait in portraits().items():
        image = resize(center_square(portrait), size)
        for mask in masks:
            names.append(name.replace("_", " ").title())
            images.append(torch.from_numpy(np.array(image)).movedim(-1, 0))
            holes.append(mask_to_tensor(mask))
    return names, Batch(torch.stack(images), torch.stack(holes))


def _one(batch: Batch, item: int) -> Batch:
    return Batch(batch.images[item : item + 1], batch.masks[item : item + 1])


def _picture(images: Tensor) -> Picture:
    return images[0].movedim(0, -1).numpy()
