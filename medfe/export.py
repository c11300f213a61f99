"""Make a folder of shipped weights from finished runs: float16 files and the card that describes them."""

import itertools
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader

from medfe.config import AUTOENCODER_KINDS, AutoencoderKind, AutoencoderRunConfig, RunConfig
from medfe.data.folder import EvaluationPhotographs
from medfe.data.images import center_square, resize, save_png, to_tensor, to_uint8
from medfe.data.masks import center_mask, make_mask, mask_to_tensor
from medfe.data.samples import portraits
from medfe.errors import MedfeError
from medfe.evaluation.markdown import markdown
from medfe.evaluation.metrics import image_metrics
from medfe.inference import Inpainter
from medfe.models.encoder import fill_hole
from medfe.targets.autoencoder import load_autoencoder
from medfe.training.autoencoder import reconstruction_l1
from medfe.training.checkpoint import CONFIG_FILE, FREE_SETTINGS, flat, load_config
from medfe.training.initial import history_line
from medfe.training.logging import METRICS_FILE
from medfe.weightfiles import GENERATOR_FILE, load_weights, read_metadata, save_weights, weights_digest

LAST_ROWS = 10
GRID_FILE = "samples.png"
CARD_FILE = "card.md"
_SAID_ELSEWHERE = FREE_SETTINGS | {
    "seed", "max_steps", "batch_size", "precision", "generator.head", "target.weight", "target.autoencoders",
    "data.root", "losses.backbone_weights", "initial_weights",
}  # fmt: skip
"""Settings that the card says in other words, or that name files of a machine, or change no result."""


def export_weights(
    runs: Sequence[Path], autoencoders: Path | None, out: Path, *, data: str, val: Path, errors: Path | None = None
) -> Path:
    """Write the weights of finished runs as float16, a card, and a picture of what they do.

    Args:
        runs: run folders of generators, one for each arm.
        autoencoders: folder with texture.safetensors and structure.safetensors, if an arm used them.
        out: folder to write, such as `weights/faces128`.
        data: what the photographs are, for the card.
        val: photographs that were not trained on, for the card's figures.
        errors: table of an evaluation of these runs with means by age and sex, for the card; see `error_section`.

    Returns:
        The card.

    Raises:
        MedfeError: if a training is not finished, two runs are of one arm or of different sizes, something is missing,
            auto-encoders are not those that an arm was trained against (where its weights do not say which, those in
            the folder of its settings, if that is still there), or `out` holds other weights, which the card would not
            name. Nothing in `out` has changed then. At the end it is replaced file by file; a card is there again when
            all of it is.
    """
    configs = _check_runs(runs)
    _check_autoencoders(autoencoders, runs, configs)
    written = {_weight_file(out, config).name for config in configs}
    written |= {f"{kind}.safetensors" for kind in AUTOENCODER_KINDS} if autoencoders else set()
    left = sorted({path.name for path in out.glob("*.safetensors")} - written)
    if left:
        raise MedfeError(f"{out / left[0]}: weights that this export does not write; export them too, or delete them")
    groups = "" if errors is None else error_section(errors, runs)
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out, prefix=".part") as folder:
        _write(runs, configs, autoencoders, Path(folder), data, val, groups)
        (out / CARD_FILE).unlink(missing_ok=True)
        for path in sorted(Path(folder).iterdir(), key=lambda path: (path.name == CARD_FILE, path.name)):
            path.replace(out / path.name)
    return out / CARD_FILE


def _write(
    runs: Sequence[Path], configs: Sequence[RunConfig], autoencoders: Path | None, out: Path, data: str, val: Path,
    groups: str,
) -> None:  # fmt: skip
    """Write everything into an empty folder."""
    sections = [_export_generator(run, out, val) for run in runs]
    if autoencoders is not None:
        sections += [_export_autoencoder(autoencoders, kind, out, val) for kind in AUTOENCODER_KINDS]
    config, names = configs[0], ", ".join(config.target.arm for config in configs)
    save_png(sample_grid([Inpainter.from_pretrained(_weight_file(out, config)) for config in configs]), out / GRID_FILE)
    (out / CARD_FILE).write_text(_CARD.format(
        preset=config.preset, size=config.generator.image_size, data=data, names=names,
        targets="" if autoencoders is None else ", and the auto-encoders of the targets",
        images=" or ".join(dict.fromkeys(_images(run) for run in runs)),
        grid=GRID_FILE, groups=groups, sections="\n".join(sections),
    ), encoding="utf-8")  # fmt: skip


