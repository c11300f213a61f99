"""Two processes on a CPU compute what one process computes on the joint batch, and share the structure images."""

import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from medfe import cli

STEPS = 5


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    for number in range(6):
        coarse = Image.fromarray(rng.integers(0, 256, (5, 5, 3), dtype=np.uint8))
        coarse.resize((64, 64), Image.Resampling.BICUBIC).save(folder / f"{number}.png")
    return folder


def arguments(pictures, out, devices):
    return [
        "train", "--preset", "tiny", "--arm", "low_resolution", "--accelerator", "cpu",
        "--data", str(pictures), "--out", str(out), "--max-steps", str(STEPS), "--devices", str(devices),
        "--strategy", "ddp" if devices > 1 else "auto",
        "--set", "precision=64-true", "workers=0", "target.rtv.iterations=1", f"data.cache={out / 'cache'}",
    ]  # fmt: skip


def train_alone(pictures, out):
    """Train in this process, with one thread as the others; float64 precision would leave its default type changed."""
    before, threads = torch.get_default_dtype(), torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("medfe.training.generator.available_cores", lambda: 1)  # structure images, too
        try:
            cli.main(arguments(pictures, out, 1))
        finally:
            torch.set_default_dtype(before)
            torch.set_num_threads(threads)


def train_together(pictures, out):
    command = [sys.executable, "-m", "medfe", *arguments(pictures, out, 2)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=280, env=environment)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def folders(pictures, tmp_path_factory):
    """Run folders after five steps of one process, and of two."""
    folders = [tmp_path_factory.mktemp(name) for name in ("alone", "together")]
    train_alone(pictures, folders[0])
    train_together(pictures, folders[1])
    return folders


@pytest.fixture(scope="module")
def states(folders):
    return [torch.load(folder / "state.ckpt", weights_only=True) for folder in folders]


@pytest.mark.parametrize("part", ["pair", "critics", "ema"])
def test_two_processes_give_the_weights_of_one(states, part):
    one, two = (state[part] for state in states)
    assert one.keys() == two.keys()
    for name in one:
        assert torch.allclose(one[name].double(), two[name].double(), rtol=0, atol=1e-8), name


@pytest.mark.parametrize("optimizer", ["optimizer", "critic_optimizer"])
def test_two_processes_average_the_gradients_of_one(states, optimizer):
    one, two = (state[optimizer]["state"] for state in states)
    assert one.keys() == two.keys()
    for index in one:  # Adam's first moment is a mean of the gradients themselves
        assert one[index]["exp_avg"].dtype == torch.float64
        assert torch.allclose(one[index]["exp_avg"], two[index]["exp_avg"], rtol=0, atol=1e-8), index
    assert any(moments["exp_avg"].abs().max() > 1e-4 for moments in one.values())


def test_two_processes_write_deleted_weights_again(pictures, folders):
    weights = folders[1] / "generator.safetensors"
    before = weights.read_bytes()
    weights.unlink()
    train_together(pictures, folders[1])
    assert weights.read_bytes() == before
