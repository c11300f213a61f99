"""Experiment `autoencoders`: how near to lossless a texture code is, by its number of channels, at the paper's scale.

Codes of 3 to 256 channels on the 32×32 grid of 256×256 photographs, beside two targets that need no training: the
published one (an image shrunk bilinearly to the grid, 3 numbers a cell), and block DCT codes of as many coefficients.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch.utils.data import DataLoader

from medfe.analysis.reconstruction import Reconstruct, bilinear_round_trip, dct_round_trip, lost_spectrum
from medfe.config import AutoencoderRunConfig
from medfe.data.files import listing_digest
from medfe.data.folder import EvaluationPhotographs, PhotographCrops
from medfe.data.images import to_uint8
from medfe.evaluation.bootstrap import bootstrap_mean
from medfe.evaluation.distances import frechet_distance
from medfe.evaluation.embeddings import Embedder, build_embedder
from medfe.evaluation.metrics import psnr
from medfe.experiments.entry import Entry, Estimate, Experiment, Workplace, training_settings
from medfe.experiments.records import TABLES
from medfe.experiments.runfolder import is_trained, train_to_the_end, trained_in, training_row
from medfe.experiments.target_times import TargetTimes
from medfe.targets.autoencoder import load_autoencoder
from medfe.training.autoencoder import train_autoencoder
from medfe.weightfiles import load_weights

CHANNELS = (3, 16, 64, 128, 256)
COEFFICIENTS = (3, 16, 64, 128, 192)
CROPS = 2048
NEAR_LOSSLESS = 0.02
"""Mean absolute error below which a reconstruction is called near-lossless, images in [-1, 1]."""
_BATCH = 8
_SECONDS_PER_IMAGE = 0.08  # training step on two threads: that of faces64's auto-encoder, times the operations
_SECONDS_PER_CROP = 0.15  # reconstructed and judged
_DISK = 25e6


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """How reconstructions are judged: random crops at native resolution, the same for all.

    Attributes:
        photographs: Folder below --data.
        image_size: Side of a crop, pixels.
        crops: Number of crops, spread evenly over the photographs.
    """

    photographs: str
    image_size: int = 256
    crops: int = CROPS

    def tables(self, ways: dict[str, tuple[int, Reconstruct]], place: Workplace, **origin: Any) -> dict[str, Any]:
        """Return the tables `reconstruction` (a row for each way) and `spectrum` (one for each way and frequency).

        Args:
            ways: by name: numbers a cell of the code, and the reconstruction.
            place: data and output folder.
            origin: columns to add.
        """
        folder = place.photographs(self.photographs)
        crops = EvaluationPhotographs(folder, self.image_size).random_crops(self.crops)
        embedder = build_embedder("efficientnet_lite2")
        name = f"crops_{self.image_size}_{self.crops}_{listing_digest(crops.paths, folder)}_{embedder.name}.npy"
        real = _real_features(crops, embedder, place.out / "evaluation" / name, place)
        rows, spectra = [], []
        for name, (channels, way) in ways.items():
            row, spectrum = judge(crops, way, embedder, real, place)
            label = {"code": name, "channels": channels, **origin}
            rows.append({**label, **row})
            spectra.append(spectrum.reset_index().assign(**label))
        return {"reconstruction": pd.DataFrame(rows), "spectrum": pd.concat(spectra, ignore_index=True)}


@torch.inference_mode()
def judge(
    crops: PhotographCrops, way: Reconstruct, embedder: Embedder, real: np.ndarray[Any, Any], place: Workplace
) -> tuple[dict[str, Any], pd.DataFrame]:
    """Return a row of figures of one way to reconstruct, and what it loses by frequency.

    `l1` is the mean absolute error, images in [-1, 1], with the 95 % interval of a bootstrap over photographs; `psnr`
    the mean, dB; the Fréchet distance is that between the crops and their reconstructions.
    """
    l1, decibel, photographs, features, spectra = [], [], [], [], []
    for batch in DataLoader(crops, batch_size=_BATCH):
        place.stop.check()
        images = batch["image"]
        again = way(images)
        l1 += (again - images).abs().flatten(1).mean(dim=1).tolist()
        decibel += psnr(again, images).tolist()
        photographs += batch["photograph"].tolist()
        features.append(embedder(_eight_bit(again)))
        spectra.append(lost_spectrum(images, again)[["image", "error"]] * len(images))
    interval = bootstrap_mean(l1, photographs)
    finite = np.isfinite(decibel)
    row = {
        "crops": len(l1), "photographs": interval.n, "l1": interval.estimate, "l1_low": interval.low,
        "l1_high": interval.high, "psnr": float(np.mean(np.array(decibel)[finite])) if finite.any() else np.inf,
        embedder.frechet: frechet_distance(real, np.concatenate(features)),
    }  # fmt: skip
    total = sum(spectra[1:], spectra[0]) / len(l1)
    return row, total.assign(lost=total["error"] / total["image"])


def _real_features(crops: PhotographCrops, embedder: Embedder, path: Path, place: Workplace) -> np.ndarray[Any, Any]:
    """Return the judge's features of the crops themselves, computed once for all entries."""
    if not path.is_file():
        found = []
        for batch in DataLoader(crops, batch_size=_BATCH):
            place.stop.check()
            found.append(embedder(_eight_bit(batch["image"])))
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(f".{os.getpid()}.part.npy")  # two processes may be at it; files are equal
        np.save(partial, np.concatenate(found))
        partial.replace(path)
    features: np.ndarray[Any, Any] = np.load(path)
    return features


