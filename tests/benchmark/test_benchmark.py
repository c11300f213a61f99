"""Operation counts and outputs of the benchmarks; times are measured, never asserted."""

import json
import subprocess
import sys

import pytest
import torch
from scipy.sparse.linalg import splu
from torch import nn

from medfe.backbones import Vgg16
from medfe.benchmark import measure, variants
from medfe.benchmark.convolutions import LAYOUTS, alone, record
from medfe.benchmark.forward import benchmark_forward, forward_backward, forward_pass
from medfe.benchmark.measure import peak_memory
from medfe.benchmark.results import Result, Row, Timing, markdown
from medfe.benchmark.scaling import ARRANGEMENTS, benchmark_scaling, run_arrangement
from medfe.benchmark.smoothing import _system
from medfe.benchmark.step import build_run, training_step
from medfe.errors import MedfeError
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


def test_a_step_on_vgg_needs_no_weights_of_it(monkeypatch, tmp_path):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", pytest.fail)
    run = build_run("paper", "32-true", 1)
    assert isinstance(run.backbone_terms.backbone, Vgg16)


def test_the_smoothing_floor_solves_the_systems_that_the_smoothing_solves():
    rng = torch.Generator().manual_seed(0)
    weights = [torch.rand(1, 5, 7, generator=rng, dtype=torch.float64) for _ in range(2)]
    weights[0][..., -1] = 0
    weights[1][..., -1, :] = 0
    right = torch.rand(3, 5, 7, generator=rng, dtype=torch.float64)
    found = splu(_system(*weights, 1.0)).solve(right.flatten(1).T.numpy())
    expected = solve_grid(weights[0][0], weights[1][0], right)
    assert torch.allclose(torch.from_numpy(found.T).view_as(expected), expected, atol=1e-10)


def test_gradient_checkpointing_recomputes_convolutions_of_the_forward_pass():
    plain, saving = (record(forward_backward("tiny", "float32", 1, checkpointing=flag)) for flag in (False, True))
    forward = [sum(item.gradients is None for item in found) for found in (plain, saving)]
    backward = [sum(item.gradients is not None for item in found) for found in (plain, saving)]
    assert forward[0] < forward[1] <= 2 * forward[0]
    assert backward[0] == backward[1]


def test_variants_stand_beside_one_floor(monkeypatch):
    monkeypatch.setattr(nn.Module, "compile", lambda _: None)  # the compiler itself would take a minute
    monkeypatch.setattr(variants, "peak_memory", lambda module, call: len(f"{module}.{call}"))  # a process each
    result, _ = benchmark_forward("tiny", "float32", 1, 2, backward=True, compiled=True, checkpointing=True)
    assert [row.what.partition(", batch 1")[2] for row in result.rows] == [
        "", ", torch.compile", ", gradient checkpointing",
    ]  # fmt: skip
    assert len({row.floor for row in result.rows}) == 1
    assert [row.peak_bytes is None for row in result.rows] == [False, True, False]
    assert "torch.compile took" in result.notes[0]


def result_of(processor, what, note):
    row = Row(what, Timing(2.0, 1.5, 2.5, 1.0), Timing(1.0, 1.0, 1.0, 1.0), "less", 10**9)
    return Result("test", (row,), (note,), processor, 2, "2.9")


def test_a_result_is_read_as_it_was_written(tmp_path):
    result = result_of("Chip A", "one", "Note.")
    result.save(tmp_path / "a.json")
    assert Result.load(tmp_path / "a.json") == result


@pytest.mark.parametrize("content", ["", "[]", '{"rows": []}', '{"rows": [1], "notes": []}', "\x00"])
def test_what_is_no_result_is_named(tmp_path, content):
    (tmp_path / "a.json").write_text(content)
    with pytest.raises(MedfeError, match=r"a\.json: not the result of a benchmark"):
        Result.load(tmp_path / "a.json")


def test_results_of_one_machine_make_one_table_with_the_machine_below():
    a, b, c = (result_of(chip, what, f"{what}.") for chip, what in (("A", "one"), ("A", "two"), ("B", "three")))
    lines = markdown([a, c, b]).splitlines()
    assert lines == [
        "| what | time, median (quartiles) | beside | ratio | peak memory |", "|---|---|---|---|---|",
        "| one | 2000 ms (1500 to 2500) | 1000 ms (1000 to 1000), less | 2.00 | 1.00 GB |",
        "| two | 2000 ms (1500 to 2500) | 1000 ms (1000 to 1000), less | 2.00 | 1.00 GB |",
        "", "A, 2 threads, torch 2.9.", "one.", "two.", "",
        "| what | time, median (quartiles) | beside | ratio | peak memory |", "|---|---|---|---|---|",
        "| three | 2000 ms (1500 to 2500) | 1000 ms (1000 to 1000), less | 2.00 | 1.00 GB |",
        "", "B, 2 threads, torch 2.9.", "three.",
    ]  # fmt: skip


