"""The command line: each subcommand parses its settings, then calls one function of the package.

Nothing heavy is imported before a subcommand runs, so that help and errors come at once.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro
from tyro.conf import Positional, arg

from medfe.errors import MedfeError

USER_ERROR = 2
INTERRUPTED = 130


@dataclass
class Launch:
    """Where and how long a training runs."""

    accelerator: str = "auto"
    """cpu, cuda, mps, or auto."""
    devices: int = 1
    """Devices (on a CPU: processes) of each machine."""
    num_nodes: int = 1
    """Machines."""
    strategy: str = "auto"
    """How devices work together: auto or ddp."""
    max_minutes: float | None = None
    """Stop cleanly after so many minutes; the same command goes on."""

    def fabric(self, precision: str) -> Any:
        """Return the launched Fabric."""
        from medfe.training.loop import build_fabric

        return build_fabric(
            precision,
            accelerator=self.accelerator,
            devices=self.devices,
            num_nodes=self.num_nodes,
            strategy=self.strategy,
        )


@dataclass
class TrainAutoencoder:
    """Train the auto-encoders whose codes are the targets of MEDFE+CAE."""

    data: Path
    """Folder of photographs."""
    out: Path
    """Folder that gets texture.safetensors and structure.safetensors."""
    preset: str = "paper"
    """Preset whose features the codes must match: paper, faces128, faces64, tiny."""
    kind: Literal["texture", "structure", "both"] = "both"
    """Which of the two."""
    layout: Literal["folder", "celeba"] = "folder"
    """celeba: img_align_celeba with list_eval_partition.txt."""
    split: Literal["all", "train", "val", "test"] = "all"
    """Part of the folder."""
    seed: int = 0
    """Seed of weights, order and crops."""
    max_steps: int | None = None
    """Steps of the whole run, 32 images each."""
    set: Annotated[tuple[str, ...], arg(metavar="NAME=VALUE [NAME=VALUE …]")] = ()
    """Any other setting of AutoencoderRunConfig, such as batch_size=16."""
    dry_run: bool = False
    """Print the settings and stop."""
    launch: Annotated[Launch, arg(name="")] = field(default_factory=Launch)

    def run(self) -> None:
        """Train one or both."""
        from medfe.config import AutoencoderKind, AutoencoderRunConfig

        kinds: tuple[AutoencoderKind, ...] = ("texture", "structure") if self.kind == "both" else (self.kind,)
        for kind in kinds:
            changes = overrides(self.set, {
                "seed": self.seed, "data": {"root": self.data, "layout": self.layout, "split": self.split},
            })  # fmt: skip
            if self.max_steps is not None:
                changes["max_steps"] = self.max_steps
            config = AutoencoderRunConfig.create(self.preset, kind, **changes)
            print(config.model_dump_json(indent=2))
            if not self.dry_run:
                from medfe.training.autoencoder import train_autoencoder

                fabric = self.launch.fabric(config.precision)
                done = train_autoencoder(config, self.out, fabric, max_minutes=self.launch.max_minutes)
                print(f"{kind}: step {done} of {config.max_steps}, {self.out / kind}.safetensors")
                if done < config.max_steps:
                    return


@dataclass
class Train:
    """Train a generator against one arm's intermediate ground truth."""

    data: Path | None = None
    """Folder of photographs."""
    out: Path | None = None
    """Run folder. If it holds a run with the same settings, that run goes on."""
    resume: Path | None = None
    """Run folder to go on with, with the settings saved there; the other settings are not looked at."""
    preset: str = "paper"
    """paper, faces128, faces64 or tiny."""
    arm: str = "low_resolution"
    """low_resolution, autoencoder, random_encoder, block_dct, none, or module:Class of your own target."""
    autoencoders: Path | None = None
    """Folder with texture.safetensors and structure.safetensors, for the arms that need them."""
    layout: Literal["folder", "celeba"] = "folder"
    """celeba: img_align_celeba with list_eval_partition.txt."""
    split: Literal["all", "train", "val", "test"] = "all"
    """Part of the folder."""
    seed: int = 0
    """Seed of weights, order, masks and crops."""
    max_steps: int | None = None
    """Steps of the whole run."""
    set: Annotated[tuple[str, ...], arg(metavar="NAME=VALUE [NAME=VALUE …]")] = ()
    """Any other setting of RunConfig, such as target.weight=8 or generator.head=tanh."""
    dry_run: bool = False
    """Check everything, print settings and sizes, and stop."""
    launch: Annotated[Launch, arg(name="")] = field(default_factory=Launch)

    def run(self) -> None:
        """Train, or describe the run."""
        from medfe.config import RunConfig

        if self.resume is not None:
            from medfe.training.checkpoint import load_config

            out, config = self.resume, load_config(self.resume, RunConfig)
        else:
            if self.data is None or self.out is None:
                raise MedfeError("train: --data DIR and --out RUN are needed, or --resume RUN")
            out = self.out
            changes = overrides(self.set, {
                "seed": self.seed, "data": {"root": self.data, "layout": self.layout, "split": self.split},
                "target": {"autoencoders": self.autoencoders},
            })  # fmt: skip
            if self.max_steps is not None:
                changes["max_steps"] = self.max_steps
            config = RunConfig.create(self.preset, self.arm, **changes)
        print(config.model_dump_json(indent=2))
        from medfe.training.generator import describe, train_generator

        if self.dry_run:
            print(describe(config))
            return
        fabric = self.launch.fabric(config.precision)
        done = train_generator(config, out, fabric, max_minutes=self.launch.max_minutes)
        print(f"step {done} of {config.max_steps}, {out / 'generator.safetensors'}")


