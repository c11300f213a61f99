"""Order of samples, schedule, seeds, precision, and when a training stops."""

import signal
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from lightning_fabric import Fabric
from torch.utils.data import DataLoader, Dataset

from medfe.config import PRECISIONS
from medfe.errors import MedfeError
from medfe.training.loop import (
    NonFiniteLossError,
    StepBatches,
    StopRequest,
    build_fabric,
    check_finite,
    precision_of,
    resolve_precision,
    schedule_factor,
    seed_step,
)


@given(st.integers(0, 5), st.integers(1, 9), st.integers(1, 6), st.sampled_from([1, 2, 3]))
def test_steps_walk_the_positions_in_order_whatever_the_start_and_the_processes(first, steps, share, processes):
    batch = share * processes
    shares = [list(StepBatches(first, first + steps, batch, rank, processes)) for rank in range(processes)]
    walked = [position for parts in zip(*shares, strict=True) for part in parts for position in part]
    assert walked == list(range(first * batch, (first + steps) * batch))
    assert all(len(part) == share for parts in shares for part in parts)
    assert len(StepBatches(first, first + steps, batch)) == steps


def test_a_term_that_is_not_finite_in_another_process_stops_this_one_too(monkeypatch):
    fabric, of_the_other = SimpleNamespace(world_size=2), torch.tensor([3.0, 5.0])
    monkeypatch.setattr(torch.distributed, "all_reduce", lambda values: values.add_(of_the_other))
    assert check_finite({"a": torch.tensor(1.0), "b": torch.tensor(1.0)}, 1, fabric) == {"a": 2.0, "b": 3.0}
    of_the_other[1] = float("nan")
    with pytest.raises(NonFiniteLossError, match="step 2: b = nan"):
        check_finite({"a": torch.tensor(1.0), "b": torch.tensor(1.0)}, 2, fabric)


def test_a_batch_that_does_not_divide_among_processes_is_refused():
    with pytest.raises(MedfeError, match="batch_size: found 5, expected a multiple of the 2 processes"):
        StepBatches(0, 1, 5, 0, 2)


def test_the_schedule_gives_each_factor_an_equal_part_of_the_run():
    factors = [schedule_factor((1.0, 0.75, 0.5), step, 12) for step in range(12)]
    assert factors == [1.0] * 4 + [0.75] * 4 + [0.5] * 4
    assert [schedule_factor((1.0, 0.5), step, 1) for step in range(2)] == [1.0, 0.5]  # and never runs out
    counts = np.bincount([int(100 * schedule_factor((0.0, 0.01, 0.02), step, 100)) for step in range(100)])
    assert sorted(counts) == [33, 33, 34]


def test_what_a_step_draws_depends_on_seed_and_step_alone():
    def draw(seed, step):
        seed_step(seed, step)
        return float(torch.rand(()))

    assert draw(3, 7) == draw(3, 7)
    assert len({draw(seed, step) for seed in range(4) for step in range(50)}) == 200


def test_precision_is_what_was_asked_for_or_what_the_device_is_fast_at(monkeypatch):
    assert resolve_precision("64-true") == "64-true"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"amx_bf16": True}, raising=False)
    assert resolve_precision("auto", "cpu") == "bf16-mixed"
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx2": True}, raising=False)
    assert resolve_precision("auto", "cpu") == "32-true"


def test_what_auto_means_can_be_named(monkeypatch):
    monkeypatch.setenv("MEDFE_PRECISION", "bf16-mixed")
    assert resolve_precision("auto") == "bf16-mixed"
    assert resolve_precision("32-true") == "32-true"
    monkeypatch.setenv("MEDFE_PRECISION", "half")
    with pytest.raises(
        MedfeError, match="MEDFE_PRECISION: found 'half', expected one of: 32-true, 64-true, bf16-mixed"
    ):
        resolve_precision("auto")


def test_terms_are_returned_as_numbers_unless_one_is_not_finite():
    fabric = build_fabric("32-true", accelerator="cpu")
    assert check_finite({"a": torch.tensor(1.5), "b": torch.tensor(-2.0)}, 3, fabric) == {"a": 1.5, "b": -2.0}
    terms = {"a": torch.tensor(1.0), "b": torch.tensor(float("nan")), "c": torch.tensor(-float("inf"))}
    with pytest.raises(NonFiniteLossError, match="step 7: b = nan, c = -inf") as error:
        check_finite(terms, 7, fabric)
    assert "a =" not in str(error.value)


def test_devices_that_are_not_there_are_named():
    with pytest.raises(MedfeError, match="accelerator abacus, devices 1"):
        build_fabric("32-true", accelerator="abacus")
    with pytest.raises(MedfeError, match="precision 3-true"):
        build_fabric("3-true", accelerator="cpu")


def test_a_named_precision_is_worked_in_like_one_that_is_asked_for(monkeypatch):
    monkeypatch.setenv("MEDFE_PRECISION", "64-true")
    before = torch.get_default_dtype()
    try:
        fabric = build_fabric("auto", accelerator="cpu")
        network = fabric.setup(torch.nn.Linear(2, 2))
        assert precision_of(fabric) == "64-true"
        assert network(torch.zeros(1, 2)).dtype == torch.float64
    finally:
        torch.set_default_dtype(before)


@pytest.mark.filterwarnings("ignore:You passed")
@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_fabric_says_what_it_works_in(precision):
    half = {"16-mixed": "bf16-mixed"}  # a CPU has no float16
    assert precision_of(Fabric(accelerator="cpu", devices=1, precision=precision)) == half.get(precision, precision)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_asks_to_stop_and_handlers_come_back(number):
    before = signal.getsignal(number)
    with StopRequest() as stop:
        assert not stop
        signal.raise_signal(number)
        assert stop
    assert signal.getsignal(number) is before


def test_a_second_ctrl_c_interrupts_at_once():
    with StopRequest() as stop:
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        assert stop


def test_time_runs_out():
    assert StopRequest(0)
    assert not StopRequest(1)
    assert not StopRequest()


class Missing(Dataset):
    def __len__(self):
        return 1

    def __getitem__(self, index):
        raise MedfeError("photographs: none of 3 images can be read")


@pytest.mark.parametrize("workers", [0, 1])
def test_a_mistake_found_by_a_loading_process_is_told_in_its_own_words(workers):
    loader = DataLoader(Missing(), num_workers=workers)
    with pytest.raises(MedfeError) as error:
        list(StopRequest().batches(loader))
    assert str(error.value) == "photographs: none of 3 images can be read"


def test_a_loader_that_fails_is_an_error_unless_it_was_told_to_end():
    def loader():
        yield 1
        raise RuntimeError("worker was killed")

    stop = StopRequest()
    with pytest.raises(RuntimeError, match="worker was killed"):
        list(stop.batches(loader()))
    stop.signalled = True
    assert list(stop.batches(loader())) == [1]
