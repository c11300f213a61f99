"""Trainings that start from others, and shipped weights that stand in for a training that is recorded."""

from dataclasses import replace
from functools import partial

import pytest
import torch
from safetensors.torch import load_file

from medfe import inference
from medfe.config import AutoencoderRunConfig, RunConfig
from medfe.errors import MedfeError
from medfe.experiments import pairs, trainings
from medfe.experiments.building import pair, training
from medfe.experiments.entry import Experiment
from medfe.experiments.measurement import Evaluation
from medfe.experiments.overview import overview
from medfe.experiments.records import read_record, record_path
from medfe.experiments.runner import pending_entries, run_experiment
from medfe.experiments.shipped import stands_in
from medfe.training.autoencoder import train_autoencoder
from medfe.training.checkpoint import load_config
from medfe.training.generator import describe, train_generator
from medfe.training.loop import build_fabric
from medfe.weightfiles import GENERATOR_FILE, load_weights, save_weights, weights_digest

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
    monkeypatch.setattr(inference, "WEIGHTS", tmp_path / "weights")
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
    said = overview(elsewhere)
    assert said.count("done, its weights are taken from the package") == 2
    assert "to do: 1 runs" in said
    run_experiment(elsewhere)
    journal = (elsewhere.out / "halves.log").read_text()
    assert f"{SECOND}: begun, taken from the package" in journal
    assert f"{THIRD}: begun, estimated" in journal
    assert (
        load_weights(elsewhere.folder(elsewhere.experiment[SECOND]) / GENERATOR_FILE).metadata["rounded"] == "float16"
    )
    third = read_record(elsewhere.results, elsewhere.experiment, elsewhere.experiment[THIRD])
    pair_record = read_record(elsewhere.results, elsewhere.experiment, elsewhere.experiment[PAIR])
    for kind, used in third["autoencoders_weights"].items():
        assert used == {"digest": pair_record["weights"][kind], "rounded": "float16"}
    assert trained == [THIRD]
    assert not elsewhere.folder(elsewhere.experiment[FIRST]).exists()


@pytest.mark.parametrize("kind", ["generator", "texture"])
def test_what_is_under_way_is_trained_on(tmp_path, kind):
    if kind == "generator":
        config, weights, folder = RunConfig.create("tiny", **RUN), tmp_path / GENERATOR_FILE, tmp_path
    else:
        config = AutoencoderRunConfig.create("tiny", "texture", **AUTOENCODER)
        weights, folder = tmp_path / "texture.safetensors", tmp_path / "texture"
    shipped = tmp_path / "shipped.safetensors"
    save_weights(shipped, {"a": torch.ones(2)}, {})
    assert stands_in(shipped, weights_digest(shipped), config, weights)
    folder.mkdir(exist_ok=True)
    (folder / "state.ckpt").touch()
    assert not stands_in(shipped, weights_digest(shipped), config, weights)


def test_a_pair_of_which_one_is_trained_here_takes_the_other(halves, trained, ship, tmp_path):
    run_experiment(halves, only=(FIRST,))
    ship(halves, PAIR, FIRST)
    (tmp_path / "weights" / "tiny" / "texture.safetensors").unlink()
    trained.clear()
    elsewhere = replace(halves, out=tmp_path / "elsewhere")
    run_experiment(elsewhere, only=(SECOND,))
    assert trained == [f"{PAIR}.texture", SECOND]


def test_a_training_that_was_elsewhere_is_not_measured_as_one_made_here(halves, ship, tmp_path):
    run_experiment(halves, only=(FIRST,))
    ship(halves, PAIR, FIRST)
    elsewhere = replace(halves, out=tmp_path / "elsewhere")
    run_experiment(elsewhere, only=(SECOND,))
    folder = elsewhere.folder(elsewhere.experiment[FIRST])
    record_path(elsewhere.results, elsewhere.experiment, elsewhere.experiment[FIRST]).unlink()
    with pytest.raises(
        MedfeError,
        match=f"so its weights were not trained here; delete {folder / GENERATOR_FILE} to",
    ):
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


def test_only_the_very_weights_of_the_record_stand_in(tmp_path):
    config, weights, shipped = RunConfig.create("tiny", **RUN), tmp_path / "out" / GENERATOR_FILE, tmp_path / "shipped"
    made = {"a": torch.tensor([1.0, 1 / 3]), "steps": torch.tensor(7)}
    save_weights(tmp_path / "made", made, {"step": 3})
    digest = weights_digest(tmp_path / "made")
    for tensors, same in (
        (made, True), ({**made, "a": torch.tensor([1.0, 0.3])}, False), ({**made, "steps": torch.tensor(8)}, False),
        ({"b": made["a"], "steps": made["steps"]}, False), ({**made, "a": made["a"][None]}, False),
    ):  # fmt: skip
        save_weights(shipped, tensors, {"step": 3}, dtype=torch.float16)
        assert stands_in(shipped, digest, config, weights) == same
    assert not stands_in(shipped, "", config, weights)  # of a record that does not know
    assert not stands_in(tmp_path / "missing", digest, config, weights)
    shipped.write_bytes(b"version https://git-lfs.github.com/spec/v1")
    assert not stands_in(shipped, digest, config, weights)


def test_weights_without_settings_are_not_trained_over(tmp_path, data):
    config = RunConfig.create("tiny", **RUN, data={"root": data / "utkface" / "train"})
    save_weights(tmp_path / GENERATOR_FILE, {"a": torch.ones(2)}, {"kind": "generator"})
    for train in (describe, partial(train_generator, fabric=build_fabric("32-true"))):
        with pytest.raises(MedfeError, match=f"{GENERATOR_FILE}: weights without their settings; give another folder"):
            train(config, tmp_path)
    assert load_file(tmp_path / GENERATOR_FILE).keys() == {"a"}


def test_a_matched_run_beside_shipped_weights_has_the_auto_encoders_for_its_gradients(
    data, workplace, trained, ship, tmp_path
):
    evaluation = Evaluation("utkface/val", masks=("center",))
    arms = [training("tiny", arm, 0, evaluation=evaluation, changes=RUN) for arm in ("low_resolution", "autoencoder")]
    matched = training(
        "tiny", "low_resolution", 0, arm="matched", evaluation=evaluation, changes=RUN,
        matches=("autoencoder_seed0", "low_resolution_seed0"),
    )  # fmt: skip
    entries = (pair("tiny", 0, "utkface/train", "utkface/val", **AUTOENCODER), *arms, matched)
    place = workplace(Experiment(name="matching", question="Is it as strong?", entries=entries))
    run_experiment(place, only=("autoencoder_seed0", "low_resolution_seed0"))
    for name in ("low_resolution_seed0", "autoencoder_seed0"):
        tensors, metadata = load_weights(place.folder(place.experiment[name]) / GENERATOR_FILE)
        save_weights(tmp_path / "weights" / "tiny" / f"{metadata['target']['arm']}.safetensors", tensors, metadata)
    trained.clear()
    elsewhere = replace(place, out=tmp_path / "elsewhere")
    run_experiment(elsewhere)
    assert trained == [f"{PAIR}.texture", f"{PAIR}.structure", "matched_seed0"]


def test_without_a_record_nothing_stands_in(halves, trained, ship, tmp_path):
    run_experiment(halves, only=(FIRST,))
    ship(halves, PAIR, FIRST)
    trained.clear()
    fresh = replace(halves, out=tmp_path / "elsewhere", results=tmp_path / "other_results")
    run_experiment(fresh, only=(FIRST,))
    assert trained == [f"{PAIR}.texture", f"{PAIR}.structure", FIRST]