@dataclass
class Inpaint:
    """Fill the hole of a picture, or of every picture of a folder."""

    image: Positional[Path]
    """Picture, or folder of pictures."""
    mask: str
    """Mask file (white = hole), folder of mask files with the pictures' names, or a rule: center, box, brush,
    irregular, irregular_thin, irregular_medium, irregular_thick."""
    out: Path
    """File to write, or folder for a folder."""
    model: str = "faces128/low_resolution"
    """PRESET/ARM of a shipped model, run folder, or weight file."""
    hole: Literal["white", "black"] = "white"
    """Colour of the hole in mask files."""
    seed: int = 0
    """Seed of generated masks."""
    device: str | None = None
    """cpu, cuda or mps; default: the best there is."""

    def run(self) -> None:
        """Inpaint."""
        from medfe.inpaint_files import inpaint_files

        count = inpaint_files(
            self.image, self.mask, self.out, model=self.model, hole=self.hole, seed=self.seed, device=self.device
        )
        print(f"{count} {'picture' if count == 1 else 'pictures'} written to {self.out}")


@dataclass
class Evaluate:
    """Compare methods on the same images and masks, and write tables and a report."""

    methods: tuple[str, ...]
    """PRESET/ARM of a shipped model, run folder, weight file, module:function, mean_fill, telea or navier_stokes; with
    NAME= in front, it is called so."""
    data: Path
    """Folder of photographs."""
    out: Path
    """Folder for results. What is there already is not computed again."""
    masks: str = "irregular"
    """center, irregular, another kind of mask, or a folder of mask files of the images' size."""
    n: int | None = None
    """Number of images; default: all photographs."""
    allow_small: bool = False
    """Compute Fréchet distances from fewer than 2048 images too; they are labelled."""
    frechet: bool = True
    """Compute Fréchet distances."""
    image_size: int | None = None
    """Side of the images, pixels; default: the models' own, or 256 where no method has one."""
    crop: Literal["center", "random"] = "center"
    """center: photographs' central squares, resized. random: crops at native resolution."""
    masks_per_image: int = 1
    """Masks an image; the photograph stays the unit of the statistics."""
    seed: int = 0
    """Seed of masks, crops, resampling and permutations."""
    hole: Literal["white", "black"] = "white"
    """Colour of the hole in mask files."""
    resize_masks: bool = False
    """Resize mask files of another size instead of refusing them."""
    contrast: tuple[str, ...] = ()
    """Pairs of methods to compare, A B [C D …], the primary one first; default: the first two methods."""
    endpoint: str | None = None
    """Primary metric; default: kid, or the first judge's where Inception is missing."""
    margin: float | None = None
    """Differences of the primary metric up to this count as nothing, in its unit."""
    backbones: tuple[Literal["vgg16", "efficientnet_lite0", "efficientnet_lite2"], ...] = ("efficientnet_lite2",)
    """Judges of set distances beside Inception."""
    inception_weights: Path | None = None
    """torch-fidelity's weights of Inception; default: torch's cache."""
    lpips_weights: Path | None = None
    """torchvision's weights of AlexNet; default: torch's cache."""
    subsamples: int = 100
    """Subsamples of a Fréchet distance, a fraction of a second each."""
    frechet_permutations: int = 0
    """Random labellings of the test of a Fréchet contrast, a second each; 0 leaves it untested."""
    batch_size: int = 32
    """Images computed, and stored, at once."""
    save_images: bool = False
    """Write every method's images as PNG."""
    show_data_images: bool = False
    """Show photographs of the data in the report instead of ones that may be published."""
    device: str | None = None
    """cpu, cuda or mps; default: the best there is."""

    def run(self) -> None:
        """Evaluate and print the verdicts."""
        from medfe.config import parse
        from medfe.evaluation.run import evaluate, report_path
        from medfe.evaluation.settings import EvaluationSettings

        values = dict(vars(self))
        names = values.pop("contrast")
        if len(names) % 2:
            raise MedfeError(f"--contrast {' '.join(names)}: found {len(names)} methods, expected pairs")
        values["contrasts"] = tuple(zip(names[::2], names[1::2], strict=True))
        settings = parse(EvaluationSettings, values)
        for verdict in evaluate(settings).contrasts.get("verdict", ()):
            print(verdict)
        print(report_path(settings))


