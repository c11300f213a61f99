"""Trainings that start from others, and shipped weights that stand in for a training that is recorded."""

import shutil
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
from medfe.experiments.entry import Experiment, Workplace
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


@pytest.fixture(scope="module")
def made(data, tmp_path_factory):
    """A pair, and an arm in three parts, each going on from the one before; all but the third have run. Not changed."""
    evaluation = Evaluation("utkface/val", masks=("center",))
    first = training("tiny", "autoencoder", 0, arm="autoencoder_half", evaluation=evaluation, changes=RUN)
    second, third = (
        training("tiny", "autoencoder", seed, evaluation=evaluation, changes=RUN, start=start, autoencoders_seed=0)
        for seed, start in ((1, FIRST), (2, SECOND))
    )
    entries = (pair("tiny", 0, "utkface/train", "utkface/val", **AUTOENCODER), first, second, third)
    folder = tmp_path_factory.mktemp("made")
    experiment = Experiment(name="parts", question="Does it go on?", entries=entries)
    place = Workplace(experiment=experiment, data=data, out=folder / "out", results=folder / "results")
    run_experiment(place, only=(SECOND,))
    return place


@pytest.fixture
def elsewhere(made, tmp_path):
    """Function that returns the workplace of another machine: records of these entries, no weights."""

    def elsewhere(*told):
        place = replace(made, out=tmp_path / "out", results=tmp_path / "results")
        for name in told:
            source, copy = (record_path(one.results, made.experiment, made.experiment[name]) for one in (made, place))
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(source.read_bytes())
        return place

    return elsewhere


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


def weights_of(place, name):
    return place.folder(place.experiment[name]) / GENERATOR_FILE


def test_a_training_starts_from_the_weights_of_the_one_before(made):
    metadata = load_weights(weights_of(made, SECOND)).metadata
    assert [(one["seed"], one["images"]) for one in metadata["earlier"]] == [(0, 6)]
    one, other = (load_file(weights_of(made, name)) for name in (FIRST, SECOND))
    moved = torch.cat([(one[name] - other[name]).abs().flatten() for name in one if name.startswith("generator.")])
    assert 0 < moved.max() < 3 * 3 * 2e-4  # three steps of Adam, each of about its rate


def test_shipped_weights_spare_the_training_that_made_them(made, elsewhere, trained, ship):
    ship(made, PAIR, FIRST)
    place = elsewhere(PAIR, FIRST)
    run_experiment(place, only=(SECOND,))
    assert trained == [SECOND]
    taken, original = (load_file(weights_of(one, FIRST)) for one in (place, made))
    for name, value in original.items():
        torch.testing.assert_close(taken[name], value.half().float(), rtol=0, atol=0)


def test_what_shipped_weights_started_from_is_not_trained_again(made, elsewhere, trained, ship):
    ship(made, PAIR, SECOND)
    place = elsewhere(PAIR, FIRST, SECOND)
    assert [entry.name for entry in pending_entries(place)] == [PAIR, SECOND, THIRD]
    said = overview(place)
    assert said.count("done, its weights are taken from the package") == 2
    assert "to do: 1 runs" in said
    run_experiment(place)
    assert trained == [THIRD]
    assert not weights_of(place, FIRST).parent.exists()
    journal = (place.out / "parts.log").read_text()
    assert f"{SECOND}: begun, taken from the package" in journal
    assert f"{THIRD}: begun, estimated" in journal


def test_what_is_under_way_does_not_ask_for_what_it_started_from(made, elsewhere, trained):
    place = elsewhere(PAIR, FIRST)
    for name in (PAIR, SECOND):
        shutil.copytree(made.folder(made.experiment[name]), place.folder(place.experiment[name]))
    config = weights_of(place, SECOND).with_name("config.json")
    config.write_text(config.read_text().replace(str(made.out), str(place.out)))
    assert [entry.name for entry in pending_entries(place, only=(SECOND,))] == [SECOND]
    weights_of(place, SECOND).unlink()  # its state says how far it is
    assert [entry.name for entry in pending_entries(place, only=(SECOND,))] == [SECOND]
    run_experiment(place, only=(SECOND,))
    assert trained == [SECOND]
    assert not place.folder(place.experiment[FIRST]).exists()


def test_records_tell_that_weights_were_rounded(made, elsewhere, ship):
    ship(made, PAIR, SECOND)
    place = elsewhere(PAIR, FIRST, SECOND)
    run_experiment(place)
    metadata = load_weights(weights_of(place, THIRD)).metadata
    assert [(one["seed"], one["rounded"]) for one in metadata["earlier"]] == [(0, None), (1, "float16")]
    told = {name: read_record(place.results, place.experiment, place.experiment[name]) for name in (PAIR, THIRD)}
    for kind, used in told[THIRD]["autoencoders_weights"].items():
        assert used == {"digest": told[PAIR]["weights"][kind], "rounded": "float16"}


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


def test_a_pair_of_which_one_is_trained_here_takes_the_other(made, elsewhere, trained, ship, tmp_path):
    ship(made, PAIR, FIRST)
    (tmp_path / "weights" / "tiny" / "texture.safetensors").unlink()
    run_experiment(elsewhere(PAIR, FIRST), only=(SECOND,))
    assert trained == [f"{PAIR}.texture", SECOND]


def test_weights_that_were_taken_are_neither_measured_as_made_here_nor_trained_over(made, elsewhere, ship):
    ship(made, PAIR, FIRST)
    place = elsewhere(PAIR, FIRST)
    for name in (PAIR, FIRST):
        place.experiment[name].restore(place)
    first, folder = weights_of(place, FIRST), place.folder(place.experiment[PAIR])
    record_path(place.results, place.experiment, place.experiment[FIRST]).unlink()
    with pytest.raises(MedfeError, match=f"so its weights were not trained here; delete {first} to"):
        run_experiment(place, only=(FIRST,))
    before = first.read_bytes()
    with pytest.raises(MedfeError, match=f"{first}: this training is complete, but its state is gone"):
        train_generator(load_config(first.parent, RunConfig), first.parent, build_fabric("32-true"))
    assert first.read_bytes() == before
    with pytest.raises(MedfeError, match=f"{folder / 'texture.safetensors'}: this training is complete, but its"):
        train_autoencoder(load_config(folder / "texture", AutoencoderRunConfig), folder, build_fabric("32-true"))


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
    run_experiment(replace(place, out=tmp_path / "elsewhere"))
    assert trained == [f"{PAIR}.texture", f"{PAIR}.structure", "matched_seed0"]


def test_without_a_record_nothing_stands_in(made, elsewhere, trained, ship):
    ship(made, PAIR, FIRST)
    run_experiment(elsewhere(), only=(FIRST,))
    assert trained == [f"{PAIR}.texture", f"{PAIR}.structure", FIRST]
