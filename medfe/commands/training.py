"""Training, and what becomes of finished runs."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from tyro.conf import Positional, arg

from medfe.commands.part import Part
from medfe.errors import MedfeError


@dataclass
class Launch:
    """Where and how long a training runs."""

    accelerator: str = "auto"
    """cpu, cuda, mps, or auto."""
    devices: int = 1
    """Devices (on a CPU: processes) of each machine."""
    num_nodes: int = 1
    """Machines; --out and data.cache must be folders that all of them see."""
    strategy: str = "auto"
    """How devices work together: auto or ddp."""
    max_minutes: float | None = None
    """Stop cleanly after so many minutes, whatever they are spent on; the same command goes on."""

    def fabric(self, precision: str) -> Any:
        """Return the launched Fabric."""
        from medfe.training.loop import build_fabric

        check_minutes(self.max_minutes)
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
    part: Annotated[Part, arg(name="")] = field(default_factory=Part)
    seed: int = 0
    """Seed of weights, order and crops."""
    max_steps: int | None = None
    """Steps of the whole run, 32 images each."""
    set: Annotated[tuple[str, ...], arg(metavar="NAME=VALUE [NAME=VALUE …]")] = ()
    """Any other setting of AutoencoderRunConfig, such as batch_size=16."""
    dry_run: bool = False
    """Check settings and photographs, print what would be done, and stop."""
    launch: Annotated[Launch, arg(name="")] = field(default_factory=Launch)

    def run(self) -> None:
        """Train one or both."""
        from medfe.config import AUTOENCODER_KINDS, AutoencoderRunConfig

        started = time.monotonic()  # --max-minutes are for both together
        kinds = AUTOENCODER_KINDS if self.kind == "both" else (self.kind,)
        for kind in kinds:
            changes = overrides(self.set, {
                "seed": self.seed, "data": {"root": self.data, **vars(self.part)},
                "autoencoder": {},
            })  # fmt: skip
            if self.max_steps is not None:
                changes["max_steps"] = self.max_steps
            config = AutoencoderRunConfig.create(self.preset, kind, **changes)
            print(config.model_dump_json(indent=2))
            from medfe.training.autoencoder import describe, train_autoencoder

            if self.dry_run:
                print(describe(config, self.out))
                continue
            fabric = self.launch.fabric(config.precision)
            minutes = self.launch.max_minutes
            left = None if minutes is None else minutes - (time.monotonic() - started) / 60
            done = train_autoencoder(config, self.out, fabric, max_minutes=left)
            print(f"{kind}: step {done} of {config.max_steps}, {self.out / kind}.safetensors")
            if done < config.max_steps:
                say_unfinished()
                return


@dataclass
class Train:
    """Train a generator against one arm's intermediate ground truth."""

    data: Path | None = None
    """Folder of photographs."""
    out: Path | None = None
    """Run folder. If it holds a run with the same settings, that run goes on."""
    resume: Path | None = None
    """Run folder to go on with, with the settings saved there and no others."""
    preset: str = "paper"
    """paper, faces128, faces64 or tiny."""
    arm: str = "low_resolution"
    """low_resolution, autoencoder, random_encoder, block_dct, none, or module:Class of your own target."""
    autoencoders: Path | None = None
    """Folder with texture.safetensors and structure.safetensors, for the arms that need them."""
    initial_weights: str | None = None
    """Shipped model, run folder or weight file to start from instead of random weights; its generator must have the
    same settings (size, head, convention). Critics and optimizers start anew."""
    part: Annotated[Part, arg(name="")] = field(default_factory=Part)
    seed: int = 0
    """Seed of weights, order, masks and crops."""
    max_steps: int | None = None
    """Steps of the whole run."""
    set: Annotated[tuple[str, ...], arg(metavar="NAME=VALUE [NAME=VALUE …]")] = ()
    """Any other setting of RunConfig, such as target.weight=8 or generator.head=tanh."""
    dry_run: bool = False
    """Check settings, photographs and weights, print what would be done, and stop; devices are not looked at."""
    launch: Annotated[Launch, arg(name="")] = field(default_factory=Launch)

    def run(self) -> None:
        """Train, or describe the run."""
        from medfe.config import AUTOENCODER_ARMS, RunConfig

        if self.resume is not None:
            from medfe.training.checkpoint import load_config

            fresh = vars(Train(resume=self.resume, dry_run=self.dry_run, launch=self.launch))
            if ignored := [name for name, value in vars(self).items() if value != fresh[name]]:
                found = " and ".join("--split or --layout" if name == "part" else f"--{name}" for name in ignored)
                found = found.replace("_", "-")
                raise MedfeError(f"--resume goes on with the settings saved in {self.resume}: found {found} beside it")
            out, config = self.resume, load_config(self.resume, RunConfig)
        else:
            if self.data is None or self.out is None:
                raise MedfeError("train: --data DIR and --out RUN are needed, or --resume RUN")
            out = self.out
            changes = overrides(self.set, {
                "seed": self.seed, "data": {"root": self.data, **vars(self.part)},
                "target": {"autoencoders": self.autoencoders},
            })  # fmt: skip
            if self.max_steps is not None:
                changes["max_steps"] = self.max_steps
            if self.initial_weights is not None:
                from medfe.inference import find_weights

                changes["initial_weights"] = find_weights(self.initial_weights)
            config = RunConfig.create(self.preset, self.arm, **changes)
            if self.autoencoders and ":" not in self.arm and self.arm not in AUTOENCODER_ARMS:
                raise MedfeError(f"--autoencoders: arm {self.arm} uses none, expected --arm autoencoder beside it")
        print(config.model_dump_json(indent=2))
        from medfe.training.generator import describe, train_generator

        if self.dry_run:
            print(describe(config, out))
            return
        fabric = self.launch.fabric(config.precision)
        done = train_generator(config, out, fabric, max_minutes=self.launch.max_minutes)
        print(f"step {done} of {config.max_steps}, {out / 'generator.safetensors'}")
        if done < config.max_steps:
            say_unfinished()


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
    errors: Path | None = None
    """Table of an evaluation, means by age and sex in it, for the card: means.csv of medfe evaluate, or
    an experiment's EXPERIMENT_comparison_means.csv."""

    def run(self) -> None:
        """Export."""
        from medfe.export import export_weights

        print(
            export_weights(
                self.runs, self.autoencoders, self.out, data=self.data_note, val=self.val, errors=self.errors
            )
        )


def check_minutes(minutes: float | None) -> None:
    """Check a `--max-minutes`.

    Raises:
        MedfeError: if it is below 0.
    """
    if minutes is not None and not minutes >= 0:
        raise MedfeError(f"--max-minutes: found {minutes:g}, expected at least 0")


def say_unfinished() -> None:
    """Say that a training was stopped before its last step, which is no error: what is there was saved."""
    print("medfe: stopped before the last step; the same command goes on", file=sys.stderr)


# What a preset's other settings depend on: set afterwards, an arm would keep the weight and the head of another.
_OPTIONS = {
    "preset": "--preset", "arm": "--arm", "target.arm": "--arm", "kind": "--kind", "autoencoder.kind": "--kind",
    "initial_weights": "--initial-weights",
}  # fmt: skip


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
        if option := _OPTIONS.get(path.strip()):
            raise MedfeError(f"--set {assignment}: expected {option} {text}")
        try:
            place[name] = json.loads(text)
        except ValueError:
            place[name] = text
    return values
