"""Several processes on one experiment: each run is claimed by one, and a process that dies gives its claims back."""

import errno
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from medfe.claims import claim
from medfe.experiments import runner
from medfe.experiments.records import read_record
from medfe.experiments.registry import EXPERIMENTS
from medfe.experiments.runner import pending_entries, run_experiment
from medfe.experiments.trainings import GeneratorRun
from medfe.training.generator import train_generator
from medfe.training.loop import build_fabric

from .conftest import small_experiment


@pytest.mark.skipif(sys.platform == "win32", reason="needs locks of the system")
def test_what_another_process_works_on_is_waited_for_and_then_done(workplace, monkeypatch):
    place = workplace(small_experiment())
    monkeypatch.setattr(GeneratorRun, "run", lambda *_: {"metrics": []})
    monkeypatch.setattr(type(place.experiment.entries[0]), "run", lambda *_: {})
    monkeypatch.setattr(type(place.experiment.entries[0]), "has_weights", lambda entry, _: is_recorded(place, entry))
    process = holder(place.out, place.experiment.entries[0].folder)
    monkeypatch.setattr(runner, "_pause", lambda _: end(process))  # it ends when it is waited for, and not before
    try:
        run_experiment(place)
    finally:
        end(process)
    lines = (place.out / "small.log").read_text()
    assert "waiting for another process" in lines
    assert lines.index("low_resolution_seed0: done") < lines.index("autoencoders_seed0: begun")
    assert pending_entries(place) == []


def is_recorded(place, entry):
    return read_record(place.results, place.experiment, entry) is not None


def holder(out, folder):
    """Start a process that has a claim as long as it lives; return when it has it."""
    code = (
        "import sys, time; from pathlib import Path; from medfe.claims import claim\n"
        "with claim(Path(sys.argv[1]), sys.argv[2]) as owner:\n"
        "    print(owner, flush=True); time.sleep(300)"
    )
    command = [sys.executable, "-c", code, str(out), folder]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert process.stdout.readline().strip() == b"None"
    return process


def end(process):
    """Kill a process and wait for its end, as often as wanted."""
    process.kill()
    process.wait()
    process.stdout.close()


@pytest.mark.skipif(sys.platform == "win32", reason="needs locks of the system")
def test_a_claim_keeps_other_processes_out_and_ends_with_its_process(tmp_path):
    process = holder(tmp_path, "a/b")
    try:
        with claim(tmp_path, "a/b") as owner:
            assert owner == process.pid
        with claim(tmp_path, "a/c") as owner:
            assert owner is None
    finally:
        end(process)
    with claim(tmp_path, "a/b") as owner:
        assert owner is None


@pytest.mark.skipif(sys.platform == "win32", reason="needs locks of the system")
def test_without_locks_everyone_has_the_claim(tmp_path, monkeypatch):
    def no_locks(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("medfe.claims.fcntl.lockf", no_locks)
    with claim(tmp_path, "run") as owner:
        assert owner is None


class Tree:
    """`medfe reproduce smoke` as a process of its own."""

    def __init__(self, data, folder, *options):
        command = [
            sys.executable, "-m", "medfe", "reproduce", "smoke", "--data", str(data), "--out", str(folder / "out"),
            "--results", str(folder / "results"), *options,
        ]  # fmt: skip
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)

    def children(self):
        """Process ids of the children, and of theirs."""
        found = [self.process.pid]
        for pid in found:
            path = Path(f"/proc/{pid}/task/{pid}/children")
            found += [int(child) for child in path.read_text().split()] if path.exists() else []
        return found[1:]

    def wait_for(self, path):
        """Wait until a file is there."""
        limit = time.monotonic() + 200
        while not path.exists():
            assert self.process.poll() is None, self.process.stderr.read()
            assert time.monotonic() < limit, f"{path} did not appear"
            time.sleep(0.02)

    def kill(self):
        """Kill this process alone."""
        self.process.kill()
        self.process.communicate()

    def end(self):
        """Wait for the end; return the exit code and standard error."""
        message = self.process.communicate()[1]
        return self.process.returncode, message


@pytest.fixture
def single_thread(monkeypatch):
    """Compute with one thread, here and in processes that are started."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_killed_amid_a_training_it_goes_on_to_the_weights_of_an_undisturbed_run(data, tmp_path, single_thread):
    entry = EXPERIMENTS["smoke"]["low_resolution_seed0"]
    run, undisturbed = tmp_path / "out" / entry.folder, tmp_path / "undisturbed"
    killed = Tree(data, tmp_path, "--only", entry.name)
    killed.wait_for(run / "state.ckpt")
    killed.kill()
    assert not list((tmp_path / "results").rglob("*.json"))
    code, message = Tree(data, tmp_path, "--only", entry.name).end()
    assert code == 0, message
    assert (tmp_path / "results/runs/smoke/low_resolution_seed0.json").exists()

    config = entry.config((data / "utkface" / "train").absolute())
    train_generator(config, undisturbed, build_fabric(config.precision, accelerator="cpu"))
    one, two = (load_file(folder / "generator.safetensors") for folder in (run, undisturbed))
    assert [name for name in one if not one[name].equal(two[name])] == []
    assert (run / "metrics.jsonl").read_text() == (undisturbed / "metrics.jsonl").read_text()


@pytest.mark.skipif(sys.platform != "linux", reason="finds the children in /proc")
def test_children_outlive_no_killed_parent_and_leave_their_runs_to_others(data, tmp_path, single_thread):
    options = ("--processes", "2", "--only", "low_resolution_seed0", "low_resolution_seed1")
    runs = [tmp_path / "out" / "tiny_utkface" / f"low_resolution_seed{seed}" for seed in (0, 1)]
    tree = Tree(data, tmp_path, *options)
    for run in runs:
        tree.wait_for(run / "config.json")
    children = tree.children()
    assert len(children) >= 2
    tree.kill()
    limit = time.monotonic() + 60
    while left := [pid for pid in children if is_alive(pid)]:
        assert time.monotonic() < limit, f"children outlive the killed parent: {left}"
        time.sleep(0.1)
    for seed in (0, 1):
        with claim(tmp_path / "out", EXPERIMENTS["smoke"][f"low_resolution_seed{seed}"].folder) as owner:
            assert owner is None


def is_alive(pid):
    """Whether a process runs: one that has ended and waits to be counted does not."""
    status = Path(f"/proc/{pid}/stat")
    try:
        return status.read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
