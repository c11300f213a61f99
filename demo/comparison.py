"""One run: every model fills the same hole of the same picture; what came out, measured and saved."""

from __future__ import annotations

import shutil
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from matplotlib import colormaps
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from demo.models import Contender
from demo.pictures import view_size
from medfe.data.images import resize
from medfe.data.masks import Mask, center_mask, check_mask

TRUTH, MASKED = "Ground truth", "Masked input"
FILL = (123, 104, 117)  # what the encoder sees in the hole, medfe.config.RGB_MEAN
COLORS = "magma"
"""Colour map of the difference pictures."""
_RUNS = "runs"
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


@dataclass(frozen=True)
class Panel:
    """One result: a title, the picture at full size, and how near it comes to the ground truth within the hole."""

    title: str
    file: Path
    l1: float
    """Mean absolute difference, units of [0, 1]."""
    psnr: float
    """dB."""
    ssim: float
    """1 is equal; NaN where no window fits."""
    milliseconds: float
    """Time the model took, everything between picture in and picture out."""


@dataclass(frozen=True)
class Comparison:
    """Ground truth, masked input and results of one run, as files in a folder of their own."""

    size: tuple[int, int]
    """Width and height of every picture, pixels."""
    share: float
    """Share of the hole, 0 to 1."""
    truth: Path
    masked: Path
    hole: Path
    """The mask as a PNG, white = hole."""
    panels: tuple[Panel, ...]
    """In the order they are shown."""
    blind: bool
    """The titles are withheld until one has been picked."""

    @property
    def name(self) -> str:
        """Name of the run's folder, which no other run has."""
        return self.truth.parent.name

    def files(self) -> list[Path]:
        """Return all files of the run."""
        return [self.truth, self.masked, self.hole, *(panel.file for panel in self.panels)]

    def titles(self) -> list[str]:
        """Return the titles that are shown: the models', or letters."""
        return [f"Picture {_LETTERS[i % 26]}" if self.blind else p.title for i, p in enumerate(self.panels)]

    def named(self) -> Comparison:
        """Return the same results under the models' titles."""
        return replace(self, blind=False)

    def pictures(self) -> dict[str, Path]:
        """Return title → file, ground truth and masked input first."""
        files = [panel.file for panel in self.panels]
        return {TRUTH: self.truth, MASKED: self.masked} | dict(zip(self.titles(), files, strict=True))


def compare(
    picture: Image.Image,
    hole: Mask,
    contenders: Sequence[Contender],
    cache: Path,
    *,
    blind: bool = False,
    progress: Callable[[int, str], None] | None = None,
) -> Comparison:
    """Fill the hole with every model.

    Args:
        picture: RGB.
        hole: H×W, True = hole.
        contenders: the models.
        cache: folder below which this run's folder is made.
        blind: shuffle the results and withhold their titles.
        progress: called before each model with the number of those done and the title of the next.

    Raises:
        MedfeError: an empty or a full mask.
    """
    check_mask(hole, "hole")
    folder = cache / _RUNS / uuid.uuid4().hex
    truth = np.asarray(picture)
    masked = truth.copy()
    masked[hole] = FILL
    order = np.random.default_rng().permutation(len(contenders)) if blind else range(len(contenders))
    panels = []
    for position, index in enumerate(order):
        title, inpainter = contenders[index]
        if progress is not None:
            progress(position, f"Picture {_LETTERS[position % 26]}" if blind else title)
        started = time.perf_counter()
        filled = inpainter(picture, hole)
        milliseconds = 1000 * (time.perf_counter() - started)
        # Files are numbered by position: their names reach the browser and must not tell in a blind comparison.
        file = _save(filled, folder / f"{position + 1}.png")
        panels.append(Panel(title, file, *hole_metrics(filled, picture, hole), milliseconds))
    return Comparison(
        size=picture.size,
        share=float(hole.mean()),
        truth=_save(picture, folder / "ground-truth.png"),
        masked=_save(Image.fromarray(masked), folder / "masked-input.png"),
        hole=_save(Image.fromarray(hole.astype(np.uint8) * 255), folder / "mask.png"),
        panels=tuple(panels),
        blind=blind,
    )


def rehearse(contenders: Sequence[Contender], cache: Path) -> None:
    """Do a run that nobody looks at: the first one loads and prepares much that later ones find ready."""
    picture = Image.new("RGB", (128, 128))
    run = compare(picture, center_mask(128), contenders, cache)
    shutil.rmtree(run.truth.parent)


def _save(image: Image.Image, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, format="PNG", compress_level=1)  # a quarter of the time for a fifth more bytes
    return path


