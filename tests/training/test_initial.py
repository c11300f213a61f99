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
    before = load_weights(halted / WEIGHTS).metadata["earlier"]
    (earlier / WEIGHTS).unlink()
    cli.main(["train", "--resume", str(halted), "--accelerator", "cpu"])
    same_run(halted, tmp_path / "whole")
    assert load_weights(halted / WEIGHTS).metadata["earlier"] == before


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


def rewrite(path, tensors=None, **metadata):
    """Write a weight file anew with other content."""
    found = load_weights(path)
    save_file(tensors or found.tensors, path, {"medfe": json.dumps(found.metadata | metadata)})


@pytest.mark.parametrize("dry", [False, True])
@pytest.mark.parametrize("change", ["missing", "too many", "of another shape", "not finite"])
def test_weights_that_do_not_fit_are_refused(train, earlier, tmp_path, change, dry):
    path = earlier / WEIGHTS
    tensors = load_weights(path).tensors
    name = next(key for key, value in tensors.items() if key.startswith("generator.") and value.ndim == 4)
    words = {
        "missing": f"tensor {name} is missing", "too many": "tensor generator.another is not part of the network",
        "of another shape": f"{name} is (1, 1, 1, 1), expected", "not finite": f"{name} holds numbers that are not",
    }[change]  # fmt: skip
    if change == "missing":
        del tensors[name]
    elif change == "too many":
        tensors["generator.another"] = torch.ones(1)
    elif change == "of another shape":
        tensors[name] = torch.ones(1, 1, 1, 1)
    else:
        tensors[name][0] = float("nan")
    rewrite(path, tensors)
    code, error = train(tmp_path / "out", "--initial-weights", str(path), *["--dry-run"] * dry)
    assert (code, words in error) == (2, True)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("dry", [False, True])
def test_the_same_arm_needs_its_read_out_too(train, earlier, tmp_path, dry):
    path = earlier / WEIGHTS
    tensors = load_weights(path).tensors
    del tensors[next(key for key in tensors if key.startswith("target."))]
    rewrite(path, tensors)
    code, error = train(tmp_path / "out", "--initial-weights", str(path), *["--dry-run"] * dry)
    assert (code, "tensor target." in error, "is missing" in error) == (2, True, True)


def test_a_run_without_an_arm_gives_its_generator_to_any_other(train, tmp_path):
    settings = (*STILL, 'target.structure_image="image"')
    assert train(tmp_path / "none", arm="none", steps=1, settings=settings)[0] == 0
    out = tmp_path / "next"
    assert train(out, "--initial-weights", str(tmp_path / "none"), steps=1, settings=settings)[0] == 0
    found = generator_of(out)
    for name, value in generator_of(tmp_path / "none").items():
        torch.testing.assert_close(found[name], value, rtol=1e-6, atol=1e-9)
    assert any(name.startswith("target.") for name in load_file(out / WEIGHTS))


def test_weights_that_do_not_know_their_training_can_be_started_from(train, command, earlier, tmp_path, capsys):
    path = earlier / WEIGHTS
    unknown = dict.fromkeys(("target", "preset", "seed", "step", "images", "commit"))
    rewrite(path, **unknown)
    options = ("--initial-weights", str(path))
    cli.main(command(tmp_path / "out", *options, "--dry-run"))
    assert f"starts from {path}: an unknown number of images, commit unknown" in capsys.readouterr().out
    assert train(tmp_path / "out", *options, steps=1)[0] == 0
    assert load_weights(tmp_path / "out" / WEIGHTS).metadata["earlier"][0]["images"] is None


def test_a_dry_run_says_what_it_starts_from(command, earlier, tmp_path, capsys):
    cli.main(command(tmp_path / "out", "--initial-weights", str(earlier), "--dry-run"))
    said = capsys.readouterr().out
    assert f"starts from {earlier / WEIGHTS}: 4 steps, 4 images, arm `low_resolution`, seed 0, commit " in said


def test_a_dry_run_of_what_is_under_way_does_not_read_the_file(train, command, earlier, tmp_path, capsys):
    options = ("--initial-weights", str(earlier / WEIGHTS))
    assert train(tmp_path / "out", *options, "--max-minutes", "0.0000001", steps=6)[0] == 0
    rewrite(earlier / WEIGHTS, {"generator.another": torch.ones(1)})
    capsys.readouterr()
    cli.main(command(tmp_path / "out", *options, "--max-steps", "6", "--dry-run"))
    assert "starts from" not in capsys.readouterr().out
