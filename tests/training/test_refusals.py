"""What a training of the generator refuses: other settings, damaged states, mistakes. Nothing is written."""

from types import SimpleNamespace

import pytest
import torch

from medfe.config import AutoencoderRunConfig, RunConfig
from medfe.errors import MedfeError
from medfe.training.autoencoder import train_autoencoder
from medfe.training.generator import train_generator
from medfe.weightfiles import read_metadata

from .conftest import state_of, tree


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


def test_a_run_goes_on_in_the_precision_it_began_in(train, tmp_path, monkeypatch):
    auto = {"settings": ("precision=auto",), "steps": 2}
    monkeypatch.setenv("MEDFE_PRECISION", "32-true")
    assert train(tmp_path, "--max-minutes", "0", **auto)[0] == 0
    assert read_metadata(tmp_path / "generator.safetensors")["precision"] == "32-true"
    before = tree(tmp_path)
    monkeypatch.setenv("MEDFE_PRECISION", "bf16-mixed")
    code, message = train(tmp_path, **auto)
    assert code == 2
    assert f"{tmp_path}: began in 32-true and would go on in bf16-mixed; where precision is auto, set MED" in message
    assert tree(tmp_path) == before
    monkeypatch.setenv("MEDFE_PRECISION", "32-true")
    assert train(tmp_path, **auto)[0] == 0
    assert state_of(tmp_path)["step"] == 2

    monkeypatch.setenv("MEDFE_PRECISION", "bf16-mixed")  # a finished run is finished on every machine
    assert train(tmp_path, **auto)[0] == 0
    weights = tmp_path / "generator.safetensors"
    assert read_metadata(weights)["precision"] == "32-true"
    weights.unlink()
    assert train(tmp_path, **auto)[0] == 2
    assert not weights.exists()


def test_of_a_state_that_does_not_say_it_the_precision_is_unknown(train, tmp_path):
    assert train(tmp_path, "--max-minutes", "0", steps=3)[0] == 0
    state = state_of(tmp_path)
    del state["works_in"]  # as in states of earlier releases
    torch.save(state, tmp_path / "state.ckpt")
    assert train(tmp_path, "--max-minutes", "0", steps=3)[0] == 0
    assert train(tmp_path, steps=3)[0] == 0
    assert read_metadata(tmp_path / "generator.safetensors")["precision"] == "unknown"


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
    (("--devices", "-1"), {}, "devices -1"),
    (("--strategy", "deepspeed"), {}, "strategy deepspeed"),
    ((), {"arm": "medfe.targets:Target"}, "lacks goals, expected a class that defines it"),
])  # fmt: skip
def test_mistakes_are_named_in_one_line_and_nothing_is_written(train, tmp_path, options, changes, complaint):
    if options == ("--accelerator", "cuda") and torch.cuda.is_available():
        pytest.skip("there is a CUDA device")
    code, message = train(tmp_path / "run", *options, **changes)
    assert code == 2
    assert message.startswith("medfe: error: ")
    assert complaint in message
    assert not (tmp_path / "run").exists()


def test_a_batch_that_does_not_fit_the_processes_is_refused_before_anything_is_made(pictures, tmp_path):
    """In three processes, of which this is one."""
    config = RunConfig.create("tiny", "low_resolution", data={"root": pictures, "cache": tmp_path}, batch_size=4)
    fabric = SimpleNamespace(global_rank=0, world_size=3, is_global_zero=True)
    with pytest.raises(MedfeError, match="batch_size: found 4, expected a multiple of the 3 processes"):
        train_generator(config, tmp_path / "run", fabric)
    codes = AutoencoderRunConfig.create("tiny", "texture", data={"root": pictures}, batch_size=4)
    with pytest.raises(MedfeError, match="batch_size: found 4, expected a multiple of the 3 processes"):
        train_autoencoder(codes, tmp_path / "codes", fabric)
    assert not list(tmp_path.iterdir())
