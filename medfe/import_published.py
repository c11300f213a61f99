"""Checkpoints of the released code made into a run folder, and a test of how they want to be fed.

Users of the released weights report awful results and cannot tell why: nothing in the files says in which order the
colours come, in which range, and which value marks the hole. A trained generator reproduces the pixels that it is
shown, so the error there tells.
"""

import os
import shutil
from collections.abc import Mapping
from itertools import product
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

import torch
from rich.progress import track
from torch import Tensor, nn

from medfe.config import AUTOENCODER_KINDS, AutoencoderConfig, AutoencoderKind, GeneratorConfig, RunConfig
from medfe.data.images import center_square, resize, to_tensor
from medfe.data.masks import center_mask, mask_to_tensor
from medfe.data.samples import scenes
from medfe.errors import MedfeError
from medfe.models.autoencoder import Autoencoder, build_autoencoder
from medfe.models.generator import Generator, build_generator
from medfe.published import (
    ENCODERS,
    READOUT,
    KeyMap,
    State,
    Variant,
    autoencoder_keys,
    bottleneck_keys,
    decoder_keys,
    detect_variant,
    encoder_keys,
    load_state,
    published_config,
    translate,
)
from medfe.targets import build_target
from medfe.training.checkpoint import save_config
from medfe.weightfiles import GENERATOR_FILE, save_weights

SAMPLE = "astronaut"  # an orange suit: red and blue cannot be mistaken for each other

Part = Literal["encoder", "decoder", "bottleneck"]
PARTS: tuple[Part, ...] = get_args(Part)
_FILES = {"encoder": "EN.pth", "decoder": "DE.pth", "bottleneck": "MEDFE.pth"}
_MARKS = {"encoder": "Encoder_1.", "decoder": "Decoder_1.", "bottleneck": "pc_block.", "critic": "model.0."}


class Feeding(NamedTuple):
    """A way to show an image and its hole to a network."""

    colors: str
    """`RGB` or `BGR`."""
    black: int
    """Value of black, -1 or 0; white is 1."""
    hole: int
    """Value of the mask in the hole, 1 or 0; it is the other elsewhere."""

    def __str__(self) -> str:
        return f"{self.colors}, [{self.black}, 1], hole = {self.hole}"


# Every way; the first is that of the released code and of Inpainter.
FEEDINGS = tuple(Feeding(*choice) for choice in product(("RGB", "BGR"), (-1, 0), (1, 0)))


