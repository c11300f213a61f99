"""Run folders: settings and state, written whole or not at all."""

import subprocess

import pytest
import torch

from medfe.config import AutoencoderRunConfig, RunConfig
from medfe.errors import MedfeError
from medfe.training import checkpoint
from medfe.training.checkpoint import (
    check_same_run,
    commit,
    commits,
    load_config,
    load_state,
    save_config,
    save_state,
    write_atomically,
)

CONFIG = RunConfig.create("tiny", "none", data={"root": "photographs"})


def test_settings_come_back(tmp_path):
    save_config(tmp_path / "run", CONFIG)
    assert load_config(tmp_path / "run", RunConfig) == CONFIG


def test_state_comes_back(tmp_path):
    assert load_state(tmp_path) is None
    state = {"step": 3, "pair": {"a": torch.arange(4.0)}, "optimizer": {"state": {0: {"step": torch.tensor(3.0)}}}}
    save_state(tmp_path, state)
    found = load_state(tmp_path)
    assert found["step"] == 3
    assert torch.equal(found["pair"]["a"], state["pair"]["a"])
    assert [path.name for path in tmp_path.iterdir()] == ["state.ckpt"]


def test_a_failure_while_saving_keeps_the_old_state(tmp_path, monkeypatch):
    save_state(tmp_path, {"step": 1})

    def full_disk(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint.os, "fsync", full_disk)
    with pytest.raises(OSError, match="No space"):
        save_state(tmp_path, {"step": 2})
    assert load_state(tmp_path)["step"] == 1
    assert [path.name for path in tmp_path.iterdir()] == ["state.ckpt"]


def test_a_disk_that_fills_while_the_state_is_written_is_an_error_of_the_file(tmp_path):
    resource = pytest.importorskip("resource")  # of POSIX
    save_state(tmp_path, {"step": 1})
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        with pytest.raises(OSError, match=r"cannot be written, is the disk full\?") as error:
            save_state(tmp_path, {"step": 2, "pair": torch.zeros(100_000)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert error.value.filename == str(tmp_path / "state.ckpt")
    assert load_state(tmp_path)["step"] == 1
    assert [path.name for path in tmp_path.iterdir()] == ["state.ckpt"]


def test_a_folder_without_a_run_is_named(tmp_path):
    with pytest.raises(MedfeError, match=r"not a run folder, config\.json is missing"):
        load_config(tmp_path, RunConfig)


@pytest.mark.parametrize(("text", "complaint"), [
    ("{", "not readable as JSON"), ("[]", "RunConfig"), ('{"unheard_of": 1}', "unheard_of"), ('{"seed": -1}', "seed"),
])  # fmt: skip
def test_damaged_settings_are_named_with_their_file(tmp_path, text, complaint):
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(MedfeError, match=rf"config\.json: .*{complaint}"):
        load_config(tmp_path, RunConfig)


def test_the_run_of_another_network_is_refused(tmp_path):
    save_config(tmp_path, AutoencoderRunConfig.create("tiny", "texture"))
    with pytest.raises(MedfeError, match=r"config\.json: "):
        check_same_run(tmp_path, CONFIG)


def test_every_setting_that_differs_is_named(tmp_path):
    check_same_run(tmp_path, CONFIG)
    save_config(tmp_path, CONFIG)
    check_same_run(tmp_path, CONFIG)
    free = {"data": {**CONFIG.data.model_dump(), "cache": "elsewhere"}, "generator": {
        **CONFIG.generator.model_dump(), "checkpointing": True,
    }}  # fmt: skip
    check_same_run(tmp_path, CONFIG.replace(workers=7, save_every=3, log_every=2, compile=True, **free))
    with pytest.raises(MedfeError, match=r"seed 0 there, 4 asked for.*losses\.style 0\.0 there, 2\.0 asked for"):
        check_same_run(tmp_path, CONFIG.replace(seed=4, losses={**CONFIG.losses.model_dump(), "style": 2.0}))


@pytest.mark.parametrize("name", ["state.ckpt", "generator.safetensors"])
def test_settings_without_anything_saved_are_those_of_no_run(tmp_path, name):
    """A run that failed in its first steps does not keep its folder from another."""
    save_config(tmp_path, CONFIG)
    other, weights = CONFIG.replace(seed=4), tmp_path / "generator.safetensors"
    check_same_run(tmp_path, other, weights)
    (tmp_path / name).touch()
    with pytest.raises(MedfeError, match="seed 0 there, 4 asked for"):
        check_same_run(tmp_path, other, weights)


def test_text_is_replaced_as_a_whole(tmp_path):
    for text in ("a" * 100, "ä"):
        write_atomically(tmp_path / "text", text)
    assert (tmp_path / "text").read_text(encoding="utf-8") == "ä"
    assert [path.name for path in tmp_path.iterdir()] == ["text"]


def test_a_run_that_goes_on_names_the_commits_of_all_its_starts_once(monkeypatch):
    monkeypatch.setattr(checkpoint, "commit", lambda: "b")
    assert commits(None) == commits({"step": 3}) == "b"  # a state of before says none
    assert commits({"commits": "a b"}) == "a b"
    assert commits({"commits": "a c"}) == "a c b"


@pytest.mark.parametrize(("changed", "told"), [("results/table.csv", ""), ("package/network.py", "+")])
def test_commit_tells_changes_of_the_package_alone(tmp_path, monkeypatch, changed, told):
    for name in ("results/table.csv", "package/network.py", "package/training/checkpoint.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("one")
    author = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
    for command in (["init", "-q"], ["add", "."], [*author, "commit", "-q", "-m", "one"]):
        subprocess.run(["git", *command], cwd=tmp_path, check=True)
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=tmp_path, check=True, capture_output=True, text=True).stdout
    monkeypatch.setattr(checkpoint, "__file__", str(tmp_path / "package/training/checkpoint.py"))
    assert commit.__wrapped__() == head[:12]
    (tmp_path / changed).write_text("two")
    assert commit.__wrapped__() == head[:12] + told


def test_commit_is_empty_where_there_is_no_git(monkeypatch):
    def missing(*_, **__):
        raise FileNotFoundError("git")

    monkeypatch.setattr(subprocess, "run", missing)
    assert commit.__wrapped__() == ""
