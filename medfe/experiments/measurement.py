"""What is measured on a finished run: metrics on held-out photographs, and what its channels do."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from medfe.data.files import find_images
from medfe.data.masks import AREA_BINS
from medfe.evaluation.distances import frechet_distance, kid
from medfe.evaluation.protocol import Measurements, measure
from medfe.evaluation.settings import FRECHET_MINIMUM, EvaluationSettings
from medfe.evaluation.store import Store
from medfe.evaluation.summaries import labels
from medfe.experiments.entry import Workplace

_PHOTOGRAPHS = {"utkface/test": 2551, "utkface/val": 495, "scenes/test": 500}
AREA_METRICS = ("l1_hole", "psnr_hole", "ssim_hole", "lpips_hole")


@dataclass(frozen=True)
class Evaluation:
    """How a run is evaluated.

    Attributes:
        photographs: Folder below --data: central squares of all its photographs, one mask each.
        masks: Kinds of masks.
        channels: Folder below --data whose photographs the channel tables are made of; None: no tables.
        n: At most so many photographs, chosen by the hash of their names; default: all.
    """

    photographs: str
    masks: tuple[str, ...] = ("center", "irregular")
    channels: str | None = None
    n: int | None = None

    @property
    def items(self) -> int:
        """Number of filled images, for estimates: those of the data the experiments were registered with."""
        return len(self.masks) * (self.n or _PHOTOGRAPHS.get(self.photographs, 1000))


def evaluation_settings(
    evaluation: Evaluation, masks: str, image_size: int, methods: tuple[str, ...], place: Workplace
) -> EvaluationSettings:
    """Return the settings of the package's evaluation.

    Every run of one size is evaluated in one folder, so that all see the same stored masks, and features of the
    photographs are computed once. Two processes may write there at once: files appear whole, and equal.
    """
    folder = place.photographs(evaluation.photographs)
    n = None if evaluation.n is None else min(evaluation.n, len(find_images(folder)))
    label = evaluation.photographs.replace("/", "_") + ("" if evaluation.n is None else f"_{evaluation.n}")
    return EvaluationSettings(
        methods=methods, data=folder, masks=masks, n=n,
        out=place.out / "evaluation" / f"{label}_{image_size}_{masks}", image_size=image_size, allow_small=True,
    )  # fmt: skip


def measure_run(
    evaluation: Evaluation, name: str, folder: Path, image_size: int, place: Workplace
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return one row of metrics for each kind of masks, and one for each class of mask area."""
    rows, areas = [], []
    for masks in evaluation.masks:
        settings = evaluation_settings(evaluation, masks, image_size, (f"{name}={folder}",), place)
        measured = measure(settings, Store(settings.out))
        rows.append({"masks": masks, **metrics_row(measured, name)})
        if masks != "center":
            areas += [{"masks": masks, **row} for row in area_rows(measured)]
    return rows, areas


def metrics_row(measured: Measurements, name: str) -> dict[str, Any]:
    """Return means of per-image metrics and set distances of one method.

    Infinite PSNR (no difference at all) and holes without a pixel to judge are left out of the means and counted.
    `small` marks a Fréchet distance of fewer than 2048 images.
    """
    table = measured.table[measured.table["method"] == name]
    values = {metric: table[metric].to_numpy(dtype=np.float64) for metric in measured.metrics}
    photographs = len(np.unique(measured.photographs))
    row: dict[str, Any] = {"images": len(table), "photographs": photographs, "mask_area": table["mask_area"].mean()}
    row |= {metric: float(array[np.isfinite(array)].mean()) for metric, array in values.items()}
    row["left_out"] = max(int(np.sum(~np.isfinite(array))) for array in values.values())
    for embedder in measured.judges.embedders:
        reference, features = measured.reference[embedder.name], measured.features[embedder.name][name]
        row[embedder.kid] = kid(reference, features, **labels(measured))
        row[embedder.frechet] = frechet_distance(reference, features)
    row["small"] = len(measured.reference_photographs) < FRECHET_MINIMUM
    return row


def area_rows(measured: Measurements) -> list[dict[str, Any]]:
    """Return the means of the hole's metrics by class of mask area."""
    rows = []
    metrics = [metric for metric in AREA_METRICS if metric in measured.metrics]
    for name in AREA_BINS:
        part = measured.table[measured.table["area_bin"] == name]
        if len(part):
            finite = part[metrics].replace([np.inf, -np.inf], np.nan)
            rows.append({"area": name, "images": len(part), **{metric: finite[metric].mean() for metric in metrics}})
    return rows


def channel_tables(folder: Path, photographs: Path) -> dict[str, pd.DataFrame]:
    """Return what the channels of a run's features do, as `medfe.analysis.channels` measures it."""
    from medfe.analysis.channels import channel_report  # noqa: PLC0415

    return {"channels" if name == "channels" else f"channel_{name}": table
            for name, table in channel_report(folder, photographs).items()}  # fmt: skip
