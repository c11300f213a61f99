"""Entries that train generators."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from medfe.config import RunConfig
from medfe.errors import MedfeError
from medfe.experiments.entry import Entry, Estimate, Experiment, Workplace, training_settings
from medfe.experiments.gradients import gradient_norm
from medfe.experiments.measurement import Evaluation, channel_tables, measure_run
from medfe.experiments.pairs import AutoencoderPair
from medfe.experiments.records import TABLES, read_record
from medfe.experiments.runfolder import is_trained, train_to_the_end, trained_in, training_row
from medfe.experiments.shipped import stands_in, take_shipped
from medfe.inference import shipped_file
from medfe.training.checkpoint import STATE_FILE, load_config, write_atomically
from medfe.training.generator import train_generator
from medfe.weightfiles import GENERATOR_FILE, read_metadata, weights_digest

SECONDS_PER_IMAGE = {"faces64": 0.038, "faces128": 0.099, "tiny": 0.012}
"""A training step divided by its images, on two threads of the CPU that the estimates were measured on."""
_SECONDS_PER_JUDGED_IMAGE = 0.03
_SECONDS_BESIDE = 60.0  # structure images, channel tables
_DISK = {"faces64": 430e6, "faces128": 280e6, "tiny": 15e6}  # a finished run folder, state included
_DISK_PER_JUDGED_IMAGE = 6e3


@dataclass(frozen=True, kw_only=True)
class GeneratorRun(Entry):
    """One training of a generator, evaluated.

    Attributes:
        preset: As of `RunConfig.create`.
        target: Arm as the package calls it; `arm` is the label in tables, which tells variants apart.
        photographs: Folder below --data to train on.
        evaluation: How it is evaluated.
        pair: Name of the entry whose auto-encoders the target needs.
        matches: Names of two finished runs (reference, own): the weight of the term is the own run's, times the ratio
            of both gradient norms, so that it acts as strongly as the reference's.
        matched_on: Folder below --data on which the gradients are measured.
        start: Name of the entry whose weights it starts from; default: random ones.
        changes: Settings beside those of the preset and the arm.
    """

    preset: str
    target: str
    photographs: str
    evaluation: Evaluation
    pair: str = ""
    matches: tuple[str, str] | None = None
    matched_on: str = "utkface/val"
    start: str = ""
    changes: Mapping[str, Any] = field(default_factory=dict)

    def config(
        self,
        root: Path | None = None,
        autoencoders: Path | None = None,
        weight: float | None = None,
        initial_weights: Path | None = None,
    ) -> RunConfig:
        """Return the settings of the training; without arguments they name no file."""
        data = {**self.changes.get("data", {}), "root": root}
        target = {**self.changes.get("target", {}), "autoencoders": autoencoders, "seed": self.seed}
        target |= {} if weight is None else {"weight": weight}
        changes = {
            **self.changes, "seed": self.seed, "data": data, "target": target, "initial_weights": initial_weights,
        }  # fmt: skip
        return RunConfig.create(self.preset, self.target, **changes)

    def settings(self, experiment: Experiment) -> dict[str, Any]:
        """Return the settings of training and evaluation, and the digests of the runs it starts from."""
        training = training_settings(self.config())
        if self.matches:
            training["target"]["weight"] = f"gradient norm of {self.matches[0]}, on {self.matched_on}"
        starts = {name: experiment[name].digest(experiment) for name in self.needs}
        evaluation = json.loads(json.dumps(asdict(self.evaluation)))
        return {"training": training, "photographs": self.photographs, "needs": starts, "evaluation": evaluation}

    def estimate(self) -> Estimate:
        """Return the cost of training and evaluation."""
        config = self.config()
        judged = self.evaluation.items
        seconds = config.max_steps * config.batch_size * SECONDS_PER_IMAGE[self.preset]
        return Estimate(
            seconds + judged * _SECONDS_PER_JUDGED_IMAGE + _SECONDS_BESIDE,
            _DISK[self.preset] + judged * _DISK_PER_JUDGED_IMAGE,
        )

    def has_weights(self, place: Workplace) -> bool:
        """Tell whether it is trained."""
        folder = place.folder(self)
        if self.matches:
            config = self._resumed(place)
            return config is not None and is_trained(folder, folder / GENERATOR_FILE, config)
        return is_trained(folder, folder / GENERATOR_FILE, self._placed(place))

    def run(self, place: Workplace) -> dict[str, Any]:
        """Train, evaluate, and measure the channels."""
        self.restore(place)
        folder = place.folder(self)
        matching = self._match(place) if self.matches else {}
        config = self._placed(place, matching.get("weight"))
        row = training_row(folder, folder / GENERATOR_FILE, config)
        metrics, areas = measure_run(self.evaluation, self.name, folder, config.generator.image_size, place)
        content: dict[str, Any] = {
            "commit": read_metadata(folder / GENERATOR_FILE).get("commit", ""),
            "precision": trained_in(folder / GENERATOR_FILE, config), "weight": config.target.weight,
            "training": row, "metrics": metrics, "areas": areas, "weights": weights_digest(folder / GENERATOR_FILE),
        }  # fmt: skip
        if self.pair:
            pair = self._pair(place)
            content |= {"autoencoders": pair.reconstruction(place), "autoencoders_weights": pair.weights(place)}
        if matching:
            achieved = gradient_norm(folder, place.photographs(self.matched_on))
            content["matching"] = {**matching, "achieved": achieved, "ratio": achieved / matching["reference_norm"]}
        if self.evaluation.channels is not None:
            content[TABLES] = channel_tables(folder, place.photographs(self.evaluation.channels))
        return content

    def requires(self, experiment: Experiment) -> tuple[str, ...]:
        """Return `needs`, and the auto-encoders of matched runs, for their gradients."""
        matched = [experiment[name] for name in self.matches or ()]
        pairs = [entry.pair for entry in matched if isinstance(entry, GeneratorRun) and entry.pair]
        return tuple(dict.fromkeys([*self.needs, *pairs]))

    def requires_now(self, place: Workplace) -> tuple[str, ...]:
        """Return `requires`, without the run that it started from once it is under way."""
        needed = self.requires(place.experiment)
        under_way = bool(self.start) and ((place.folder(self) / STATE_FILE).exists() or self.has_weights(place))
        return tuple(name for name in needed if not (under_way and name == self.start))

    def can_restore(self, place: Workplace) -> bool:
        """Tell whether its weights are shipped."""
        if self.matches:  # its weight is measured on other runs first
            return False
        digest = (read_record(place.results, place.experiment, self) or {}).get("weights", "")
        shipped, weights = shipped_file(self.preset, self.target), place.folder(self) / GENERATOR_FILE
        return stands_in(shipped, digest, self._placed(place), weights)

    def restore(self, place: Workplace) -> None:
        """Take the shipped weights if this run made them, else train it as far as it is not."""
        folder = place.folder(self)
        config = self._placed(place, self._match(place)["weight"] if self.matches else None)
        weights = folder / GENERATOR_FILE
        if is_trained(folder, weights, config):
            return
        if self.can_restore(place):
            take_shipped(shipped_file(self.preset, self.target), config, weights)
        else:
            train_to_the_end(train_generator, config, folder, place)

    def _match(self, place: Workplace) -> dict[str, Any]:
        """Measure both gradient norms, once: a run that goes on keeps its weight."""
        assert self.matches is not None
        path = place.folder(self) / "weight_matching.json"
        if path.is_file():
            found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            return found
        photographs = place.photographs(self.matched_on)
        reference, own = (place.experiment[name] for name in self.matches)
        norms = [gradient_norm(place.folder(entry), photographs) for entry in (reference, own)]
        weight = load_config(place.folder(own), RunConfig).target.weight * norms[0] / norms[1]
        result = {
            "reference": reference.name, "reference_norm": norms[0], "own": own.name, "own_norm": norms[1],
            "photographs": self.matched_on, "weight": weight,
        }  # fmt: skip
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, json.dumps(result, indent=2) + "\n")
        return result

    def _resumed(self, place: Workplace) -> RunConfig | None:
        """Return the settings with the matched weight, if it was measured already."""
        if not (place.folder(self) / "weight_matching.json").is_file():
            return None
        return self._placed(place, self._match(place)["weight"])

    def _placed(self, place: Workplace, weight: float | None = None) -> RunConfig:
        root = place.photographs(self.photographs).absolute()
        autoencoders = place.folder(self._pair(place)).absolute() if self.pair else None
        start = place.folder(place.experiment[self.start]).absolute() / GENERATOR_FILE if self.start else None
        return self.config(root, autoencoders, weight, start)

    def _pair(self, place: Workplace) -> AutoencoderPair:
        entry = place.experiment[self.pair]
        if not isinstance(entry, AutoencoderPair):
            raise MedfeError(f"experiment {place.experiment.name}: {self.pair} is no pair of auto-encoders")
        return entry
