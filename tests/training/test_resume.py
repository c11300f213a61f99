"""Trainings that are stopped, killed and started again end as if nothing had happened. Real processes, float32."""

import json
import shutil
import signal
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open

from medfe import cli

from .conftest import metrics, same_run

STEPS, SAVE_EVERY = 62, 7


@pytest.fixture(scope="module")
def arguments(command):
    def arguments(out, workers=0):
        return command(out, steps=STEPS, settings=(f"save_every={SAVE_EVERY}", f"workers={workers}"))

    return arguments


@pytest.fixture(scope="module")
def reference(start, arguments, tmp_path_factory):
    """The run that nothing disturbs."""
    out = tmp_path_factory.mktemp("reference")
    assert start(arguments(out), out).end() == 0
    return out


def files(out):
    """Names of the run's files, events (one file a start) counted as one."""
    names = (path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file())
    return {"events" if name.startswith("events.out.tfevents.") else name for name in names}


def test_an_undisturbed_run_writes_exactly_these_files(reference):
    grids = {f"samples/step_{step:07d}.png" for step in (*range(SAVE_EVERY, STEPS, SAVE_EVERY), STEPS)}
    rest = {"config.json", "events", "generator.safetensors", "metrics.jsonl", "state.ckpt", ".claims/run.lock"}
    assert files(reference) == rest | grids
    assert [row["step"] for row in metrics(reference)] == list(range(1, STEPS + 1))
    assert [row["images"] for row in metrics(reference)] == list(range(1, STEPS + 1))


@pytest.mark.parametrize(("number", "workers"), [(signal.SIGTERM, (0, 1)), (signal.SIGINT, (1, 0))])
def test_stopped_it_ends_cleanly_and_the_next_fifty_steps_are_identical(
    reference, start, arguments, tmp_path, number, workers
):
    run = start(arguments(tmp_path, workers[0]), tmp_path)
    run.wait_for(4)
    run.send(number)
    assert run.end() == 0
    done = len(metrics(tmp_path))
    assert 4 <= done <= STEPS - 50
    assert torch.load(tmp_path / "state.ckpt", weights_only=True)["step"] == done
    with safe_open(tmp_path / "generator.safetensors", "pt") as file:
        assert f'"step": {done},' in file.metadata()["medfe"]
    assert start(arguments(tmp_path, workers[1]), tmp_path).end() == 0
    same_run(tmp_path, reference)


@pytest.mark.skipif(sys.platform == "win32", reason="needs locks of the system")
def test_a_second_process_on_the_same_folder_is_refused_and_disturbs_nothing(
    reference, start, arguments, tmp_path, capsys
):
    run = start(arguments(tmp_path), tmp_path)
    run.wait_for(1)
    run.send(signal.SIGSTOP)
    for seed in ("0", "3"):  # with nothing saved yet, the folder would take other settings
        with pytest.raises(SystemExit) as stopped:
            cli.main([*arguments(tmp_path), "--seed", seed])
        assert stopped.value.code == 2
        assert "trains here" in capsys.readouterr().err or (tmp_path / "state.ckpt").exists()
    assert json.loads((tmp_path / "config.json").read_text())["seed"] == 0
    run.send(signal.SIGCONT)
    assert run.end() == 0
    same_run(reference, tmp_path)


def test_what_another_process_has_saved_meanwhile_is_not_overwritten(train, reference, tmp_path, monkeypatch):
    def structure_images(*_):  # takes minutes, in which another process trains
        for name in ("state.ckpt", "generator.safetensors", "metrics.jsonl"):
            shutil.copy(reference / name, tmp_path)
        return True

    monkeypatch.setattr("medfe.training.generator.make_structure_images", structure_images)
    code, message = train(tmp_path, steps=STEPS)
    assert (code, message) == (2, f"medfe: error: {tmp_path}: another process has trained here meanwhile; "
                                  "the same command goes on")  # fmt: skip
    assert len(metrics(tmp_path)) == STEPS


def test_killed_at_any_moments_it_ends_with_the_same_result(reference, start, arguments, tmp_path):
    rng = np.random.default_rng(0)
    killed, loaders = 0, []
    for kill in range(6):
        run = start(arguments(tmp_path, workers=kill % 2), tmp_path)
        run.wait_for(run.rows() + int(rng.integers(0, 14)))
        run.process.join(rng.uniform(0, 0.1))
        loaders += run.loaders()
        run.send(signal.SIGKILL)
        killed += run.end() == -signal.SIGKILL
    assert killed >= 3
    assert start(arguments(tmp_path), tmp_path).end() == 0
    same_run(tmp_path, reference)
    assert files(tmp_path) == files(reference)
    limit = time.monotonic() + 60
    while left := [pid for pid in loaders if Path(f"/proc/{pid}").exists()]:
        assert time.monotonic() < limit, f"data loaders outlive the killed training: {left}"
        time.sleep(0.1)


@pytest.mark.skipif(sys.platform != "linux", reason="finds the data loaders in /proc")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_the_data_loaders_too_stops_it_cleanly(start, arguments, tmp_path, number):
    """What Ctrl-C does in a terminal, and a batch system at the end of its time."""
    run = start(arguments(tmp_path, workers=2), tmp_path)
    run.wait_for(3)
    assert len(run.loaders()) == 2
    run.send(number, to_all=True)
    assert run.end() == 0
    assert torch.load(tmp_path / "state.ckpt", weights_only=True)["step"] == len(metrics(tmp_path)) < STEPS
    assert not (tmp_path / "state.part").exists()
