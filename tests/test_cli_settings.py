"""Settings on the command line: options, --set, and what is refused before anything is loaded or written."""

import dataclasses
import os
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from medfe import cli
from medfe.commands import study
from medfe.commands.training import overrides
from medfe.config import RunConfig
from medfe.training.checkpoint import save_config


@pytest.mark.parametrize(("assignments", "expected"), [
    ((), {}),
    (("a=1", "b.c=true", "b.d=x y"), {"a": 1, "b": {"c": True, "d": "x y"}}),
    (("a.b.c=[1, 2]", "a.b.d=null"), {"a": {"b": {"c": [1, 2], "d": None}}}),
    (("path=/a=b",), {"path": "/a=b"}),
    (("a=1", "a=2"), {"a": 2}),
])  # fmt: skip
def test_assignments_become_nested_settings(assignments, expected):
    assert overrides(assignments) == expected


@pytest.mark.parametrize(("assignments", "complaint"), [
    (["seed"], "--set seed: expected NAME=VALUE"),
    (["target=5"], "--set target=5: target holds settings, expected target.NAME=VALUE"),
    (["data=x"], "--set data=x: data holds settings"),
    (["losses=3"], "losses: "),
    (["losses.style.x=3"], "losses.style: "),
    (["max_steps=3", "max_steps.x=4"], "max_steps is a value"),
    (["preset=tiny"], "--set preset=tiny: expected --preset tiny"),
    (["arm=none"], "--set arm=none: expected --arm none"),
    (["target.arm=none"], "--set target.arm=none: expected --arm none"),
    (["seed=-3"], "seed: "),
    (["unheard_of=3"], "unheard_of: unknown setting, expected one of: preset, seed, generator.image_size, "),
    (["target.wieght=3"], "target.wieght: unknown setting, expected target.weight"),
    (["image_size=64"], "image_size: unknown setting, expected generator.image_size"),
    (["batch_size=many"], "batch_size: "),
])  # fmt: skip
def test_settings_that_cannot_be_are_named(medfe, tmp_path, assignments, complaint):
    code, _, lines = medfe(
        "train", "--preset", "tiny", "--data", tmp_path, "--out", tmp_path / "run", "--dry-run", "--set", *assignments
    )
    assert code == 2
    assert len(lines) == 1
    assert complaint in lines[0]


@pytest.mark.parametrize(("arguments", "complaint"), [
    (["--set", "seed=1", "--set", "batch_size=2"], "--set: given more than once, expected --set NAME=VALUE NAME=VALUE"),
    (["--set=seed=1", "--set=batch_size=2"], "--set: given more than once, expected --set NAME=VALUE NAME=VALUE"),
    (["--set", "seed=1", "--set=batch_size=2"], "--set: given more than once, expected --set NAME=VALUE NAME=VALUE"),
])  # fmt: skip
def test_an_option_of_several_values_given_twice_is_refused_instead_of_half_ignored(
    medfe, tmp_path, arguments, complaint
):
    code, _, lines = medfe("train", "--preset", "tiny", "--out", tmp_path / "run", "--data", tmp_path, *arguments)
    assert code == 2
    assert len(lines) == 1
    assert lines[0].startswith(f"medfe: error: {complaint}")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("arguments", [
    ["--set", "a=1", "b=2"], ["--note=--set", "--set", "a=1"], ["--note", "--set a=1", "--set", "b=2"],
    ["--seed", "1", "--seed", "2"],
])  # fmt: skip
def test_an_option_given_once_beside_values_that_look_like_it_is_accepted(arguments):
    assert cli.repeated_option(arguments) is None


def test_every_option_of_several_values_is_guarded():
    kinds = [*cli.COMMANDS.values(), study.Create]
    fields = [field for kind in kinds for field in dataclasses.fields(kind)]
    several = {f"--{field.name}" for field in fields if "tuple[" in field.type and "Positional" not in field.type}
    assert several == set(cli.SEVERAL)


def test_settings_win_over_options_and_options_over_the_preset(capsys, tmp_path):
    Image.new("RGB", (70, 70)).save(tmp_path / "a.png")
    arguments = [
        "--preset",
        "tiny",
        "--arm",
        "none",
        "--data",
        str(tmp_path),
        "--out",
        str(tmp_path / "run"),
        "--dry-run",
    ]
    cli.main(["train", *arguments, "--max-steps", "7", "--seed", "3", "--set", "seed=4", "batch_size=2"])
    printed = capsys.readouterr().out
    for part in ('"seed": 4', '"max_steps": 7', '"batch_size": 2', "7 steps of 2 images: 14.0 passes"):
        assert part in printed


OWN_TARGET = """
import torch
from medfe.targets import Features, Target


class Zeros(Target):
    uses_structure_image = False

    def goals(self, image, structure_image):
        zeros = torch.zeros(len(image), 1, self.generator.grid_size, self.generator.grid_size)
        return Features(zeros, zeros)

    def read(self, feature):
        return feature[:, :1]
"""


def test_the_installed_command_finds_a_module_in_the_current_folder(tmp_path, monkeypatch, capsys):
    command = shutil.which("medfe", path=Path(sys.executable).parent)
    if command is None:
        pytest.skip("the package is not installed")
    Image.new("RGB", (70, 70)).save(tmp_path / "a.png")
    (tmp_path / "own_target.py").write_text(OWN_TARGET)
    arguments = ["train", "--preset", "tiny", "--arm", "own_target:Zeros", "--data", ".", "--out", "run", "--dry-run"]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry])  # a script's begins with its own folder
    monkeypatch.setattr(sys, "argv", [command, *arguments])
    with pytest.raises(SystemExit) as stopped:
        runpy.run_path(command, run_name="__main__")
    assert not stopped.value.code
    assert "trained parameters" in capsys.readouterr().out


def test_a_dry_run_finds_another_run_and_missing_weights(medfe, tmp_path):
    Image.new("RGB", (70, 70)).save(tmp_path / "a.png")
    run = tmp_path / "run"
    arguments = ("train", "--preset", "tiny", "--arm", "none", "--data", tmp_path, "--out", run, "--dry-run")
    save_config(run, RunConfig.create("tiny", "none", data={"root": tmp_path}, seed=1))
    (run / "state.ckpt").touch()
    before = sorted(tmp_path.rglob("*"))
    assert medfe(*arguments, "--seed", "1")[0] == 0
    code, _, lines = medfe(*arguments)
    assert code == 2
    assert len(lines) == 1
    assert f"{run}: holds a run with other settings (seed 1 there, 0 asked for)" in lines[0]
    missing = f"losses.backbone_weights={tmp_path / 'lite0.pth'}"
    code, _, lines = medfe(*arguments[:-2], tmp_path / "new", "--dry-run", "--set", missing)
    assert code == 2
    assert len(lines) == 1
    assert "lite0.pth is missing" in lines[0]
    assert sorted(tmp_path.rglob("*")) == before


def test_a_wrong_setting_is_found_before_anything_heavy_is_loaded(tmp_path):
    """A process of its own, in which torch cannot be loaded."""
    (tmp_path / "torch.py").write_text("raise ImportError('too early')")
    run = subprocess.run(
        [sys.executable, "-m", "medfe", "train", "--data", "x", "--out", "y", "--set", "seed=-1"],
        capture_output=True, text=True, check=False, timeout=200, env={**os.environ, "PYTHONPATH": str(tmp_path)},
    )  # fmt: skip
    assert run.returncode == 2
    assert run.stdout == ""
    assert run.stderr == "medfe: error: seed: Input should be greater than or equal to 0, found -1\n"
