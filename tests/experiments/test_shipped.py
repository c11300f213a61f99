"""Trainings that start from others, and shipped weights that stand in for a training that is recorded."""

from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

from medfe.config import AutoencoderRunConfig, RunConfig
from medfe.errors import MedfeError
from medfe.experiments import pairs, trainings
from medfe.experiments.building import pair, training
from medfe.experiments.entry import Experiment
from medfe.experiments.measurement import Evaluation
from medfe.experiments.overview import overview
from medfe.experiments.records import record_path
from medfe.experiments.runfolder import is_trained
from medfe.experiments.runner import pending_entries, run_experiment
from medfe.experiments.shipped import stands_in, take_shipped
from medfe.training.autoencoder import autoencoder_metadata, train_autoencoder
from medfe.training.checkpoint import load_config
from medfe.training.generator import train_generator
from medfe.training.loop import build_fabric
from medfe.training.run import generator_metadata
from medfe.weightfiles import GENERATOR_FILE, load_weights, save_weights

from .conftest import AUTOENCODER, RUN

FIRST, SECOND, THIRD = "autoencoder_half_seed0", "autoencoder_seed1", "autoencoder_seed2"
PAIR = "autoencoders_seed0"


@pytest.fixture
def halves(data, workplace):
    """A pair, and an arm in three parts, each going on from the one before: the workplace."""
    evaluation = Evaluation("utkface/val", masks=("center",))
    first = training("tiny", "autoencoder", 0, arm="autoencoder_half", evaluation=evaluation, changes=RUN)
    second, third = (
        training("tiny", "autoencoder", seed, evaluation=evaluation, changes=RUN, start=start, autoencoders_seed=0)
        for seed, start in ((1, FIRST), (2, SECOND))
    )
    entries = (pair("tiny", 0, "utkface/train", "utkface/val", **AUTOENCODER), first, second, third)
    return workplace(Experiment(name="halves", question="Does it go on?", entries=entries))


@pytest.fixture
def trained(monkeypatch):
    """Names of what is trained, in order."""
    names = []
    real = pairs.train_to_the_end

    def noted(train, config, folder, place):
        names.append(f"{folder.name}.{config.autoencoder.kind}" if hasattr(config, "autoencoder") else folder.name)
        real(train, config, folder, place)

    for module in (pairs, trainings):
        monkeypatch.setattr(module, "train_to_the_end", noted)
    return names


@pytest.fixture
def ship(monkeypatch, tmp_path):
    """Function that makes the weights of a workplace's entries those that the package ships."""
    for module in (pairs, trainings):
        monkeypatch.setattr(module, "WEIGHTS", tmp_path / "weights")
    return lambda place, *names: _ship(place, tmp_path / "weights", *names)


def _ship(place, folder, *names):
    for name in names:
        entry = place.experiment[name]
        files = [GENERATOR_FILE] if name != PAIR else ["texture.safetensors", "structure.safetensors"]
        for file in files:
            tensors, metadata = load_weights(place.folder(entry) / file)
            target = file if name == PAIR else "autoencoder.safetensors"
            save_weights(folder / "tiny" / target, tensors, metadata, dtype=torch.float16)


def test_a_training_starts_from_the_weights_of_the_one_before(halves):
    run_experiment(halves, only=(SECOND,))
    second = load_weights(halves.folder(halves.experiment[SECOND]) / GENERATOR_FILE)
    assert [(one["seed"], one["images"]) for one in second.metadata["earlier"]] == [(0, 6)]
    one, other = (load_file(halves.folder(halves.experiment[name]) / GENERATOR_FILE) for name in (FIRST, SECOND))
    moved = torch.cat([(one[name] - other[name]).abs().flatten() for name in one if name.startswith("generator.")])
    assert 0 < moved.max() < 3 * 3 * 2e-4  # three steps of Adam, each of about its rate


def test_shipped_weights_spare_the_training_that_made_them(halves, trained, ship, tmp_path):
    run_experiment(halves, only=(FIRST,))
    assert trained == [f"{PAIR}.texture", f"{PAIR}.structure", FIRST]
    ship(halves, PAIR, FIRST)
    trained.clear()
    elsewhere = replace(halves, out=tmp_path / "elsewhere")
    run_experiment(elsewhere, only=(SECOND,))
    assert trained == [SECOND]
    taken, made = (load_file(place.folder(place.experiment[FIRST]) / GENERATOR_FILE) for place in (elsewhere, halves))
    for name, value in made.items():
        torch.testing.assert_close(taken[name], value.half().float(), rtol=0, atol=0)


def test_what_shipped_weights_started_from_is_not_trained_again(halves, trained, ship, tmp_path):
    run_experiment(halves, only=(SECOND,))
    ship(halves, PAIR, SECOND)
    trained.clear()
    elsewhere = replace(halves, out=tmp_path / "elsewhere")
    assert [entry.name for entry in pending_entries(elsewhere)] == [PAIR, SECOND, THIRD]
    hours = sum(elsewhere.experiment[name].estimate().seconds for name in (PAIR, SECOND, THIRD)) / 3600
    assert f"to do: 3 runs, about {hours:.1f} hours" not in overview(elsewhere)
    run_experiment(elsewhere)
    assert trained == [THIRD]
    assert not elsewhere.folder(elsewhere.experiment[FIRST]).exists()