def import_published(encoder: Path, decoder: Path, bottleneck: Path, out: Path) -> str:
    """Turn a checkpoint of the released MEDFE or MEDFE+CAE code into a run folder that `Inpainter` loads.

    The folder appears whole or not at all: `config.json`, `generator.safetensors` (float32, convention `published`),
    and, where a checkpoint of MEDFE+CAE holds its auto-encoders, `texture.safetensors` and `structure.safetensors`.
    The released code re-draws them before training; where it did, the run's arm is `random_encoder`. (To compare with
    these very encoders, name the folder as `target.autoencoders` of arm `autoencoder`: it takes them as they are.)

    Args:
        encoder: `EN.pth`.
        decoder: `DE.pth`.
        bottleneck: `MEDFE.pth`.
        out: folder to write, new or empty.

    Returns:
        What was imported, and the table of `known_pixel_errors`.

    Raises:
        MedfeError: a file is missing, damaged, holds code or is of another part, or `out` is in use.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise MedfeError(f"{out}: exists and is not empty, expected a new folder")
    files = [_ReleasedFile(path, part) for path, part in zip((encoder, decoder, bottleneck), PARTS, strict=True)]
    for file in files:
        file.load()
    inner, sources = files[-1], [path.name for path in (encoder, decoder, bottleneck)]
    variant = detect_variant(inner.tensors)
    generator = _generator(files, variant)
    autoencoders = _autoencoders(inner, generator.config) if variant == "medfe_cae" else {}
    config = _run_config(variant, generator.config, autoencoders, out)
    readout: State = {}
    if variant == "medfe":
        keys = {f"readout.{name}": f"{READOUT}.{name}" for name in ("weight", "bias")}
        readout = inner.take(keys, build_target(config.target, config.generator))
    report = _summary(out, variant, files, autoencoders)
    del files, inner  # half a gigabyte

    image = to_tensor(resize(center_square(scenes()[SAMPLE]), generator.config.image_size)).double()[None]
    errors = known_pixel_errors(generator, image)
    _write(out, config, {"variant": variant, "files": sources}, generator, readout, autoencoders)
    return f"{report}\n\n{error_table(errors, image)}"


def known_pixel_errors(generator: nn.Module, image: Tensor) -> dict[Feeding, float]:
    """Return how far a generator's output is from its input over the pixels outside the centre hole.

    Args:
        generator: called as `generator(image, mask)`; its result has the output in `image`, before compositing. Feed it
            in float64: where `mask_conv` is noise, float32 is only good to 6e-4.
        image: N×3×S×S in [-1, 1], RGB, of the generator's precision.

    Returns:
        Mean absolute difference for each feeding, the output read in the range of the input, in levels of 0…255.
    """
    mask = _center(image)
    errors = {}
    for feeding in track(FEEDINGS, description="trying ways to feed the network", transient=True):
        shown = image.flip(1) if feeding.colors == "BGR" else image
        shown = (shown + 1) / 2 if feeding.black == 0 else shown
        with torch.inference_mode():
            output = generator(shown, mask if feeding.hole == 1 else 1 - mask).image
        known = (output - shown).abs().masked_select(mask == 0)
        errors[feeding] = float(known.mean()) * 255 / (1 - feeding.black)
    return errors


def flat_error(image: Tensor) -> float:
    """Return the known-pixel error of a picture that has the known pixels' mean colour: what no network should exceed.

    Args:
        image: 1×3×S×S in [-1, 1].
    """
    known = image[:, :, (_center(image) == 0)[0, 0]]  # (1, 3, P)
    return float((known - known.mean(dim=2, keepdim=True)).abs().mean()) * 127.5


def error_table(errors: Mapping[Feeding, float], image: Tensor) -> str:
    """Return the `known_pixel_errors` of an image (1×3×S×S) as a table, the best marked, and what follows from it."""
    best, flat = min(errors, key=lambda feeding: errors[feeding]), flat_error(image)
    lines = [
        f"error over known pixels, photograph {SAMPLE} at {image.shape[-1]} px, mean |output - input|, levels of 255:",
        f"{'colours':<9}{'range':<9}{'hole':<6}{'error':>5}",
    ]
    for feeding, error in errors.items():
        cells = f"{feeding.colors:<9}{f'[{feeding.black}, 1]':<9}{feeding.hole:<6}{error:5.1f}"
        lines.append(cells + ("  <- best" if feeding == best else ""))
    lines.append(f"{'a picture of one colour':<24}{flat:5.1f}")
    if errors[best] > flat / 2:
        lines.append("no way reproduces what the network is shown: weights untrained, damaged, or of other code")
    elif best == FEEDINGS[0]:
        lines.append(f"medfe feeds {FEEDINGS[0]}: what these weights want")
    else:
        lines.append(f"medfe feeds {FEEDINGS[0]}, these weights want {best}: expect poor results")
    return "\n".join(lines)


def _center(image: Tensor) -> Tensor:
    return mask_to_tensor(center_mask(image.shape[-1])).to(image)[None]  # (1, 1, S, S)


class _ReleasedFile:
    """One file of a checkpoint: hands out tensors under our names, and knows which were never asked for."""

    def __init__(self, path: Path, part: Part) -> None:
        if not path.is_file():
            raise MedfeError(f"{path}: no such file, expected the released code's {part} ({_FILES[part]})")
        self.path, self.part = path, part
        self.tensors: State = {}
        self.unused: set[str] = set()

    def load(self) -> None:
        """Read the file, and check that it holds the part."""
        self.tensors = load_state(self.path)
        self.unused = set(self.tensors)
        parts = [part for part, mark in _MARKS.items() if any(key.startswith(mark) for key in self.tensors)]
        if parts != [self.part]:
            found = f"its {' and '.join(parts)}" if parts else f"{len(self.tensors)} tensors of none of its networks"
            raise MedfeError(
                f"{self.path}: expected the released code's {self.part} ({_FILES[self.part]}), found {found}"
            )

    def take(self, keys: KeyMap, network: nn.Module) -> State:
        """Return the tensors of `keys` under our names, checked against the shapes in `network`."""
        shapes = {ours: tensor.shape for ours, tensor in network.state_dict().items()}
        for ours, theirs in keys.items():
            if theirs not in self.tensors:
                continue  # reported by translate
            tensor, expected = self.tensors[theirs], _published_shape(theirs, shapes[ours])
            if tensor.shape != expected:
                raise MedfeError(f"{self.path}: {theirs} is {tuple(tensor.shape)}, expected {tuple(expected)}")
            if not torch.isfinite(tensor).all():
                raise MedfeError(f"{self.path}: found values that are not finite in {theirs}, expected trained weights")
        self.unused -= set(keys.values())
        return translate(self.tensors, keys, str(self.path))


def _published_shape(key: str, ours: torch.Size) -> torch.Size:
    """Undo what `translate` sums over the input channels."""
    if key == "Encoder_1.model.0.weight":
        return torch.Size((ours[0], 6, *ours[2:]))
    return torch.Size((ours[0], ours[0], *ours[2:])) if "mask_conv" in key else ours


def _generator(files: list[_ReleasedFile], variant: Variant) -> Generator:
    generator = build_generator(published_config(variant)).double().eval()
    state: State = {}
    for file, keys in zip(files, (encoder_keys(), decoder_keys(), bottleneck_keys(variant)), strict=True):
        state |= file.take(keys, generator)
    generator.load_state_dict(state)
    return generator


def _autoencoders(file: _ReleasedFile, config: GeneratorConfig) -> dict[AutoencoderKind, Autoencoder]:
    found: dict[AutoencoderKind, Autoencoder] = {}
    for kind in AUTOENCODER_KINDS:
        prefix = ENCODERS.format(plural=f"{kind}s")
        if any(key.startswith(prefix) for key in file.tensors):
            network = build_autoencoder(AutoencoderConfig.matching(config, kind))
            keys = {ours: prefix + theirs for ours, theirs in autoencoder_keys(kind).items()}
            network.load_state_dict(file.take(keys, network))
            found[kind] = network
    return found


def _is_redrawn(autoencoder: Autoencoder) -> bool:
    """Whether the encoder's shifts are all 0, as the released code's re-drawing leaves them and training does not."""
    return not any(layer.bias.any() for layer in autoencoder.encoder.modules() if isinstance(layer, nn.BatchNorm2d))


def _run_config(
    variant: Variant, generator: GeneratorConfig, autoencoders: Mapping[AutoencoderKind, Autoencoder], out: Path
) -> RunConfig:
    trained = bool(autoencoders) and not any(map(_is_redrawn, autoencoders.values()))
    arm = "low_resolution" if variant == "medfe" else "autoencoder" if trained else "random_encoder"
    folder = out if autoencoders else None
    return RunConfig.create("paper", arm, generator=generator.model_dump(), target={"autoencoders": folder})


def _summary(
    out: Path, variant: Variant, files: list[_ReleasedFile], autoencoders: Mapping[AutoencoderKind, Autoencoder]
) -> str:
    title = "MEDFE" if variant == "medfe" else "MEDFE+CAE"
    lines = [f"{out}: {title} of the released code, {', '.join(file.path.name for file in files)}"]
    for kind, network in autoencoders.items():
        lines.append(f"{kind}.safetensors: {_origin(network)}")
    unknown = [key for file in files for key in sorted(file.unused)]
    if unknown:
        lines.append(f"left out {len(unknown)} tensors of no network of the released code: {', '.join(unknown[:5])}")
    return "\n".join(lines)


def _origin(autoencoder: Autoencoder) -> str:
    return "re-drawn at random, as the released code does" if _is_redrawn(autoencoder) else "trained"


def _write(
    out: Path,
    config: RunConfig,
    origin: Mapping[str, Any],
    generator: Generator,
    readout: State,
    autoencoders: Mapping[AutoencoderKind, Autoencoder],
) -> None:
    target = out.resolve()
    staging = target.with_name(f"{target.name}.{os.getpid()}.part")
    tensors = {f"generator.{name}": tensor for name, tensor in generator.float().state_dict().items()}
    tensors |= {f"target.{name}": tensor for name, tensor in readout.items()}
    try:
        save_config(staging, config)
        save_weights(staging / GENERATOR_FILE, tensors, {
            "kind": "generator", "config": config.generator.model_dump(mode="json"), "preset": config.preset,
            "target": config.target.model_dump(mode="json", exclude={"autoencoders"}), "released_code": dict(origin),
        })  # fmt: skip
        for kind, network in autoencoders.items():
            save_weights(staging / f"{kind}.safetensors", network.state_dict(), {
                "kind": kind, "config": network.config.model_dump(mode="json"),
                "released_code": {**origin, "weights": _origin(network)},
            })  # fmt: skip
        if target.exists():
            target.rmdir()  # Windows renames onto no folder, not even an empty one
        staging.replace(target)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
