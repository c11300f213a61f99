"""What a training writes while it runs: metrics.jsonl, TensorBoard events, sample grids, progress."""

import json
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from rich.console import Console
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter

from medfe.data.images import save_png, to_uint8
from medfe.training.checkpoint import write_atomically

METRICS_FILE = "metrics.jsonl"
SAMPLES_FOLDER = "samples"
_SILENCE = 30.0  # seconds without a line, after which one is printed


class RunLog:
    """Writes the log of one run; only the first process of a distributed run should have one.

    On resuming at `step`, rows beyond it are dropped, so the log reads as if the run had never stopped.
    """

    def __init__(self, folder: Path, step: int, last_step: int, batch_size: int) -> None:
        self.folder = folder
        self.last_step = last_step
        self.batch_size = batch_size
        self.started, self.first_step = time.monotonic(), step
        self.told = self.started
        self.console = Console(file=sys.stderr)
        self.metrics = folder / METRICS_FILE
        self._drop_rows_after(step)
        for partial in (folder / SAMPLES_FOLDER).glob(".*.png"):  # of a kill amid writing
            partial.unlink()
        self.events = SummaryWriter(str(folder), purge_step=step + 1)

    def _drop_rows_after(self, step: int) -> None:
        if not self.metrics.exists():
            return
        kept = []
        for line in self.metrics.read_text(encoding="utf-8").splitlines():
            try:
                if json.loads(line)["step"] <= step:
                    kept.append(line)
            except ValueError:  # a line cut short by a kill
                continue
        write_atomically(self.metrics, "".join(f"{line}\n" for line in kept))

    def row(self, step: int, values: Mapping[str, float]) -> None:
        """Add a row of scalars and print progress: step, images/s, time left, losses."""
        row = {"step": step, "images": step * self.batch_size, **values}
        with self.metrics.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        for name, value in values.items():
            self.events.add_scalar(name, value, step)
        self._progress(step, " ".join(f"{name} {value:.4g}" for name, value in values.items()))

    def advance(self, step: int, values: Mapping[str, float], *, row: bool) -> None:
        """Add a row if one is due; else print progress if there was none for half a minute."""
        if row:
            self.row(step, values)
        elif time.monotonic() - self.told > _SILENCE:
            self._progress(step)

    def _progress(self, step: int, losses: str = "") -> None:
        self.told = time.monotonic()
        rate = (step - self.first_step) / max(self.told - self.started, 1e-9)
        left = (self.last_step - step) / max(rate, 1e-9)
        line = f"step {step}/{self.last_step}  {rate * self.batch_size:.1f} images/s  {_clock(left)} left  {losses}"
        self.console.print(line.rstrip(), highlight=False, soft_wrap=True)

    def grid(self, step: int, rows: Sequence[Tensor]) -> None:
        """Save a picture whose rows are batches of images, each N×3×H×W in [-1, 1], and flush the events."""
        stacked = torch.cat([torch.cat(list(row.float().cpu()), dim=2) for row in rows], dim=1)  # (3, rows·H, N·W)
        folder = self.folder / SAMPLES_FOLDER
        folder.mkdir(exist_ok=True)
        save_png(to_uint8(stacked), folder / f"step_{step:07d}.png")
        self.events.add_image("samples", (stacked + 1) / 2, step)
        self.events.flush()

    def say(self, message: str) -> None:
        """Print a line."""
        self.console.print(message, highlight=False, soft_wrap=True)

    def close(self) -> None:
        """Flush the events."""
        self.events.close()


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}"