@pytest.mark.parametrize("kind", ["generator", "texture"])
def test_what_is_under_way_is_trained_on(tmp_path, kind):
    if kind == "generator":
        config = RunConfig.create("tiny", **RUN)
        metadata, weights = generator_metadata(config, config.max_steps, "0123456789ab"), tmp_path / GENERATOR_FILE
        state = tmp_path / "state.ckpt"
    else:
        config = AutoencoderRunConfig.create("tiny", "texture", **AUTOENCODER)
        metadata = autoencoder_metadata(config, config.max_steps, "0123456789ab")
        weights, state = tmp_path / "texture.safetensors", tmp_path / "texture" / "state.ckpt"
    shipped = tmp_path / "shipped.safetensors"
    save_weights(shipped, {"a": torch.ones(2)}, metadata)
    assert stands_in(shipped, "0123456789ab", config, weights)
    state.parent.mkdir(exist_ok=True)
    state.touch()
    assert not stands_in(shipped, "0123456789ab", config, weights)


def test_a_training_that_was_elsewhere_is_not_measured_as_one_made_here(halves, ship, tmp_path):
    run_experiment(halves, only=(FIRST,))
    ship(halves, PAIR, FIRST)
    elsewhere = replace(halves, out=tmp_path / "elsewhere")
    run_experiment(elsewhere, only=(SECOND,))
    folder = elsewhere.folder(elsewhere.experiment[FIRST])
    record_path(elsewhere.results, elsewhere.experiment, elsewhere.experiment[FIRST]).unlink()
    with pytest.raises(MedfeError, match=f"{folder}: metrics.jsonl is missing, its training was elsewhere"):
        run_experiment(elsewhere, only=(FIRST,))


def test_finished_weights_without_a_state_are_not_trained_over(halves, ship, tmp_path):
    run_experiment(halves, only=(FIRST,))
    ship(halves, PAIR, FIRST)
    elsewhere = replace(halves, out=tmp_path / "elsewhere")
    run_experiment(elsewhere, only=(SECOND,))
    first, texture = (elsewhere.folder(elsewhere.experiment[name]) for name in (FIRST, PAIR))
    before = (first / GENERATOR_FILE).read_bytes()
    with pytest.raises(MedfeError, match=f"{first / GENERATOR_FILE}: this training is complete, but its state is gone"):
        train_generator(load_config(first, RunConfig), first, build_fabric("32-true"))
    assert (first / GENERATOR_FILE).read_bytes() == before
    with pytest.raises(MedfeError, match=f"{texture / 'texture.safetensors'}: this training is complete, but its"):
        train_autoencoder(load_config(texture / "texture", AutoencoderRunConfig), texture, build_fabric("32-true"))


@pytest.mark.parametrize(
    "change", [{}, {"settings": "0123456789ab"}, {"step": 1}, {"commit": "ba9876543210"}, {"earlier": [{"seed": 0}]}]
)
def test_shipped_weights_of_another_training_are_left_alone(tmp_path, change):
    config = RunConfig.create("tiny", **{**RUN, "seed": 4})
    metadata = generator_metadata(config, config.max_steps, "0123456789ab") | change
    shipped, weights = tmp_path / "none.safetensors", tmp_path / "out" / GENERATOR_FILE
    save_weights(shipped, {"generator.a": torch.ones(2)}, metadata)
    assert stands_in(shipped, "0123456789ab", config, weights) == (not change)
    further = config.replace(initial_weights=tmp_path / "earlier.safetensors")
    assert stands_in(shipped, "0123456789ab", further, weights) == ("earlier" in change)
    for other in ({"seed": 5}, {"batch_size": 3}, {"losses": config.losses.replace(l1_image=7.0)}):
        assert not stands_in(shipped, "0123456789ab", config.replace(**other), weights)
    take_shipped(shipped, config, weights)
    assert is_trained(weights.parent, weights, config) == (change.get("step") is None)


def test_an_unknown_commit_is_not_the_same_as_another_unknown_one(tmp_path):
    config = RunConfig.create("tiny", **RUN)
    shipped = tmp_path / "none.safetensors"
    save_weights(shipped, {"generator.a": torch.ones(2)}, generator_metadata(config, config.max_steps, ""))
    assert not stands_in(shipped, "", config, tmp_path / "out" / GENERATOR_FILE)


def test_where_nothing_is_shipped_nothing_stands_in(tmp_path):
    config = RunConfig.create("tiny")
    assert not stands_in(tmp_path / "none.safetensors", "0123456789ab", config, tmp_path / "out" / GENERATOR_FILE)


def test_without_a_record_nothing_stands_in(halves, trained, ship, tmp_path):
    run_experiment(halves, only=(FIRST,))
    ship(halves, PAIR, FIRST)
    trained.clear()
    fresh = replace(halves, out=tmp_path / "elsewhere", results=tmp_path / "other_results")
    run_experiment(fresh, only=(FIRST,))
    assert trained == [f"{PAIR}.texture", f"{PAIR}.structure", FIRST]
