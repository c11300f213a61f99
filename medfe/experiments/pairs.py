"""Entries that train the pair of auto-encoders of a seed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from medfe.config import AUTOENCODER_KINDS, AutoencoderKind, AutoencoderRunConfig
from medfe.data.folder import EvaluationPhotographs
from medfe.experiments.entry import Entry, Estimate, Experiment, Workplace, training_settings
from medfe.experiments.records import read_record
from medfe.experiments.runfolder import is_trained, train_to_the_end, trained_in, training_row
from medfe.experiments.shipped import stands_in, take_shipped
from medfe.inference import shipped_file
from medfe.targets.autoencoder import load_autoencoder
from medfe.training.autoencoder import reconstruction_l1, train_autoencoder
from medfe.weightfiles import read_metadata, weights_digest

SECONDS_PER_AUTOENCODER_IMAGE = 0.004
"""A training step at 64×64 divided by its images, on two threads; it grows with the pixels."""
_DISK = 20e6


@dataclass(frozen=True, kw_only=True)
class AutoencoderPair(Entry):
    """The texture and the structure auto-encoder of a seed.

    Attributes:
        preset: Preset whose features the codes match.
        photographs: Folder below --data.
        held_out: Folder below --data on which the reconstruction is judged.
        changes: Settings beside those of the preset, for `AutoencoderRunConfig.create`.
    """

    preset: str
    photographs: str
    held_out: str
    changes: Mapping[str, Any] = field(default_factory=dict)

    def config(self, kind: AutoencoderKind, root: Path | None = None) -> AutoencoderRunConfig:
        """Return the settings of one of the two trainings."""
        data = {**self.changes.get("data", {}), "root": root}
        return AutoencoderRunConfig.create(self.preset, kind, **{**self.changes, "seed": self.seed, "data": data})

    def settings(self, experiment: Experiment) -> dict[str, Any]:
        """Return both trainings' settings and what they are judged on."""
        del experiment
        trainings: dict[str, Any] = {kind: training_settings(self.config(kind)) for kind in AUTOENCODER_KINDS}
        return {**trainings, "photographs": self.photographs, "held_out": self.held_out}

    def estimate(self) -> Estimate:
        """Return the cost of both."""
        configs = [self.config(kind) for kind in AUTOENCODER_KINDS]
        pixels = sum(one.max_steps * one.batch_size * (one.autoencoder.image_size / 64) ** 2 for one in configs)
        return Estimate(pixels * SECONDS_PER_AUTOENCODER_IMAGE, _DISK)

    def has_weights(self, place: Workplace) -> bool:
        """Tell whether both are trained."""
        return all(self._is_trained(kind, place) for kind in AUTOENCODER_KINDS)

    def run(self, place: Workplace) -> dict[str, Any]:
        """Train both and measure their reconstruction."""
        self.restore(place)
        folder = place.folder(self)
        paths = {kind: folder / f"{kind}.safetensors" for kind in AUTOENCODER_KINDS}
        training = {
            kind: training_row(folder / kind, path, self._placed(kind, place))
            for kind, path in paths.items()
        }  # fmt: skip
        precisions = [trained_in(path, self._placed(kind, place)) for kind, path in paths.items()]
        commits = [read_metadata(path).get("commit", "") for path in paths.values()]
        return {
            "training": training, "autoencoders": self.reconstruction(place),
            "precision": ", ".join(dict.fromkeys(precisions)),
            "commit": " ".join(dict.fromkeys(" ".join(commits).split())),
            "weights": {kind: used["digest"] for kind, used in self.weights(place).items()},
        }  # fmt: skip

    def can_restore(self, place: Workplace) -> bool:
        """Tell whether what is not trained here is shipped."""
        return all(self._is_trained(kind, place) or self._is_shipped(kind, place) for kind in AUTOENCODER_KINDS)

    def restore(self, place: Workplace) -> None:
        """Take those that are shipped if they are these, and train what is not complete."""
        folder = place.folder(self)
        for kind in AUTOENCODER_KINDS:
            if self._is_trained(kind, place):
                continue
            config = self._placed(kind, place)
            if self._is_shipped(kind, place):
                take_shipped(shipped_file(self.preset, kind), config, folder / f"{kind}.safetensors")
            else:
                train_to_the_end(train_autoencoder, config, folder, place)

    def reconstruction(self, place: Workplace) -> dict[str, Any]:
        """Return the mean absolute error of both reconstructions on held-out photographs, images in [-1, 1]."""
        folder = place.folder(self)
        row: dict[str, Any] = {"run": self.name, "held_out": self.held_out}
        for kind in AUTOENCODER_KINDS:
            autoencoder = load_autoencoder(folder / f"{kind}.safetensors", kind)
            photographs = EvaluationPhotographs(place.photographs(self.held_out), autoencoder.config.image_size)
            row |= {f"{kind}_l1": reconstruction_l1(autoencoder, photographs), "photographs": len(photographs)}
        return row

    def weights(self, place: Workplace) -> dict[str, Any]:
        """Return of each weight file its digest, and whether it was rounded: pairs made again have other weights."""
        paths = {kind: place.folder(self) / f"{kind}.safetensors" for kind in AUTOENCODER_KINDS}
        return {
            kind: {"digest": weights_digest(path), "rounded": read_metadata(path).get("rounded")}
            for kind, path in paths.items()
        }  # fmt: skip

    def _is_trained(self, kind: AutoencoderKind, place: Workplace) -> bool:
        folder = place.folder(self)
        return is_trained(folder / kind, folder / f"{kind}.safetensors", self._placed(kind, place))

    def _is_shipped(self, kind: AutoencoderKind, place: Workplace) -> bool:
        record = read_record(place.results, place.experiment, self) or {}
        digest, weights = record.get("weights", {}).get(kind, ""), place.folder(self) / f"{kind}.safetensors"
        return stands_in(shipped_file(self.preset, kind), digest, self._placed(kind, place), weights)

    def _placed(self, kind: AutoencoderKind, place: Workplace) -> AutoencoderRunConfig:
        return self.config(kind, place.photographs(self.photographs).absolute())