def hole_metrics(filled: Image.Image, truth: Image.Image, hole: Mask) -> tuple[float, float, float]:
    """Return L1, PSNR and SSIM over the hole, of the pictures as they are shown.

    Pictures that are too large for the page are measured shrunk, as shown. Only the hole's surroundings are looked at,
    which gives the same values as the whole picture does.
    """
    from medfe.evaluation.metrics import SSIM_RADIUS, image_metrics  # noqa: PLC0415 - seconds; the page comes first

    size = view_size(truth.size)
    cover = Image.fromarray(hole.astype(np.float32)).resize(size, Image.Resampling.BOX)
    small_hole = np.asarray(cover) > 0
    rows, columns = (np.flatnonzero(small_hole.any(axis=axis)) for axis in (1, 0))
    # A margin of one window: at most 2 · radius + 1 more is needed for a tiny hole to hold one.
    margin = 2 * SSIM_RADIUS + 1
    window = np.s_[
        max(rows[0] - margin, 0) : rows[-1] + 1 + margin, max(columns[0] - margin, 0) : columns[-1] + 1 + margin
    ]
    one, two = (
        torch.from_numpy(np.asarray(resize(image, size))[window].copy()).permute(2, 0, 1)[None]  # 1×3×h×w
        for image in (filled, truth)
    )
    mask = torch.from_numpy(small_hole[window].copy()).float()[None, None]  # 1×1×h×w
    values = image_metrics(one, two, mask)
    return tuple(float(values[name]) for name in ("l1_hole", "psnr_hole", "ssim_hole"))  # type: ignore[return-value]


def shown(file: Path) -> Path | Image.Image:
    """Return a result as the page shows it: the file itself, or the picture shrunk to `medfe`'s view."""
    with Image.open(file) as image:
        size = view_size(image.size)
        return file if size == image.size else resize(image.convert("RGB"), size)


def differences(comparison: Comparison) -> tuple[list[Image.Image], float]:
    """Return the results' absolute differences to the ground truth as colours, and the difference at the scale's end.

    The difference of a pixel is the mean over its colours, units of [0, 1]. The scale is common to all results and ends
    at the 99.5th percentile of the hole's differences.
    """
    truth = _view(comparison.truth)
    distances = [np.abs(_view(panel.file) - truth).mean(axis=2) for panel in comparison.panels]
    hole = np.asarray(resize(Image.open(comparison.hole), view_size(comparison.size))) >= 128
    inside = np.concatenate([distance[hole] for distance in distances]) if hole.any() else np.zeros(1)
    end = max(float(np.percentile(inside, 99.5)), 1 / 255)
    return [_colored(distance / end) for distance in distances], end


def _view(file: Path) -> NDArray[np.floating]:
    with Image.open(file) as image:
        return np.asarray(resize(image.convert("RGB"), view_size(image.size)), dtype=np.float32) / 255


def _colored(values: NDArray[np.floating]) -> Image.Image:
    return Image.fromarray((colormaps[COLORS](np.clip(values, 0, 1))[..., :3] * 255).round().astype(np.uint8))


def scale_colors(steps: int = 9) -> list[str]:
    """Return the colours of the difference scale, from no difference to its end, as #rrggbb."""
    table = (colormaps[COLORS](np.linspace(0, 1, steps))[:, :3] * 255).round().astype(int)
    return [f"#{r:02x}{g:02x}{b:02x}" for r, g, b in table]


def downloads(comparison: Comparison) -> list[Path]:
    """Write the grid and each picture, at full size and under their titles, and return the files."""
    folder = comparison.truth.parent / ("blind" if comparison.blind else "named")
    files = []
    for title, file in comparison.pictures().items():
        with Image.open(file) as image:
            files.append(_save(image.convert("RGB"), folder / f"{file_name(title)}.png"))
    files.append(_save(Image.open(comparison.hole), folder / "mask.png"))
    return [_save(grid(comparison), folder / "grid.png"), *files]


def file_name(title: str) -> str:
    """Return a title as a file name: lower case, words joined by hyphens."""
    return "-".join("".join(c if c.isalnum() or c == "+" else " " for c in title.lower()).split())


def grid(comparison: Comparison) -> Image.Image:
    """Return all pictures side by side at the size they are shown, each under its title."""
    width, height = view_size(comparison.size)
    scale = max(1, round(256 / max(width, height)))
    width, height = width * scale, height * scale
    gap, line = 8, 24
    pictures = comparison.pictures()
    sheet = Image.new("RGB", (gap + len(pictures) * (width + gap), line + height + 2 * gap), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(14)
    for number, (title, file) in enumerate(pictures.items()):
        left = gap + number * (width + gap)
        draw.text((left, gap), title, fill="black", font=font)
        with Image.open(file) as image:
            tile = resize(image.convert("RGB"), view_size(image.size))
            sheet.paste(tile.resize((width, height), Image.Resampling.NEAREST), (left, gap + line))
    return sheet