def _eight_bit(images: torch.Tensor) -> torch.Tensor:
    return torch.from_numpy(to_uint8(images)).movedim(-1, 1)


@dataclass(frozen=True, kw_only=True)
class TextureCode(Entry):
    """A texture auto-encoder of the paper's size with a code of so many channels, trained and judged.

    Attributes:
        channels: Channels of the code.
        photographs: Folder below --data to train on.
        judgement: How it is judged.
        images: Training crops.
        batch_size: Crops a step.
        preset: Preset that sets all other sizes.
    """

    channels: int
    photographs: str
    judgement: Judgement
    images: int = 16_000
    batch_size: int = 8
    preset: str = "paper"

    def config(self, root: Path | None = None) -> AutoencoderRunConfig:
        """Return the settings of the training; without a folder they name no file."""
        return AutoencoderRunConfig.create(
            self.preset, "texture", seed=self.seed, autoencoder={"code_channels": self.channels},
            batch_size=self.batch_size, max_steps=self.images // self.batch_size,
            data={"root": root, "crop": "random", "resize": 1.0},
        )  # fmt: skip

    def settings(self, experiment: Experiment) -> dict[str, Any]:
        """Return the settings of training and judgement."""
        del experiment
        return {
            "training": training_settings(self.config()),
            "photographs": self.photographs,
            **_settings(self.judgement),
        }

    def estimate(self) -> Estimate:
        """Return the cost of training and judgement."""
        return Estimate(self.images * _SECONDS_PER_IMAGE + self.judgement.crops * _SECONDS_PER_CROP, _DISK)

    def has_weights(self, place: Workplace) -> bool:
        """Tell whether it is trained."""
        return is_trained(place.folder(self) / "texture", self._weights(place), self._placed(place))

    def run(self, place: Workplace) -> dict[str, Any]:
        """Train, reconstruct, judge."""
        config = self._placed(place)
        if not self.has_weights(place):
            train_to_the_end(train_autoencoder, config, place.folder(self), place)
        autoencoder = load_autoencoder(self._weights(place), "texture")
        ways: dict[str, tuple[int, Reconstruct]] = {"auto-encoder": (self.channels, autoencoder)}
        return {
            "training": {"texture": training_row(place.folder(self) / "texture", self._weights(place), config)},
            "precision": trained_in(self._weights(place), config),
            "commit": load_weights(self._weights(place)).metadata.get("commit", ""),
            TABLES: self.judgement.tables(ways, place, images=self.images),
        }

    def _weights(self, place: Workplace) -> Path:
        return place.folder(self) / "texture.safetensors"

    def _placed(self, place: Workplace) -> AutoencoderRunConfig:
        return self.config(place.photographs(self.photographs).absolute())


@dataclass(frozen=True, kw_only=True)
class UntrainedCodes(Entry):
    """The comparison that needs no training: the published target, and block DCT codes.

    Attributes:
        judgement: How they are judged.
    """

    judgement: Judgement

    def settings(self, experiment: Experiment) -> dict[str, Any]:
        """Return which codes, and how they are judged."""
        del experiment
        return {"codes": ["bilinear", *(f"block DCT {count}" for count in COEFFICIENTS)], **_settings(self.judgement)}

    def estimate(self) -> Estimate:
        """Return the cost of judgement."""
        return Estimate((2 + len(COEFFICIENTS)) * self.judgement.crops * _SECONDS_PER_CROP, 1e7)

    def has_weights(self, place: Workplace) -> bool:
        """Tell that nothing starts from it."""
        del place
        return True

    def run(self, place: Workplace) -> dict[str, Any]:
        """Reconstruct and judge."""
        ways: dict[str, tuple[int, Reconstruct]] = {"bilinear": (3, bilinear_round_trip)}
        ways |= {f"block DCT {count}": (count, _DctCode(count)) for count in COEFFICIENTS}
        return {TABLES: self.judgement.tables(ways, place, images=0)}


@dataclass(frozen=True)
class _DctCode:
    coefficients: int

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        return dct_round_trip(images, self.coefficients)


def _settings(judgement: Judgement) -> dict[str, Any]:
    return {"judged_on": judgement.photographs, "image_size": judgement.image_size, "crops": judgement.crops}


def autoencoders_experiment() -> Experiment:
    """Return the experiment."""
    judgement = Judgement(photographs="scenes/test")
    codes = [
        TextureCode(
            name=f"texture_{channels}", folder=f"paper_scenes/texture_{channels}", arm=f"texture_{channels}",
            channels=channels, photographs="scenes/train", judgement=judgement,
        )
        for channels in CHANNELS
    ]  # fmt: skip
    untrained = UntrainedCodes(
        name="untrained", folder="paper_scenes/untrained", arm="untrained", judgement=judgement
    )  # fmt: skip
    times = TargetTimes(name="times", folder="paper_scenes/times", arm="times", photographs=judgement.photographs)
    return Experiment(
        name="autoencoders",
        question="How near to lossless is a texture code at the paper's scale, by its number of channels?",
        entries=(times, untrained, *codes),
        notes=(
            "One seed each, 16,000 crops; the papers' setting takes 1.6 million. What is reached, not what could be.",
            f"Near-lossless is called an L1 below {NEAR_LOSSLESS:g}, images in [-1, 1].",
        ),
    )
