"""The card of shipped weights, Markdown: its template, and lines from a run's settings, logs and table of errors."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from medfe.config import LossConfig, RunConfig
from medfe.errors import MedfeError
from medfe.evaluation.markdown import markdown
from medfe.training.checkpoint import FREE_SETTINGS, flat
from medfe.training.initial import history_line
from medfe.weightfiles import GENERATOR_FILE, read_metadata

_LAST_ROWS = 10
_TERMS = ("l1_image", "l1_hole", "adversarial", "perceptual", "style")
_SAID_ELSEWHERE = FREE_SETTINGS | {
    "seed", "max_steps", "batch_size", "precision", "generator.head", "target.weight", "target.autoencoders",
    "data.root", "losses.backbone", "losses.backbone_weights", "initial_weights",
    *(f"losses.{term}" for term in _TERMS),
}  # fmt: skip
"""Settings that the card says in other words, or that name files of a machine, or change no result."""

CARD = """# Weights: {preset}

Trained with this repository, to show the method and to compare the arms side by side.

- **What**: MEDFE generators for {size}×{size} pixels, arms {names}{targets}.
- **Data**: {data}
- **Intended use**: research and teaching: testing the code, looking at the arms' differences on pictures like the data.
- **Not intended**: restoring or altering pictures of people for any decision about them; pictures unlike the data, for
  which results are poor; a verdict on the arms, which one training each cannot give.
- **Limits**: one training an arm; {images} images each. Errors differ between groups of people. Every
  filling is a guess, the freer the larger the hole: it is no evidence of what was there.
- **Licence**: {licence}

![Ground truth, masked input, then {names}]({grid})

Portraits: NASA (Eileen Collins) and the US Navy (Grace Hopper), in the public domain.

{groups}## Files

float16 safetensors; the networks' sizes are in each file's metadata.

{sections}"""


def images_seen(run: Path) -> str:
    """Return how many images a run's weights have seen, those of trainings that it started from too."""
    metadata = read_metadata(run / GENERATOR_FILE)
    counts = [one.get("images") for one in (*metadata.get("earlier", []), metadata)]
    return f"{'at least ' if None in counts else ''}{sum(filter(None, counts)):,}"


def settings_line(config: RunConfig) -> str:
    """Return the settings that are not the preset's, as a line of the card."""
    preset = flat(RunConfig.create(config.preset, config.target.arm))
    own = flat(config) | ({"data.mask_dir": config.data.mask_dir.name} if config.data.mask_dir else {})
    if config.target.seed == config.seed:
        preset["target.seed"] = config.seed
    other = {name: own[name] for name in own if own[name] != preset[name] and name not in _SAID_ELSEWHERE}
    listed = ", ".join(f"{name} {json.dumps(value)}" for name, value in other.items())
    return f"- Settings that differ from those of the preset: {listed}.\n" if other else ""


def weights_line(losses: LossConfig) -> str:
    """Return the weights of the losses beside the released code's, as a line of the card."""

    def listed(config: LossConfig) -> str:
        return ", ".join(f"{term} {getattr(config, term):g}" for term in _TERMS) + f", on {config.backbone}"

    own, released = listed(losses), listed(LossConfig())
    return f"- Weights of the losses: {own}" + (f"; the released code's: {released}" if own != released else "") + ".\n"


def start_line(earlier: dict[str, Any]) -> str:
    """Return a training that a run started from, as a line of the card."""
    return f"- Started from weights of an earlier training: {history_line(earlier)}.\n"


def losses_line(path: Path) -> str:
    """Return the last losses in a run's metrics.jsonl, as a line of the card; nothing where none were kept."""
    if not path.is_file():
        return ""
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()][-_LAST_ROWS:]
    if not rows:
        return ""
    terms = [name for name in rows[-1] if name not in ("step", "images", "learning_rate")]
    losses = ", ".join(f"{name} {np.mean([row[name] for row in rows]):.3g}" for name in terms)
    return f"- Loss terms, unweighted, images in [-1, 1], mean of the last {len(rows)} logged steps: {losses}.\n"


def error_section(path: Path, runs: Sequence[Path]) -> str:
    """Return the card's section on errors by age and sex, Markdown.

    Args:
        path: `means.csv` of `medfe evaluate`, whose masks the section cannot name, or the `comparison_means.csv` of an
            experiment, of which the centre holes are taken. A method is called as its run folder.
        runs: run folders.

    Raises:
        MedfeError: if the table is of another form, a run is not in it, or two run folders have one name.
    """
    names = [run.name for run in runs]
    if len(set(names)) < len(names):
        raise MedfeError(f"{path}: found run folders {', '.join(names)}, expected names that tell them apart")
    try:
        table = pd.read_csv(path)
        table = table[table["by"].isin(("age", "sex")) & (table["metric"] == "l1_hole")]
        hole = "the hole"
        if "masks" in table:
            table, hole = table[table["masks"] == "center"], "the centre hole"
        by_run = {run.name: table[table["method"] == run.name].set_index("class") for run in runs}
        first = by_run[runs[0].name]
        cells = {
            name: [f"{row.value:.4f} ({row.low:.4f} to {row.high:.4f})" for row in found.loc[first.index].itertuples()]
            for name, found in by_run.items()
        }
        counts, level = list(first["photographs"].astype(int)), 100 * first["level"].max()
    except (OSError, KeyError, AttributeError, ValueError) as error:
        raise MedfeError(
            f"{path}: found no errors by age and sex of {', '.join(names)} "
            f"({type(error).__name__}), expected means.csv of medfe evaluate, methods called as the run folders"
        ) from None
    if first.empty:
        raise MedfeError(f"{path}: found no errors by age and sex of {runs[0].name}, expected a row a group")
    total = sum(count for count, by in zip(counts, first["by"], strict=True) if by == "sex")
    groups = [f"{by} {name}" for name, by in first["by"].items()]
    rows = [list(row) for row in zip(groups, counts, *cells.values(), strict=True)]
    return (
        "## Error by age and sex\n\n"
        f"Mean L1 in {hole}, images in [0, 1], with {level:g} % intervals over {total} test photographs whose names "
        "tell age and sex, of one training each, called as its folder. Ages are estimates, and sex is recorded as male "
        "or female, both as the names of the files say them.\n\n"
        + markdown(["group", "photographs", *(f"`{name}`" for name in cells)], rows)
        + "\n\n"
    )
