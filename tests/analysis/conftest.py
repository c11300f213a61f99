"""Trained-looking runs: folders with the files that a training leaves, their weights freshly drawn."""

import numpy as np
import pytest
import torch

from medfe.config import AutoencoderConfig, RunConfig
from medfe.data.images import resize
from medfe.data.samples import scenes
from medfe.models.autoencoder import build_autoencoder
from medfe.models.generator import build_generator
from medfe.targets import build_target
from medfe.training.checkpoint import save_config
from medfe.training.run import generator_metadata
from medfe.weightfiles import save_weights


@pytest.fixture(scope="session")
def autoencoders(tmp_path_factory):
    """Folder with a pair of untrained auto-encoders of the preset tiny."""
    folder = tmp_path_factory.mktemp("autoencoders")
    for kind in ("structure", "texture"):
        torch.manual_seed(len(kind))
        config = AutoencoderConfig.matching(RunConfig.create("tiny").generator, kind)
        metadata = {"kind": kind, "config": config.model_dump(mode="json")}
        save_weights(folder / f"{kind}.safetensors", build_autoencoder(config).state_dict(), metadata)
    return folder


@pytest.fixture
def make_run(tmp_path, autoencoders):
    """Return a function that makes a run folder of the preset tiny."""

    def make(arm, with_target=True, **target):
        torch.manual_seed(0)
        config = RunConfig.create("tiny", arm, target={"autoencoders": str(autoencoders), **target})
        trained = {f"generator.{name}": value for name, value in build_generator(config.generator).state_dict().items()}
        if with_target and arm == "low_resolution":
            own = build_target(config.target, config.generator).state_dict()
            trained |= {f"target.{name}": value for name, value in own.items()}
        folder = tmp_path / arm
        save_config(folder, config)
        save_weights(folder / "generator.safetensors", trained, generator_metadata(config, 0, "", "32-true"))
        return folder

    return make


@pytest.fixture(scope="session")
def pictures(tmp_path_factory):
    """Folder of twelve crops of photographs, 64×64 pixels."""
    folder = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    for name in ("astronaut", "chelsea", "coffee"):
        photograph = resize(scenes()[name], 160)
        for number in range(4):
            left, top = rng.integers(96, size=2)
            photograph.crop((left, top, left + 64, top + 64)).save(folder / f"{name}{number}.png")
    return folder