def test_processes_that_share_a_batch_measure_together():
    arrangement = next(one for one in ARRANGEMENTS if one.together)
    seconds = run_arrangement(arrangement, "tiny", "32-true", 2, 2)
    assert len(seconds) == 2 * arrangement.processes
    assert min(seconds) > 0


def test_efficiency_is_one_threads_time_over_cores(monkeypatch):
    times = dict(zip((one.name for one in ARRANGEMENTS), ([4.0], [2.5], [2.0, 2.0], [4.0, 4.0]), strict=True))
    monkeypatch.setattr("medfe.benchmark.scaling.run_arrangement", lambda one, *_: times[one.name])
    result = benchmark_scaling("tiny", "32-true", 4, 1)
    assert [row.ratio for row in result.rows] == pytest.approx([None, 1.25, 1.0, 1.0])
    assert [note.rpartition(": ")[2] for note in result.notes] == [
        "1.00 images/s.", "1.60 images/s, efficiency 80 %.", "2.00 images/s, efficiency 100 %.",
        "2.00 images/s, efficiency 100 %.",
    ]  # fmt: skip


@pytest.mark.parametrize(("preset", "asked", "images"), [("paper", None, 2), ("tiny", 6, 6), ("faces64", None, 16)])
def test_two_processes_can_share_the_batch_that_is_measured(monkeypatch, preset, asked, images):
    sizes = set()
    monkeypatch.setattr("medfe.benchmark.scaling.run_arrangement", lambda *given: sizes.add(given[3]) or [1.0])
    benchmark_scaling(preset, "32-true", asked, 1)
    assert sizes == {images}


def test_a_batch_that_two_processes_cannot_share_is_refused():
    with pytest.raises(MedfeError, match="batch_size: found 3, expected an even number"):
        benchmark_scaling("tiny", "32-true", 3, 1)


def test_a_process_that_fails_is_one_line():
    with pytest.raises(MedfeError, match=r"scaling: a process failed \(.*unknown preset 'huge'") as error:
        run_arrangement(ARRANGEMENTS[0], "huge", "32-true", 2, 1)
    assert "\n" not in str(error.value)


def test_quartiles_are_those_of_the_runs():
    timing = Timing.of([4.0, 1.0, 2.0, 3.0, 5.0])
    assert (timing.low, timing.median, timing.high, timing.best) == (2.0, 3.0, 4.0, 1.0)
    assert Timing.of([6.0, 6.0], per=3).median == 2.0


def test_peak_memory_is_that_of_the_new_process_alone():
    ballast = torch.ones(256, 1024, 1024)  # 1 GiB here
    peak = peak_memory("forward", "forward_pass('tiny', 'float32', 1)")
    assert 50e6 < peak < ballast.numel() * 4


def test_memory_that_the_system_does_not_tell_is_none(monkeypatch):
    monkeypatch.setitem(sys.modules, "resource", None)  # as on Windows
    monkeypatch.setattr(measure.Path, "exists", lambda _: False)
    assert measure.peak_resident_bytes() is None
    done = subprocess.CompletedProcess([], 0, stdout="None\n")
    monkeypatch.setattr(measure.subprocess, "run", lambda *_, **__: done)
    assert peak_memory("forward", "forward_pass('tiny', 'float32', 1)") is None


def test_the_command_prints_time_memory_and_ratio_and_writes_them(tmp_path):
    out = tmp_path / "forward.json"
    command = ["-m", "medfe", "benchmark", "forward", "--preset", "tiny", "--repeats", "2", "--out", str(out)]
    done = subprocess.run([sys.executable, *command], capture_output=True, text=True, check=True, timeout=200)
    for word in ("ratio", "GB", "ms", "convolutions"):
        assert word in done.stdout
    (row,) = json.loads(out.read_text())["rows"]
    assert row["ratio"] == pytest.approx(row["time"]["median"] / row["floor"]["median"])
    assert row["peak_bytes"] > 1e8
