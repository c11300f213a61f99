"""Small photographs, a judge that is a formula, and settings for evaluations that take a second."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from medfe.config import GeneratorConfig
from medfe.evaluation.embeddings import Embedder, Judges
from medfe.evaluation.settings import EvaluationSettings
from medfe.models.generator import build_generator
from medfe.weightfiles import save_weights

N = 12
MISSING = ("FID and KID: found no weights, to be had from https://example.org/inception",)


@pytest.fixture(scope="session")
def faces(tmp_path_factory):
    """Smooth pictures under names of UTKFace's form."""
    folder = tmp_path_factory.mktemp("data") / "faces"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for i in range(N):
        picture = Image.fromarray(rng.integers(0, 256, (6, 6, 3), dtype=np.uint8)).resize((48, 40), 3)
        picture.save(folder / f"{6 * i}_{i % 2}_0_2017010{i:02d}.png")
    return folder


@pytest.fixture(scope="session")
def run_folder(tmp_path_factory):
    """A run folder with an untrained generator, 64 pixels."""
    folder = tmp_path_factory.mktemp("runs") / "untrained"
    config = GeneratorConfig.preset("tiny")
    torch.manual_seed(0)
    tensors = {f"generator.{name}": value for name, value in build_generator(config).state_dict().items()}
    metadata = {"kind": "generator", "config": config.model_dump(mode="json"), "target": {"arm": "none"}}
    save_weights(folder / "generator.safetensors", tensors, metadata)
    return folder


def pooled(images):
    """Mean colours of a 3×3 grid: features without a network."""
    return F.adaptive_avg_pool2d(images.float(), 3).flatten(1) / 255


@pytest.fixture
def judges(monkeypatch):
    """Replace the networks that judge by a formula; Inception and LPIPS are missing."""
    found = Judges((Embedder("pooled", pooled),), None, MISSING)
    monkeypatch.setattr("medfe.evaluation.protocol.find_judges", lambda *_, **__: found)
    return found


@pytest.fixture
def make_settings(faces, tmp_path):
    """Return a function that makes settings of a small evaluation."""

    def make(**changes):
        small = {
            "methods": ("mean_fill", "telea"), "data": faces, "out": tmp_path / "out", "masks": "irregular_thick",
            "n": N, "image_size": 32, "batch_size": 5, "allow_small": True, "resamples": 99, "permutations": 99,
            "subsamples": 20,
        }  # fmt: skip
        return EvaluationSettings(**(small | changes))

    return make
