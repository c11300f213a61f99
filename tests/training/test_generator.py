"""The generator's training in this process: stops, resumes, and what its files hold."""

import json
import sys
from itertools import pairwise

import pytest
import torch

from medfe import Inpainter
from medfe.config import ARMS, AutoencoderConfig, RunConfig
from medfe.models.autoencoder import build_autoencoder
from medfe.training import checkpoint
from medfe.training import run as run_module
from medfe.training.generator import build_samples
from medfe.weightfiles import load_weights, read_metadata, save_weights, weights_digest

from .conftest import metrics, same_run, state_of, tree

PLUG_IN = """
import torch
from medfe.models.branches import Features
from medfe.targets import Target

class Spoiled(Target):
    uses_structure_image = False

    def goals(self, image, structure_image):
        self.count = getattr(self, "count", 0) + 1
        value = torch.full((), float("nan") if self.count == 5 else 0.0)
        return Features(value, value)

    def loss(self, features, goals):
        return features.structure.abs().mean() + goals.structure

class Trained(Target):
    uses_structure_image = False

    def __init__(self, config, generator):
        super().__init__(config, generator)
        self.scale = torch.nn.Parameter(torch.ones(()))
        self.normalize = torch.nn.Sequential(torch.nn.Conv2d(1, 1, 1), torch.nn.BatchNorm2d(1, affine=False))
        self.frozen = torch.nn.BatchNorm2d(1).requires_grad_(False)

    def goals(self, image, structure_image):
        grey = torch.nn.functional.avg_pool2d(image.mean(dim=1, keepdim=True), 8)
        return Features(grey, grey)

    def read(self, feature):
        return self.scale * self.normalize(feature[:, :1])
"""


@pytest.fixture
def plug_in(tmp_path_factory, monkeypatch):
    folder = tmp_path_factory.mktemp("plug_in")
    (folder / "own_targets.py").write_text(PLUG_IN)
    monkeypatch.syspath_prepend(folder)
    yield
    sys.modules.pop("own_targets", None)


@pytest.fixture(scope="module")
def autoencoders(tmp_path_factory):
    folder = tmp_path_factory.mktemp("autoencoders")
    for kind in ("structure", "texture"):
        config = AutoencoderConfig(kind=kind, image_size=64, base_channels=2, max_channels=8, code_channels=8)
        metadata = {"kind": kind, "config": config.model_dump(mode="json")}
        save_weights(folder / f"{kind}.safetensors", build_autoencoder(config).state_dict(), metadata)
    return folder


def needed(arm, autoencoders):
    return ("--autoencoders", str(autoencoders)) if arm in ("autoencoder", "random_encoder") else ()


@pytest.mark.parametrize("arm", ARMS)
def test_every_arm_trains_and_its_weights_fill_pictures(train, autoencoders, pictures, tmp_path, arm):
    code, message = train(tmp_path, *needed(arm, autoencoders), "--max-minutes", "0", arm=arm, steps=2)
    assert (code, message) == (0, "medfe: stopped before the last step; the same command goes on")
    assert train(tmp_path, *needed(arm, autoencoders), arm=arm, steps=2)[0] == 0
    used = {kind: weights_digest(autoencoders / f"{kind}.safetensors") for kind in ("structure", "texture")}
    said = read_metadata(tmp_path / "generator.safetensors").get("autoencoders")
    assert said == (used if arm in ("autoencoder", "random_encoder") else None)
    rows = metrics(tmp_path)
    assert [row["step"] for row in rows] == [1, 2]
    assert (rows[0]["intermediate"] == 0) == (arm == "none")
    inpainter = Inpainter.from_pretrained(tmp_path, "cpu")
    assert inpainter.arm == arm
    with torch.device("cpu"):
        filled = inpainter(pictures / "0.png", torch.eye(72, 80).numpy())
    assert filled.size == (80, 72)
    metadata = load_weights(tmp_path / "generator.safetensors").metadata
    assert (metadata["step"], metadata["seed"], metadata["preset"]) == (2, 0, "tiny")


@pytest.mark.usefixtures("plug_in")
def test_a_class_of_ones_own_trains_with_its_parameters_and_keeps_what_they_go_with(train, tmp_path):
    assert train(tmp_path, arm="own_targets:Trained", steps=3)[0] == 0
    assert metrics(tmp_path)[0]["intermediate"] > 0
    assert state_of(tmp_path)["pair"]["target.scale"] != 1
    tensors = load_weights(tmp_path / "generator.safetensors").tensors
    assert tensors["target.scale"] != 1
    assert tensors["target.normalize.1.num_batches_tracked"] == 6  # of both features
    torch.testing.assert_close(
        tensors["target.normalize.1.running_mean"], state_of(tmp_path)["pair"]["target.normalize.1.running_mean"]
    )
    assert not [name for name in tensors if name.startswith("target.frozen")]


@pytest.mark.usefixtures("plug_in")
def test_a_loss_that_is_not_finite_stops_with_step_and_term_and_keeps_the_last_state(train, tmp_path):
    code, message = train(tmp_path, arm="own_targets:Spoiled", steps=9, settings=("save_every=2",))
    assert code == 2
    assert "step 5: intermediate = nan, total = nan" in message
    assert state_of(tmp_path)["step"] == 4
    assert load_weights(tmp_path / "generator.safetensors").metadata["step"] == 4
    assert all(torch.isfinite(tensor).all() for tensor in state_of(tmp_path)["pair"].values())