@dataclass
class Rtv:
    """Smooth every picture of a folder by relative total variation (the structure images of MEDFE)."""

    in_dir: Positional[Path]
    """Folder of pictures."""
    out_dir: Positional[Path]
    """Folder that gets a PNG of the same relative name for each; what is there already is kept."""
    smoothness: float = 0.015
    """Weight of the smoothness (lambda of tsmooth)."""
    sigma: float = 3.0
    """Size of the texture to remove, pixels at a shorter side of 256; scaled with the picture."""
    sharpness: float = 0.001
    """Floor of the gradient magnitude."""
    iterations: int = 3
    """Number of re-weighted solves."""
    workers: int | None = None
    """Processes; default: one a core."""

    def run(self) -> None:
        """Smooth the folder."""
        from medfe.config import RtvConfig, parse
        from medfe.targets.rtv_folder import smooth_folder

        names = ("smoothness", "sigma", "sharpness", "iterations")
        config = parse(RtvConfig, {name: getattr(self, name) for name in names})
        print(smooth_folder(self.in_dir, self.out_dir, config, self.workers))


@dataclass
class Benchmark:
    """Measure speed and memory on the CPU, each beside its floor."""

    what: Positional[Literal["forward", "backward", "step", "data", "rtv"]]
    """forward: the generator in evaluation mode. backward: its forward and backward pass. step: a whole training step.
    data: how long training waits for its data. rtv: the smoothing that makes structure images."""
    preset: str = "paper"
    """paper, faces128, faces64 or tiny."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """Number format of the computation."""
    batch_size: int | None = None
    """Images at once; default: 1, for step and data the preset's."""
    repeats: int = 10
    """Timed runs, after two that are not timed."""
    images: int = 100
    """rtv: photographs in the folder."""
    data: Path | None = None
    """data: folder of photographs; default: crops of photographs that come with the dependencies."""
    out: Path | None = None
    """JSON file for the result."""
    markdown: bool = False
    """Print a Markdown table."""
    list_convolutions: bool = False
    """forward, backward: print the convolutions that make the floor, with their operations."""

    def run(self) -> None:
        """Measure and print."""
        result = self.measure()
        print(result.markdown() if self.markdown else result.text())
        if self.out is not None:
            self.out.write_text(json.dumps(result.as_dict(), indent=2) + "\n", encoding="utf-8")

    def measure(self) -> Any:
        """Return the benchmark's result."""
        if self.what == "rtv":
            from medfe.benchmark.smoothing import benchmark_rtv

            return benchmark_rtv(self.repeats, self.images)
        if self.what in ("step", "data"):
            from medfe.benchmark.step import benchmark_data, benchmark_step

            training: Literal["32-true", "bf16-mixed"] = "bf16-mixed" if self.precision == "bfloat16" else "32-true"
            if self.what == "step":
                return benchmark_step(self.preset, training, self.batch_size, self.repeats)
            return benchmark_data(self.preset, training, self.data, self.repeats)
        from medfe.benchmark.forward import benchmark_forward

        result, convolutions = benchmark_forward(
            self.preset, self.precision, self.batch_size or 1, self.repeats, backward=self.what == "backward"
        )
        if self.list_convolutions:
            print("\n".join(f"{item.flops / 1e6:10.1f} MFLOP  {item}" for item in convolutions))
        return result


