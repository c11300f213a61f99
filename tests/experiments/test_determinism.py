"""One arm and seed run twice on one thread agree bit for bit."""

import pytest
import torch
from safetensors.torch import load_file

from medfe.config import RunConfig
from medfe.training.generator import train_generator
from medfe.training.loop import build_fabric


@pytest.fixture
def single_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def check_twice(root, folder, preset, steps):
    """Train twice and compare weights and logged losses."""
    config = RunConfig.create(
        preset, data={"root": root}, target={"structure_image": "image"}, max_steps=steps, log_every=steps // 20,
    )  # fmt: skip
    runs = []
    for out in (folder / "one", folder / "two"):
        assert train_generator(config, out, build_fabric(config.precision, accelerator="cpu")) == steps
        runs.append((load_file(out / "generator.safetensors"), (out / "metrics.jsonl").read_text().splitlines()))
    (one, first_log), (two, second_log) = runs
    assert [name for name in one if not one[name].equal(two[name])] == []
    assert len(first_log) == 20
    assert first_log == second_log


def test_twenty_steps_of_the_smallest_preset(data, tmp_path, single_thread):
    check_twice(data / "utkface" / "train", tmp_path, "tiny", 20)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_two_hundred_steps_of_the_experiments_preset(photographs, tmp_path, single_thread):
    check_twice(photographs / "utkface" / "train", tmp_path, "faces64", 200)
