"""A training can start from the weights of an earlier one."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from medfe import cli
from medfe.weightfiles import load_weights

from .conftest import same_run

STILL = ("optimizer.learning_rate=1e-30", "optimizer.critic_learning_rate=1e-30")  # far below float32's resolution
WEIGHTS = "generator.safetensors"


@pytest.fixture
def earlier(train, tmp_path):
    """A finished run of four steps."""
    assert train(tmp_path / "earlier", steps=4)[0] == 0
    return tmp_path / "earlier"


def generator_of(folder):
    return {name: value for name, value in load_file(folder / WEIGHTS).items() if name.startswith("generator.")}


def test_it_starts_with_exactly_these_weights_whatever_the_seed(train, earlier, tmp_path):
    out = tmp_path / "next"
    assert train(out, "--initial-weights", str(earlier), "--seed", "5", steps=2, settings=STILL)[0] == 0
    found, wanted = load_file(out / WEIGHTS), load_file(earlier / WEIGHTS)
    assert found.keys() == wanted.keys()
    assert any(name.startswith("target.") for name in wanted)
    for name, value in wanted.items():
        torch.testing.assert_close(found[name], value, rtol=1e-6, atol=1e-9)


def test_weights_tell_all_trainings_that_made_them(train, earlier, tmp_path):
    last = earlier
    for number, steps in enumerate((2, 3)):
        out = tmp_path / str(number)
        assert train(out, "--initial-weights", str(last / WEIGHTS), steps=steps)[0] == 0
        last = out
    metadata = load_weights(last / WEIGHTS).metadata
    assert [(one["arm"], one["images"]) for one in metadata["earlier"]] == [
        ("low_resolution", 4),
        ("low_resolution", 2),
    ]
    assert (metadata["images"], metadata["step"]) == (3, 3)
    assert "earlier" not in load_weights(earlier / WEIGHTS).metadata


def test_stopped_it_goes_on_without_the_file(train, earlier, tmp_path):
    options = ("--initial-weights", str(earlier / WEIGHTS))
    assert train(tmp_path / "whole", *options, steps=6)[0] == 0
    halted = tmp_path / "halted"
    assert train(halted, *options, "--max-minutes", "0.0000001", steps=6)[0] == 0
    assert torch.load(halted / "state.ckpt", weights_only=True)["step"] == 1
    (earlier / WEIGHTS).unlink()
    cli.main(["train", "--resume", str(halted), "--accelerator", "cpu"])
    same_run(halted, tmp_path / "whole")


def test_another_arm_with_the_same_head_takes_the_generator_alone(train, earlier, tmp_path):
    settings = (*STILL, 'target.structure_image="image"')
    assert train(tmp_path / "none", "--initial-weights", str(earlier), arm="none", steps=1, settings=settings)[0] == 0
    found = generator_of(tmp_path / "none")
    for name, value in generator_of(earlier).items():
        torch.testing.assert_close(found[name], value, rtol=1e-6, atol=1e-9)


def test_a_shipped_model_can_be_named(train, tmp_path):
    code, error = train(tmp_path / "out", "--initial-weights", "faces128/low_resolution")
    assert code == 2
    assert "generator.image_size 128 there, 64 asked for" in error
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["generator.fuse.0.weight", "target.readout.weight"])
def test_weights_that_lack_a_tensor_are_refused(train, earlier, tmp_path, name):
    path = earlier / WEIGHTS
    tensors, metadata = load_weights(path)
    chosen = next(key for key in tensors if key.startswith(name.partition(".")[0]))
    del tensors[chosen]
    save_file(tensors, path, {"medfe": json.dumps(metadata)})
    code, error = train(tmp_path / "out", "--initial-weights", str(path))
    assert (code, chosen in error, "is missing" in error) == (2, True, True)


def test_a_dry_run_says_what_it_starts_from(command, earlier, tmp_path, capsys):
    cli.main(command(tmp_path / "out", "--initial-weights", str(earlier), "--dry-run"))
    assert f"starts from {earlier / WEIGHTS}: 4 images in arm low_resolution" in capsys.readouterr().out
