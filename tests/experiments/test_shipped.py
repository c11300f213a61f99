"""Trainings that start from others, and shipped weights that stand in for a training that is recorded."""

from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

from medfe.config import RunConfig
from medfe.experiments import trainings
from medfe.experiments.building import pair, training
from medfe.experiments.entry import Experiment
from medfe.experiments.measurement import Evaluation
from medfe.experiments.runfolder import is_trained
from medfe.experiments.runner import run_experiment
from medfe.experiments.shipped import take_shipped
from medfe.training.run import generator_metadata
from medfe.weightfiles import GENERATOR_FILE, load_weights, save_weights

from .conftest import AUTOENCODER, RUN

FIRST, SECOND, PAIR = "autoencoder_half_seed0", "autoencoder_seed1", "autoencoders_seed0"


@pytest.fixture
def halves(data, workplace):
    """A pair, and an arm in two halves: the workplace."""
    evaluation = Evaluation("utkface/val", masks=("center",))
    first = training("tiny", "autoencoder", 0, arm="autoencoder_half", evaluation=evaluation, changes=RUN)
    second = training(
        "tiny", "autoencoder", 1, evaluation=evaluation, changes=RUN, start=first.name, autoencoders_seed=0
    )
    entries = (pair("tiny", 0, "utkface/train", "utkface/val", **AUTOENCODER), first, second)
    return workplace(Experiment(name="halves", question="Does it go on?", entries=entries))


@pytest.fixture
def trained(monkeypatch):
    """Names of what is trained, in order."""
    names = []
    real = trainings.train_to_the_end

    def noted(train, config, folder, place):
        names.append(f"{folder.name}.{config.autoencoder.kind}" if hasattr(config, "autoencoder") else folder.name)
        real(train, config, folder, place)

    monkeypatch.setattr(trainings, "train_to_the_end", noted)
    return names


def ship(place, folder, *names):
    """Make the weights of these entries those that the package ships, float16."""
    for name in names:
        entry = place.experiment[name]
        files = [GENERATOR_FILE] if name != PAIR else ["texture.safetensors", "structure.safetensors"]
        for file in files:
            tensors, metadata = load_weights(place.folder(entry) / file)
            target = file if name == PAIR else "autoencoder.safetensors"
            save_weights(folder / "tiny" / target, tensors, metadata, dtype=torch.float16)


def test_a_training_starts_from_the_weights_of_the_one_before(halves):
    run_experiment(halves)
    second = load_weights(halves.folder(halves.experiment[SECOND]) / GENERATOR_FILE)
    assert [(one["seed"], one["images"]) for one in second.metadata["earlier"]] == [(0, 6)]
    one, other = (load_file(halves.folder(halves.experiment[name]) / GENERATOR_FILE) for name in (FIRST, SECOND))
    moved = torch.cat([(one[name] - other[name]).abs().flatten() for name in one if name.startswith("generator.")])
    assert 0 < moved.max() < 3 * 3 * 2e-4  # three steps of Adam, each of about its rate


def test_shipped_weights_spare_the_training_that_made_them(halves, trained, monkeypatch, tmp_path):
    run_experiment(halves, only=(FIRST,))
    assert trained == [f"{PAIR}.texture", f"{PAIR}.structure", FIRST]
    monkeypatch.setattr(trainings, "WEIGHTS", tmp_path / "weights")
    ship(halves, tmp_path / "weights", PAIR, FIRST)
    trained.clear()
    elsewhere = replace(halves, out=tmp_path / "elsewhere")
    run_experiment(elsewhere)
    assert trained == [SECOND]
    taken, made = (load_file(place.folder(place.experiment[FIRST]) / GENERATOR_FILE) for place in (elsewhere, halves))
    for name, value in made.items():
        torch.testing.assert_close(taken[name], value.half().float(), rtol=0, atol=0)


@pytest.mark.parametrize("change", [None, "seed", "step", "commit", "target", "config", "kind", "preset"])
def test_shipped_weights_of_another_training_are_left_alone(tmp_path, change):
    config = RunConfig.create("tiny", **{**RUN, "seed": 4})
    metadata = generator_metadata(config, config.max_steps, "0123456789ab")
    shipped, out = tmp_path / "none.safetensors", tmp_path / "out"
    save_weights(shipped, {"generator.a": torch.ones(2)}, metadata | ({change: "another"} if change else {}))
    taken = take_shipped(shipped, {"commit": "0123456789ab"}, config, out / GENERATOR_FILE)
    assert taken == (change is None)
    assert out.exists() == taken
    assert not taken or is_trained(out, out / GENERATOR_FILE, config)


def test_where_nothing_is_shipped_nothing_is_taken(tmp_path):
    config = RunConfig.create("tiny")
    assert not take_shipped(tmp_path / "none.safetensors", {"commit": ""}, config, tmp_path / "out" / GENERATOR_FILE)


def test_without_a_record_nothing_stands_in(halves, trained, monkeypatch, tmp_path):
    run_experiment(halves, only=(FIRST,))
    monkeypatch.setattr(trainings, "WEIGHTS", tmp_path / "weights")
    ship(halves, tmp_path / "weights", PAIR, FIRST)
    trained.clear()
    fresh = replace(halves, out=tmp_path / "elsewhere", results=tmp_path / "other_results")
    run_experiment(fresh, only=(FIRST,))
    assert trained == [f"{PAIR}.texture", f"{PAIR}.structure", FIRST]
