"""The generator's training in this process: stops, resumes, refusals, and what its files hold."""

import hashlib
import json
import sys
from itertools import pairwise

import pytest
import torch

from medfe import Inpainter
from medfe.config import ARMS, AutoencoderConfig, RunConfig
from medfe.models.autoencoder import build_autoencoder
from medfe.training import run as run_module
from medfe.training.generator import build_samples
from medfe.weightfiles import load_weights, save_weights

from .conftest import metrics, same_run

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

    def goals(self, image, structure_image):
        grey = torch.nn.functional.avg_pool2d(image.mean(dim=1, keepdim=True), 8)
        return Features(grey, grey)

    def read(self, feature):
        return self.scale * feature[:, :1]
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


def state_of(out):
    return torch.load(out / "state.ckpt", weights_only=True)


def tree(folder):
    """Hash of each file, to see that nothing was written."""
    return {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("arm", ARMS)
def test_every_arm_trains_and_its_weights_fill_pictures(train, autoencoders, pictures, tmp_path, arm):
    assert train(tmp_path, "--autoencoders", str(autoencoders), arm=arm, steps=2)[0] == 0
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
def test_a_class_of_ones_own_trains_with_its_parameters(train, tmp_path):
    assert train(tmp_path, arm="own_targets:Trained", steps=3)[0] == 0
    assert metrics(tmp_path)[0]["intermediate"] > 0
    assert state_of(tmp_path)["pair"]["target.scale"] != 1
    assert load_weights(tmp_path / "generator.safetensors").tensors["target.scale"] != 1


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


@pytest.mark.parametrize(("options", "changes", "complaint"), [
    (("--seed", "1"), {}, "seed 0 there, 1 asked for"),
    ((), {"settings": ("target.weight=7",)}, "target.weight 4.0 there, 7.0 asked for"),
    ((), {"arm": "none"}, "target.arm 'low_resolution' there, 'none' asked for"),
    ((), {"steps": 4}, "max_steps 2 there, 4 asked for"),
    (("--preset", "faces64"), {}, "preset 'tiny' there, 'faces64' asked for"),
])  # fmt: skip
def test_a_folder_with_other_settings_is_refused_and_left_alone(train, tmp_path, options, changes, complaint):
    assert train(tmp_path, "--max-minutes", "0", steps=2)[0] == 0
    before = tree(tmp_path)
    code, message = train(tmp_path, *options, **{"steps": 2, **changes})
    assert code == 2
    assert f"{tmp_path}: holds a run with other settings" in message
    assert complaint in message
    assert tree(tmp_path) == before


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


@pytest.mark.parametrize("content", ["truncated", "empty", "text", "number", "other"])
def test_a_damaged_state_is_named_and_kept(train, tmp_path, content):
    assert train(tmp_path, "--max-minutes", "0", steps=2)[0] == 0
    path = tmp_path / "state.ckpt"
    if content in ("number", "other"):
        torch.save({"number": torch.zeros(1), "other": {"step": 1}}[content], path)
    else:
        path.write_bytes({"truncated": path.read_bytes()[:-5000], "empty": b"", "text": b"no state"}[content])
    before = tree(tmp_path)
    code, message = train(tmp_path, steps=2)
    assert code == 2
    assert "state.ckpt: " in message or "the saved state does not fit" in message
    assert tree(tmp_path) == before


class Malicious:
    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return open, (str(self.marker), "w")


def test_code_in_a_state_is_never_executed(train, tmp_path):
    assert train(tmp_path / "run", "--max-minutes", "0", steps=2)[0] == 0
    state = state_of(tmp_path / "run")
    torch.save({**state, "more": Malicious(tmp_path / "executed")}, tmp_path / "run" / "state.ckpt")
    code, message = train(tmp_path / "run", steps=2)
    assert code == 2
    assert "state.ckpt: damaged" in message
    assert not (tmp_path / "executed").exists()


def test_the_state_of_another_network_is_refused(train, tmp_path):
    assert train(tmp_path / "a", "--max-minutes", "0", steps=2)[0] == 0
    assert train(tmp_path / "b", "--max-minutes", "0", steps=2, settings=("generator.base_channels=3",))[0] == 0
    (tmp_path / "a" / "state.ckpt").write_bytes((tmp_path / "b" / "state.ckpt").read_bytes())
    code, message = train(tmp_path / "a", steps=2)
    assert code == 2
    assert f"{tmp_path / 'a'}: the saved state does not fit this run's networks" in message


@pytest.mark.parametrize(("options", "changes", "complaint"), [
    (("--preset", "huge"), {}, "unknown preset 'huge', expected one of: paper, faces128, faces64, tiny"),
    ((), {"arm": "magic"}, "unknown arm 'magic', expected one of: low_resolution, autoencoder"),
    ((), {"arm": "no_such:Class"}, "No module named 'no_such'"),
    ((), {"arm": "autoencoder"}, "target.autoencoders is not set"),
    (("--autoencoders", "nowhere"), {"arm": "autoencoder"}, "structure.safetensors: no such weight file"),
    ((), {"arm": "block_dct", "settings": ("target.coefficients=9",)}, "expected at most the 8 feature channels"),
    ((), {"settings": ("generator.image_size=100",)}, "generator.image_size: Input should be a multiple of 32"),
    ((), {"settings": ("losses.unheard_of=1",)}, "losses.unheard_of"),
    ((), {"settings": ("losses.backbone=vgg16", "losses.perceptual=1", "losses.backbone_weights=no.pth")}, "no.pth"),
    (("--data", "nowhere"), {}, "nowhere"),
    (("--accelerator", "cuda"), {}, "accelerator cuda, devices 1"),
    (("--accelerator", "abacus"), {}, "accelerator abacus"),
])  # fmt: skip
def test_mistakes_are_named_in_one_line_and_nothing_is_written(train, tmp_path, options, changes, complaint):
    if options == ("--accelerator", "cuda") and torch.cuda.is_available():
        pytest.skip("there is a CUDA device")
    code, message = train(tmp_path / "run", *options, **changes)
    assert code == 2
    assert message.startswith("medfe: error: ")
    assert complaint in message
    assert not (tmp_path / "run").exists()


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
        assert train(tmp_path / arm, "--autoencoders", str(autoencoders), arm=arm, steps=1, settings=settings)[0] == 0
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