def _check_runs(runs: Sequence[Path]) -> list[RunConfig]:
    """Return the runs' settings, before anything is written.

    Raises:
        MedfeError: as `export_weights`.
    """
    if not runs:
        raise MedfeError("export: found no run, expected one run folder for each arm")
    configs = [load_config(run, RunConfig) for run in runs]
    for run, config in zip(runs, configs, strict=True):
        step = load_weights(run / GENERATOR_FILE, "generator").metadata.get("step", 0)
        if step < config.max_steps:
            raise MedfeError(f"{run}: found {step} of {config.max_steps} steps, expected a finished run")
    arms = [one.target.arm for one in configs]
    if len(set(arms)) < len(arms):
        raise MedfeError(f"export: found runs of the arms {', '.join(arms)}, expected one run for each arm")
    sizes = [one.generator.image_size for one in configs]
    if len(set(sizes)) > 1:
        raise MedfeError(f"export: found runs of {' and '.join(map(str, sizes))} pixels, expected one size")
    return configs


def _check_autoencoders(folder: Path | None, runs: Sequence[Path], configs: Sequence[RunConfig]) -> None:
    """Check that auto-encoders are there where an arm needs them, its own ones, and completely trained.

    Raises:
        MedfeError: as `export_weights`.
    """
    needing = [(run, config) for run, config in zip(runs, configs, strict=True) if config.target.autoencoders]
    if folder is None:
        if needing:
            arm = needing[0][1].target.arm
            raise MedfeError(f"export: arm {arm} was trained against auto-encoders, expected --autoencoders DIR")
        return
    for kind, (run, config) in itertools.product(AUTOENCODER_KINDS, needing):
        path, used = folder / f"{kind}.safetensors", _digest_of_own(run, config, kind)
        if path.is_file() and used and weights_digest(path) != used:
            raise MedfeError(f"{path}: found other weights than those that arm {config.target.arm} was trained against")
    for kind in AUTOENCODER_KINDS:
        step = load_weights(folder / f"{kind}.safetensors", kind).metadata.get("step", 0)
        if (folder / kind / CONFIG_FILE).exists():
            expected = load_config(folder / kind, AutoencoderRunConfig).max_steps
            if step < expected:
                raise MedfeError(f"{folder / kind}: found {step} of {expected} steps, expected a finished training")


def _digest_of_own(run: Path, config: RunConfig, kind: AutoencoderKind) -> str | None:
    """Return the digest of the auto-encoder that a run was trained against; None where nothing is left that says it."""
    said: str | None = read_metadata(run / GENERATOR_FILE).get("autoencoders", {}).get(kind)
    own = config.target.autoencoders and config.target.autoencoders / f"{kind}.safetensors"
    return weights_digest(own) if said is None and own and own.is_file() else said


def _weight_file(out: Path, config: RunConfig) -> Path:
    """Return where an arm's weights go; `module:Class` loses its colon, which names of Windows cannot have."""
    return out / f"{config.target.arm.replace(':', '.')}.safetensors"


def _export_generator(run: Path, out: Path, val: Path) -> str:
    config, file = load_config(run, RunConfig), load_weights(run / GENERATOR_FILE, "generator")
    path = _weight_file(out, config)
    save_weights(path, file.tensors, file.metadata, dtype=torch.float16)
    figures = held_out_metrics(Inpainter.from_pretrained(path), val)
    held_out = ", ".join(f"{name} {value:.4f}" for name, value in figures.items())
    meta = file.metadata
    precision = f", precision {meta['precision']}" if meta.get("precision") else ""
    return (
        f"### {path.name}\n\n"
        f"- Generator, arm `{config.target.arm}`, head `{config.generator.head}`, intermediate term × "
        f"{config.target.weight:g}; {meta['step']} steps of {config.batch_size}, {meta['images']} images, seed "
        f"{meta['seed']}, commit {meta['commit'] or 'unknown'}{precision}. Moving average of the weights.\n"
        f"{_own_settings(config)}"
        f"{''.join(_started_from(earlier) for earlier in reversed(meta.get('earlier', [])))}"
        f"{_last_losses(run / METRICS_FILE)}"
        f"- Held-out photographs ({len(EvaluationPhotographs(val, config.generator.image_size))}), centre hole, means, "
        f"images in [0, 1], PSNR in dB: {held_out}.\n"
    )


def _own_settings(config: RunConfig) -> str:
    """Return the settings that are not the preset's, as a line of the card."""
    preset = flat(RunConfig.create(config.preset, config.target.arm)) | {"target.seed": config.seed}
    own = flat(config) | ({"data.mask_dir": config.data.mask_dir.name} if config.data.mask_dir else {})
    other = {name: own[name] for name in own if own[name] != preset[name] and name not in _SAID_ELSEWHERE}
    listed = ", ".join(f"{name} {json.dumps(value)}" for name, value in other.items())
    return f"- Settings that differ from those of the preset: {listed}.\n" if other else ""


def _started_from(earlier: dict[str, Any]) -> str:
    return f"- Started from weights of an earlier training: {history_line(earlier)}.\n"