@dataclass
class ImportPublished:
    """Turn a checkpoint of the released MEDFE or MEDFE+CAE code into a run folder."""

    encoder: Annotated[Positional[Path], arg(name="EN.pth")]
    """Encoder."""
    decoder: Annotated[Positional[Path], arg(name="DE.pth")]
    """Decoder."""
    bottleneck: Annotated[Positional[Path], arg(name="MEDFE.pth")]
    """Everything between."""
    out: Path
    """Run folder to write."""

    def run(self) -> None:
        """Import and check."""
        from medfe.import_published import import_published

        print(import_published(self.encoder, self.decoder, self.bottleneck, self.out))


@dataclass
class Export:
    """Make a folder of weights to ship from finished runs: float16 files, a card, a picture."""

    runs: Positional[tuple[Path, ...]]
    """Run folders, one for each arm."""
    out: Path
    """Folder to write."""
    data_note: str
    """What the training photographs are, for the card."""
    val: Path
    """Folder of photographs that were not trained on, for the card's figures."""
    autoencoders: Path | None = None
    """Folder of the auto-encoders that an arm used."""

    def run(self) -> None:
        """Export."""
        from medfe.export import export_weights

        print(export_weights(self.runs, self.autoencoders, self.out, data=self.data_note, val=self.val))


COMMANDS: dict[str, Callable[..., Any]] = {
    "train-autoencoder": TrainAutoencoder,
    "train": Train,
    "inpaint": Inpaint,
    "evaluate": Evaluate,
    "rtv": Rtv,
    "benchmark": Benchmark,
    "import-published": ImportPublished,
    "export": Export,
}


def overrides(assignments: tuple[str, ...], values: dict[str, Any] | None = None) -> dict[str, Any]:
    """Put `a.b=value` into nested settings; values are read as JSON, or else as text.

    Args:
        assignments: what follows `--set`.
        values: settings to change.

    Raises:
        MedfeError: if there is no `=`, or what has an option of its own or holds settings is given a value.
    """
    values = {} if values is None else values
    for assignment in assignments:
        path, separator, text = assignment.partition("=")
        if not separator:
            raise MedfeError(f"--set {assignment}: expected NAME=VALUE")
        *parents, name = path.strip().split(".")
        place = values
        for parent in parents:
            place = place.setdefault(parent, {})
            if not isinstance(place, dict):
                raise MedfeError(f"--set {assignment}: {parent} is a value, it has no settings of its own")
        if isinstance(place.get(name), dict):
            raise MedfeError(f"--set {assignment}: {name} holds settings, expected {path.strip()}.NAME=VALUE")
        if path.strip() in ("preset", "arm", "kind"):
            raise MedfeError(f"--set {assignment}: expected --{path.strip()} {text}")
        try:
            place[name] = json.loads(text)
        except ValueError:
            place[name] = text
    return values


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; exit code 2 for a user's mistake, with one line that says which."""
    logging.basicConfig(level=logging.WARNING, format="medfe: %(message)s")
    command = tyro.extras.subcommand_cli_from_dict(
        COMMANDS,
        prog="medfe", description="MEDFE image inpainting, its variant MEDFE+CAE, and a bench to compare them.",
        args=sys.argv[1:] if arguments is None else arguments,
    )  # fmt: skip
    try:
        command.run()
    except MedfeError as error:
        fail(str(error))
    except OSError as error:  # disk full, no permission: nothing that a traceback would explain
        if isinstance(error, BrokenPipeError):
            os._exit(0)
        fail(f"{error.filename or 'file system'}: {error.strerror or error}")
    except KeyboardInterrupt:
        print("medfe: interrupted", file=sys.stderr)
        sys.exit(INTERRUPTED)


def fail(message: str) -> None:
    """Print a one-line error and exit with code 2."""
    print("medfe: error: " + " ".join(message.split()), file=sys.stderr)
    sys.exit(USER_ERROR)