def test_it_stops_after_its_minutes_and_goes_on(train, tmp_path):
    assert train(tmp_path / "a", steps=4)[0] == 0
    for done in (1, 2):
        assert train(tmp_path / "b", "--max-minutes", "0", steps=4)[0] == 0
        assert state_of(tmp_path / "b")["step"] == done
    assert train(tmp_path / "b", steps=4)[0] == 0
    same_run(tmp_path / "a", tmp_path / "b")


def test_it_resumes_with_the_settings_that_were_saved(train, tmp_path, capsys):
    from medfe import cli

    assert train(tmp_path / "a", steps=3)[0] == 0
    assert train(tmp_path / "b", "--max-minutes", "0", steps=3)[0] == 0
    cli.main(["train", "--resume", str(tmp_path / "b"), "--accelerator", "cpu"])
    same_run(tmp_path / "a", tmp_path / "b")


def test_weights_name_the_commits_of_all_starts(train, tmp_path, monkeypatch):
    for name, minutes in (("first", "0"), ("second", "10")):
        monkeypatch.setattr(checkpoint, "commit", lambda name=name: name)
        assert train(tmp_path, "--max-minutes", minutes, steps=2)[0] == 0
    assert load_weights(tmp_path / "generator.safetensors").metadata["commit"] == "first second"


def test_a_finished_run_is_left_as_it_is(train, tmp_path):
    assert train(tmp_path, steps=2)[0] == 0
    before = {path: content for path, content in tree(tmp_path).items() if "tfevents" not in path.name}
    assert train(tmp_path, steps=2)[0] == 0
    after = {path: content for path, content in tree(tmp_path).items() if "tfevents" not in path.name}
    assert after == before


def test_a_run_killed_between_its_last_weights_and_state_is_finished_by_the_next_start(train, tmp_path, monkeypatch):
    """Weights come first: were it the state, the run would count as finished with the weights of an earlier step."""
    assert train(tmp_path / "a", steps=4, settings=("save_every=2",))[0] == 0

    class KilledError(BaseException):
        pass

    def kill_at_the_end(folder, state):
        if state["step"] == 4:
            raise KilledError
        save_state(folder, state)

    save_state = run_module.save_state
    with monkeypatch.context() as patch:
        patch.setattr(run_module, "save_state", kill_at_the_end)
        with pytest.raises(KilledError):
            train(tmp_path / "b", steps=4, settings=("save_every=2",))
    assert state_of(tmp_path / "b")["step"] == 2
    assert train(tmp_path / "b", steps=4, settings=("save_every=2",))[0] == 0
    same_run(tmp_path / "a", tmp_path / "b")


def test_what_changes_neither_data_nor_weights_may_differ(train, tmp_path):
    assert train(tmp_path, "--max-minutes", "0", steps=2)[0] == 0
    assert train(tmp_path, steps=2, settings=("workers=1", "save_every=1", "log_every=2"))[0] == 0
    assert state_of(tmp_path)["step"] == 2


def test_a_dry_run_writes_nothing(train, pictures, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    before = tree(pictures)
    for structure in ("image", "rtv"):
        assert train(tmp_path / "run", "--dry-run", settings=(f"target.structure_image={structure}",))[0] == 0
    assert not list(tmp_path.iterdir())
    assert tree(pictures) == before


def test_two_arms_with_one_seed_see_the_same_photographs_and_masks(pictures):
    def samples(arm, seed=0):
        data = {"root": pictures}
        target = {"structure_image": "image"}
        config = RunConfig.create("tiny", arm, seed=seed, data=data, target=target, max_steps=5)
        return build_samples(config)

    for arm in ARMS[1:]:
        for first, second in zip(samples("low_resolution"), samples(arm), strict=True):
            assert torch.equal(first["image"], second["image"])
            assert torch.equal(first["mask"], second["mask"])
    other = [sample["mask"] for sample in samples("none", seed=1)]
    assert not all(torch.equal(a["mask"], b) for a, b in zip(samples("none"), other, strict=True))


def test_two_arms_with_one_seed_start_from_the_same_weights_and_crops(train, autoencoders, tmp_path):
    """All that differs in the first step is the intermediate term, where the head is the same."""
    rows = []
    for arm in ("low_resolution", "none", "block_dct", "autoencoder"):
        settings = ("generator.head=linear",)
        assert train(tmp_path / arm, *needed(arm, autoencoders), arm=arm, steps=1, settings=settings)[0] == 0
        row = metrics(tmp_path / arm)[0]
        rows.append({name: value for name, value in row.items() if name not in ("intermediate", "total")})
    assert rows == rows[:1] * 4


def test_the_saved_settings_are_those_of_the_run(train, tmp_path):
    assert train(tmp_path, steps=1, settings=("target.weight=5",))[0] == 0
    saved = json.loads((tmp_path / "config.json").read_text())
    assert saved["target"]["weight"] == 5
    assert RunConfig.model_validate(saved).generator.base_channels == 2


def test_the_moving_average_of_the_run_is_that_of_its_steps(train, tmp_path):
    """Decay min(0.999, (1 + t) / (10 + t)), starting from the first weights."""
    states = []
    for _ in range(3):
        assert train(tmp_path, "--max-minutes", "0", steps=3, settings=("target.weight=1",))[0] == 0
        states.append(state_of(tmp_path))
    name = "generator.fuse.0.weight"
    for step, (before, after) in enumerate(pairwise(states), start=2):
        decay = (1 + step) / (10 + step)
        expected = decay * before["ema"][name] + (1 - decay) * after["pair"][name]
        torch.testing.assert_close(after["ema"][name], expected)
    weights = load_weights(tmp_path / "generator.safetensors").tensors
    assert torch.equal(weights[name], states[-1]["ema"][name])
    assert torch.equal(weights["target.readout.weight"], states[-1]["ema"]["target.readout.weight"])
