"""Operation counts and outputs of the benchmarks; times are measured, never asserted."""

import json
import subprocess
import sys

import pytest
import torch
from scipy.sparse.linalg import splu
from torch import nn

from medfe.benchmark.convolutions import LAYOUTS, alone, record
from medfe.benchmark.forward import forward_backward, forward_pass
from medfe.benchmark.measure import Timing, peak_memory
from medfe.benchmark.smoothing import _system
from medfe.benchmark.step import training_step
from medfe.targets.grid_cholesky import solve_grid


def test_a_convolution_is_counted_by_its_closed_form():
    layer = nn.Conv2d(3, 8, 5, stride=2, padding=2)
    (found,) = record(lambda: layer(torch.zeros(2, 3, 20, 12)))
    assert found.output == (2, 8, 10, 6)
    assert found.flops == 2 * 2 * 10 * 6 * 8 * 3 * 5 * 5


def test_a_transposed_convolution_is_counted_at_its_input():
    layer = nn.ConvTranspose2d(6, 4, 4, stride=2, padding=1)
    (found,) = record(lambda: layer(torch.zeros(1, 6, 7, 9)))
    assert found.transposed
    assert found.flops == 2 * 7 * 9 * 6 * 4 * 4 * 4


def test_the_backward_pass_counts_each_gradient_once_more():
    layer = nn.Conv2d(4, 4, 3)
    x = torch.zeros(1, 4, 8, 8, requires_grad=True)
    forward, backward = record(lambda: layer(x).sum().backward())
    assert forward.gradients is None
    assert backward.gradients == (True, True, True)
    assert backward.flops == 2 * forward.flops


def test_grouped_convolutions_count_their_own_channels_only():
    layer = nn.Conv2d(8, 8, 3, groups=8, bias=False)
    (found,) = record(lambda: layer(torch.zeros(1, 8, 10, 10)))
    assert found.flops == 2 * 8 * 8 * 8 * 9


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_recorded_convolutions_run_alone_in_both_layouts(precision):
    convolutions = record(forward_backward("tiny", precision, 1))
    assert {item.dtype for item in convolutions} == {getattr(torch, precision)}
    for layout in LAYOUTS.values():
        alone(convolutions, layout)()


def test_the_papers_generator_holds_no_more_convolutions_than_the_published_one():
    """141 GFLOP counted on the published code; 1×1 convolutions moved before a resize take away a little."""
    flops = sum(item.flops for item in record(forward_pass("paper", "float32", 1)))
    assert 135e9 < flops < 141e9


def test_a_training_step_contains_the_backward_pass_of_its_convolutions():
    convolutions = record(training_step("tiny", "32-true", 2))
    forward = sum(item.flops for item in convolutions if item.gradients is None)
    backward = sum(item.flops for item in convolutions if item.gradients is not None)
    assert 0.5 < backward / forward < 2  # frozen backbone and critics have forward passes without gradients


def test_the_smoothing_floor_solves_the_systems_that_the_smoothing_solves():
    rng = torch.Generator().manual_seed(0)
    weights = [torch.rand(1, 5, 7, generator=rng, dtype=torch.float64) for _ in range(2)]
    weights[0][..., -1] = 0
    weights[1][..., -1, :] = 0
    right = torch.rand(3, 5, 7, generator=rng, dtype=torch.float64)
    found = splu(_system(*weights, 1.0)).solve(right.flatten(1).T.numpy())
    expected = solve_grid(weights[0][0], weights[1][0], right)
    assert torch.allclose(torch.from_numpy(found.T).view_as(expected), expected, atol=1e-10)


def test_quartiles_are_those_of_the_runs():
    timing = Timing.of([4.0, 1.0, 2.0, 3.0, 5.0])
    assert (timing.low, timing.median, timing.high, timing.best) == (2.0, 3.0, 4.0, 1.0)
    assert Timing.of([6.0, 6.0], per=3).median == 2.0


def test_peak_memory_is_that_of_the_new_process_alone():
    ballast = torch.ones(256, 1024, 1024)  # 1 GiB here
    peak = peak_memory("forward", "forward_pass('tiny', 'float32', 1)")
    assert 50e6 < peak < ballast.numel() * 4


def test_the_command_prints_time_memory_and_ratio_and_writes_them(tmp_path):
    out = tmp_path / "forward.json"
    command = ["-m", "medfe", "benchmark", "forward", "--preset", "tiny", "--repeats", "2", "--out", str(out)]
    done = subprocess.run([sys.executable, *command], capture_output=True, text=True, check=True, timeout=200)
    for word in ("ratio", "GB", "ms", "convolutions"):
        assert word in done.stdout
    (row,) = json.loads(out.read_text())["rows"]
    assert row["ratio"] == pytest.approx(row["time"]["median"] / row["floor"]["median"])
    assert row["peak_bytes"] > 1e8