def _last_losses(path: Path) -> str:
    if not path.is_file():  # of a run whose weights alone were kept
        return ""
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()][-LAST_ROWS:]
    terms = [name for name in rows[-1] if name not in ("step", "images", "learning_rate")]
    losses = ", ".join(f"{name} {np.mean([row[name] for row in rows]):.3g}" for name in terms)
    return f"- Loss terms, unweighted, images in [-1, 1], mean of the last {len(rows)} logged steps: {losses}.\n"


def _images(run: Path) -> str:
    """Return how many images a run's weights have seen, those of trainings that it started from too."""
    metadata = load_weights(run / GENERATOR_FILE, "generator").metadata
    counts = [one.get("images") for one in (*metadata.get("earlier", []), metadata)]
    return f"{'at least ' if None in counts else ''}{sum(filter(None, counts)):,}"


def _export_autoencoder(folder: Path, kind: AutoencoderKind, out: Path, val: Path) -> str:
    file = load_weights(folder / f"{kind}.safetensors", kind)
    path = out / f"{kind}.safetensors"
    save_weights(path, file.tensors, file.metadata, dtype=torch.float16)
    autoencoder = load_autoencoder(path, kind)
    error = reconstruction_l1(autoencoder, EvaluationPhotographs(val, autoencoder.config.image_size))
    return (
        f"### {path.name}\n\n"
        f"- Auto-encoder, code of {autoencoder.config.code_channels} channels; {file.metadata['images']} images, "
        f"seed {file.metadata['seed']}, commit {file.metadata['commit'] or 'unknown'}.\n"
        f"- Reconstruction L1 on held-out photographs, images in [-1, 1]: {error:.4f}.\n"
    )


def error_section(path: Path, runs: Sequence[Path]) -> str:
    """Return the card's section on errors by age and sex, Markdown.

    Args:
        path: `means.csv` of `medfe evaluate`, whose masks the section cannot name, or the `comparison_means.csv` of an
            experiment, of which the centre holes are taken. A method is called as its run folder.
        runs: run folders.

    Raises:
        MedfeError: if the table is of another form, or a run is not in it.
    """
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
            f"{path}: found no errors by age and sex of {', '.join(run.name for run in runs)} "
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
        "tell age and sex, of one training each. Ages are estimates, and sex is recorded as male or female, both as "
        "the names of the files say them.\n\n"
        + markdown(["group", "photographs", *(f"`{name}`" for name in cells)], rows)
        + "\n\n"
    )


def held_out_metrics(inpainter: Inpainter, folder: Path) -> dict[str, float]:
    """Return each metric's mean over a folder's photographs with centre holes."""
    photographs = EvaluationPhotographs(folder, inpainter.image_size)
    mask = mask_to_tensor(center_mask(inpainter.image_size))[None]
    values: dict[str, list[float]] = {}
    for batch in DataLoader(photographs, batch_size=16):
        real = batch["image"]
        masks = mask.expand(len(real), -1, -1, -1)
        for name, found in image_metrics(inpainter.fill(real, masks).cpu(), real, masks).items():
            values.setdefault(name, []).extend(found.tolist())
    return {name: float(np.mean(found)) for name, found in values.items()}


def sample_grid(inpainters: Sequence[Inpainter]) -> NDArray[np.uint8]:
    """Return a picture on dependency portraits, uint8 H×W×3.

    A row each of ground truth, masked input and every model's result; two holes a portrait.
    """
    size = inpainters[0].image_size
    rng = np.random.default_rng(0)
    rows = []
    for portrait in portraits().values():
        real = to_tensor(resize(center_square(portrait), size))[None]
        for hole in (center_mask(size), make_mask("irregular_thick", size, rng)):
            mask = mask_to_tensor(hole)[None]
            cells = [real, fill_hole(real, mask), *(inpainter.fill(real, mask).cpu() for inpainter in inpainters)]
            rows.append(torch.cat(cells, dim=3))
    grid: NDArray[np.uint8] = to_uint8(torch.cat(rows, dim=2))[0]
    return grid


_CARD = """# Weights: {preset}

Trained with this repository, to show the method and to compare the arms side by side.

- **What**: MEDFE generators for {size}×{size} pixels, arms {names}{targets}.
- **Data**: {data}
- **Intended use**: research and teaching: testing the code, looking at the arms' differences on pictures like the data.
- **Not intended**: restoring or altering pictures of people for any decision about them; pictures unlike the data, for
  which results are poor; a verdict on the arms, which one training each cannot give.
- **Limits**: one training an arm; {images} images each. Errors differ between groups of people. Every
  filling is a guess, the freer the larger the hole: it is no evidence of what was there.
- **Licence**: see LICENSE in the folder above; not the licence of the code.

![Ground truth, masked input, then {names}]({grid})

Portraits: NASA (Eileen Collins) and the US Navy (Grace Hopper), in the public domain, not in the training data.

{groups}## Files

float16 safetensors; the networks' sizes are in each file's metadata.

{sections}"""
