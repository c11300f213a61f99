"""Photographs to train on, and trainings as processes that can be stopped and killed."""

import hashlib
import json
import multiprocessing
import os
import signal
import time
from pathlib import Path

import pytest
import skimage.data
import torch
from PIL import Image
from safetensors.torch import load_file

from medfe import cli

# Small, and without a backbone: a step takes 30 ms.
QUICK = (
    "precision=32-true", "batch_size=1", "workers=0", "losses.perceptual=0", 'target.structure_image="image"',
    "generator.base_channels=2", "generator.feature_channels=8", "log_every=1",
)  # fmt: skip


@pytest.fixture(scope="session")
def pictures(tmp_path_factory):
    """Folder of six pieces of a photograph, 80×72 pixels."""
    folder = tmp_path_factory.mktemp("pictures")
    photograph = Image.fromarray(skimage.data.astronaut())
    for number in range(6):
        left, top = 60 * number, 50 * number
        photograph.crop((left, top, left + 80, top + 72)).save(folder / f"{number}.png")
    return folder


@pytest.fixture(scope="session")
def command(pictures):
    """Return the arguments of a training; `settings` are those of --set, after the quick ones."""

    def command(out, *options, arm="low_resolution", settings=(), steps=6):
        return [
            "train", "--preset", "tiny", "--arm", arm, "--data", str(pictures), "--out", str(out),
            "--accelerator", "cpu", "--max-steps", str(steps), *options, "--set", *QUICK, *settings,
        ]  # fmt: skip

    return command


@pytest.fixture
def train(command, capsys):
    """Train in this process; return the exit code and the last line of standard error."""

    def train(out, *options, **changes):
        code = 0
        try:
            cli.main(command(out, *options, **changes))
        except SystemExit as error:
            code = error.code
        lines = capsys.readouterr().err.strip().splitlines()
        return code, lines[-1] if lines else ""

    return train


def metrics(folder):
    """Rows of metrics.jsonl."""
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def same_run(a, b):
    """Whether two runs logged the same rows and wrote the same weights, bit for bit."""
    first, second = (load_file(folder / "generator.safetensors") for folder in (a, b))
    assert first.keys() == second.keys()
    assert [name for name in first if not first[name].equal(second[name])] == []
    assert metrics(a) == metrics(b)


def state_of(out):
    return torch.load(out / "state.ckpt", weights_only=True)


def tree(folder):
    """Hash of each file, to see that nothing was written."""
    return {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.rglob("*") if path.is_file()}


class Training:
    """A training in a process of its own, whose log can be waited for."""

    def __init__(self, process, folder):
        self.process, self.folder = process, folder

    def rows(self):
        path = self.folder / "metrics.jsonl"
        return len(path.read_bytes().splitlines()) if path.exists() else 0

    def wait_for(self, rows):
        """Wait until the log has so many rows, or the process has ended."""
        while self.rows() < rows and self.process.exitcode is None:
            time.sleep(0.01)

    def loaders(self):
        """Process ids of its data loaders."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return [int(pid) for pid in children.read_text().split()] if children.exists() else []

    def send(self, number, *, to_all=False):
        """Send a signal, unless the process has ended; `to_all`: to its data loaders as well."""
        if self.process.exitcode is None:
            for pid in (*(self.loaders() if to_all else ()), self.process.pid):
                os.kill(pid, number)

    def end(self):
        """Wait for the end; return the exit code."""
        self.process.join()
        return self.process.exitcode


@pytest.fixture(scope="session")
def start():
    """Start `medfe …` as a process, forked from one in which everything is imported: a fresh one takes seconds."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        pytest.skip("needs a system that can fork")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["medfe.cli", "medfe.training.generator"])
    processes = []

    def start(arguments, folder):
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("OMP_NUM_THREADS", "1")
            process = context.Process(target=cli.main, args=(arguments,))
            process._start_method = None  # or it would start its data loaders in this unusual way, too
            process.start()
        processes.append(process)
        return Training(process, folder)

    yield start
    for process in processes:
        if process.exitcode is None:
            os.kill(process.pid, signal.SIGKILL)
