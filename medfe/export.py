"""Make a folder of shipped weights from finished runs: float16 files and the card that describes them."""

import itertools
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader

from medfe.card import CARD, error_section, images_seen, losses_line, settings_line, start_line, weights_line
from medfe.config import AUTOENCODER_KINDS, AutoencoderKind, RunConfig
from medfe.data.folder import EvaluationPhotographs
from medfe.data.images import center_square, resize, save_png, to_tensor, to_uint8
from medfe.data.masks import center_mask, make_mask, mask_to_tensor
from medfe.data.samples import portraits
from medfe.errors import MedfeError
from medfe.evaluation.metrics import image_metrics
from medfe.inference import WEIGHTS, Inpainter
from medfe.models.encoder import fill_hole
from medfe.targets.autoencoder import check_finished, load_autoencoder
from medfe.training.autoencoder import reconstruction_l1
from medfe.training.checkpoint import load_config
from medfe.training.logging import METRICS_FILE
from medfe.weightfiles import GENERATOR_FILE, commit_words, load_weights, read_metadata, save_weights, weights_digest

GRID_FILE = "samples.png"
CARD_FILE = "card.md"


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
        errors: table of an evaluation of these runs with means by age and sex, for the card; see
            `medfe.card.error_section`.

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
    shipped = out.resolve().parent.parent == WEIGHTS.resolve()  # `out` is in the new folder until it is whole
    config, names = configs[0], ", ".join(config.target.arm for config in configs)
    save_png(sample_grid([Inpainter.from_pretrained(_weight_file(out, config)) for config in configs]), out / GRID_FILE)
    (out / CARD_FILE).write_text(CARD.format(
        preset=config.preset, size=config.generator.image_size, data=data, names=names,
        targets="" if autoencoders is None else ", and the auto-encoders of the targets",
        images=" or ".join(dict.fromkeys(images_seen(run) for run in runs)),
        licence="see LICENSE in the folder above; not the licence of the code." if shipped
        else "not chosen here; that of the code does not extend to weights.",
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
        check_finished(folder / f"{kind}.safetensors", kind)


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
        f"{meta['seed']}, {commit_words(meta)}{precision}. Moving average of the weights.\n"
        f"{weights_line(config.losses)}"
        f"{settings_line(config)}"
        f"{''.join(start_line(earlier) for earlier in reversed(meta.get('earlier', [])))}"
        f"{losses_line(run / METRICS_FILE)}"
        f"- Held-out photographs ({len(EvaluationPhotographs(val, config.generator.image_size))}), centre hole, means, "
        f"images in [0, 1], PSNR in dB: {held_out}.\n"
    )


def _export_autoencoder(folder: Path, kind: AutoencoderKind, out: Path, val: Path) -> str:
    file = load_weights(folder / f"{kind}.safetensors", kind)
    path = out / f"{kind}.safetensors"
    save_weights(path, file.tensors, file.metadata, dtype=torch.float16)
    autoencoder = load_autoencoder(path, kind)
    error = reconstruction_l1(autoencoder, EvaluationPhotographs(val, autoencoder.config.image_size))
    return (
        f"### {path.name}\n\n"
        f"- Auto-encoder, code of {autoencoder.config.code_channels} channels; {file.metadata['images']} images, "
        f"seed {file.metadata['seed']}, {commit_words(file.metadata)}.\n"
        f"- Reconstruction L1 on held-out photographs, images in [-1, 1]: {error:.4f}.\n"
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
