"""A folder of generated photographs, and an experiment so small that it runs in seconds."""

from pathlib import Path

import pytest
import skimage.data
from PIL import Image

from medfe.experiments.building import KID, pair, training
from medfe.experiments.entry import Contrast, Experiment, Workplace
from medfe.experiments.measurement import Evaluation
from medfe.experiments.runner import run_experiment
from medfe.experiments.stopping import Stop

HELD_OUT = 6
NETWORK = {"base_channels": 2, "feature_channels": 8}
SHORT = {"max_steps": 3, "batch_size": 2, "workers": 0, "log_every": 1, "precision": "32-true"}
RUN = {
    **SHORT, "losses": {"perceptual": 0}, "generator": NETWORK, "target": {"structure_image": "image"},
}  # fmt: skip
AUTOENCODER = {**SHORT, "autoencoder": {"base_channels": 4, "max_channels": 8, "code_channels": 8}}


@pytest.fixture(scope="session")
def data(tmp_path_factory) -> Path:
    """Folder with utkface/{train,val,test}: pieces of a photograph, 70×66 pixels."""
    folder = tmp_path_factory.mktemp("data")
    photograph = Image.fromarray(skimage.data.astronaut())
    for part, count in (("train", 6), ("val", HELD_OUT), ("test", HELD_OUT)):
        (folder / "utkface" / part).mkdir(parents=True)
        for number in range(count):
            left, top = 70 * number, 40 * number
            photograph.crop((left, top, left + 70, top + 66)).save(folder / "utkface" / part / f"{number}.png")
    return folder


def small_experiment(seeds=(0,), **changes) -> Experiment:
    """Pair and both arms for each seed; `changes` are those of the generators' settings."""
    evaluation = Evaluation("utkface/val", masks=("center",))
    entries = []
    for seed in seeds:
        entries += [
            pair("tiny", seed, "utkface/train", "utkface/val", **AUTOENCODER),
            training("tiny", "low_resolution", seed, evaluation=evaluation, changes={**RUN, **changes}),
            training("tiny", "autoencoder", seed, evaluation=evaluation, changes={**RUN, **changes}),
        ]
    return Experiment(
        name="small", question="Does it run?", entries=tuple(entries),
        primary=Contrast("autoencoder", "low_resolution", KID, "center"), relative_margin=0.045,
        descriptive=(("autoencoder", "low_resolution"),),
    )  # fmt: skip


@pytest.fixture
def workplace(data, tmp_path):
    """Make the workplace of an experiment in this test's folder."""

    def workplace(experiment, max_minutes=None):
        return Workplace(
            experiment=experiment, data=data, out=tmp_path / "out", results=tmp_path / "results", stop=Stop(max_minutes)
        )

    return workplace


@pytest.fixture(scope="session")
def finished(data, tmp_path_factory):
    """A finished experiment: its workplace."""
    folder = tmp_path_factory.mktemp("finished")
    place = Workplace(experiment=small_experiment(), data=data, out=folder / "out", results=folder / "results")
    run_experiment(place)
    return place


def names(entries):
    return [entry.name for entry in entries]
