"""What both training loops share: devices and precision, the order of samples, the schedule, when to stop."""

import os
import signal
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any

import torch
from lightning_fabric import Fabric
from lightning_fabric.utilities.exceptions import MisconfigurationException
from torch import Tensor
from torch.utils.data import DataLoader, Sampler

from medfe.config import PRECISIONS
from medfe.data.folder import TrainingSamples, worker_init
from medfe.devices import exact_float32
from medfe.errors import MedfeError

PRECISION_VARIABLE = "MEDFE_PRECISION"
"""Environment variable that says what precision `auto` is: for an experiment begun on a machine of another kind."""

UNKNOWN = "unknown"
"""Precision of a training that was begun by a release that did not write it down."""


class NonFiniteLossError(MedfeError):
    """A loss became infinite or undefined."""


def resolve_precision(precision: str, accelerator: str = "auto") -> str:
    """Return `precision`; for `auto` what MEDFE_PRECISION names, else bf16-mixed on a device fast at it, or 32-true.

    Raises:
        MedfeError: if the variable names no precision.
    """
    if precision != "auto":
        return precision
    if named := os.environ.get(PRECISION_VARIABLE):
        if named not in PRECISIONS:
            raise MedfeError(f"{PRECISION_VARIABLE}: found {named!r}, expected one of: {', '.join(PRECISIONS)}")
        return named
    if accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available():
        fast = torch.cuda.is_bf16_supported(including_emulation=False)
    elif accelerator in ("auto", "cpu") and not torch.backends.mps.is_available():
        capabilities: dict[str, bool] = getattr(torch.cpu, "get_capabilities", dict)()  # older releases cannot tell
        fast = any(capabilities.get(name) for name in ("avx512_bf16", "amx_bf16"))
    else:
        fast = False
    return "bf16-mixed" if fast else "32-true"


def build_fabric(
    precision: str,
    *,
    accelerator: str = "auto",
    devices: int | str = 1,
    num_nodes: int = 1,
    strategy: str = "auto",
) -> Fabric:
    """Return a launched Fabric: devices, precision and processes of a run.

    Raises:
        MedfeError: this machine has no such devices, or they cannot work together like this.
    """
    precision = resolve_precision(precision, accelerator)
    try:
        fabric = Fabric(
            accelerator=accelerator, devices=devices, num_nodes=num_nodes, strategy=strategy,
            precision=precision,  # type: ignore[arg-type]
        )  # fmt: skip
    except (RuntimeError, ValueError, TypeError, ImportError, MisconfigurationException) as error:
        asked = f"accelerator {accelerator}, devices {devices}, strategy {strategy}, precision {precision}"
        raise MedfeError(f"{asked}: {error}") from None
    fabric.launch()
    if precision in ("32-true", "64-true"):
        exact_float32(fabric.device)
    if precision == "64-true":  # else Fabric would hand back what networks return as float32
        torch.set_default_dtype(torch.float64)
    return fabric


def precision_of(fabric: Fabric) -> str:
    """Return the precision that a launched Fabric works in, such as `bf16-mixed`."""
    return str(fabric.strategy.precision.precision)


def precision_begun(state: Mapping[str, Any] | None, fabric: Fabric) -> str:
    """Return the precision that a training began in; `unknown` for a state of an earlier release, which did not say.

    Args:
        state: Saved state; None: the training begins now.
        fabric: What it begins, or goes on, with.
    """
    return precision_of(fabric) if state is None else str(state.get("works_in", UNKNOWN))


def check_precision(began: str, now: str, folder: Path) -> None:
    """Check that a training goes on, or writes deleted weights again, in the precision that it began in.

    Args:
        began: As of `precision_begun`.
        now: What it would work in.
        folder: Its run folder.

    Raises:
        MedfeError: if it is another one, as `auto` is on another machine.
    """
    if began not in (UNKNOWN, now):
        raise MedfeError(
            f"{folder}: began in {began} and would go on in {now}; where precision is auto, set "
            f"{PRECISION_VARIABLE}={began} to go on, else use a device that has it, or another folder"
        )


def is_missing(weights: Path, fabric: Fabric) -> bool:
    """Tell whether a weight file is not there, as of a finished run where somebody deleted it.

    One process looks, for all of them have to save again or none.
    """
    return anyone(fabric, fabric.is_global_zero and not weights.exists())


def seed_step(seed: int, step: int) -> None:
    """Seed torch for one step. What a step draws depends on (seed, step) alone, so a resumed run draws the same."""
    torch.manual_seed((seed * 1_000_003 + step) % 2**63)


def schedule_factor(schedule: Sequence[float], step: int, max_steps: int) -> float:
    """Return the learning rate's factor at `step`: the schedule's entries last equal parts of the run."""
    return schedule[min(step * len(schedule) // max_steps, len(schedule) - 1)]


def set_learning_rate(optimizer: Any, rate: float) -> None:
    """Set the learning rate of every group of parameters."""
    for group in optimizer.param_groups:
        group["lr"] = rate


class StepBatches(Sampler[list[int]]):
    """Positions of each step's samples, in order from `first_step`; every process takes its share of a step."""

    def __init__(self, first_step: int, last_step: int, batch_size: int, rank: int = 0, processes: int = 1) -> None:
        if batch_size % processes:
            raise MedfeError(f"batch_size: found {batch_size}, expected a multiple of the {processes} processes")
        self.steps = range(first_step, last_step)
        self.batch_size, self.share = batch_size, batch_size // processes
        self.offset = rank * self.share

    def __len__(self) -> int:
        return len(self.steps)

    def __iter__(self) -> Iterator[list[int]]:
        for step in self.steps:
            first = step * self.batch_size + self.offset
            yield list(range(first, first + self.share))


def build_loader(
    samples: TrainingSamples, first_step: int, last_step: int, batch_size: int, workers: int, fabric: Fabric
) -> Any:
    """Return the loader of the steps from `first_step` on, whose batches arrive on the device."""
    batches = StepBatches(first_step, last_step, batch_size, fabric.global_rank, fabric.world_size)
    loader = DataLoader(
        samples,
        batch_sampler=batches,
        num_workers=workers,
        pin_memory=fabric.device.type == "cuda",
        worker_init_fn=worker_init,
        prefetch_factor=4 if workers else None,
    )
    return fabric.setup_dataloaders(loader, use_distributed_sampler=False)


def describe_samples(samples: TrainingSamples, steps: int, batch_size: int) -> str:
    """Return how many photographs there are, and how often a run sees each."""
    found, passes = len(samples.paths), steps * batch_size / len(samples.paths)
    return (
        f"photographs: {found}, unreadable: {len(samples.unreadable)}\n"
        f"{steps} steps of {batch_size} images: {passes:.1f} passes over the photographs"
    )


def count_parameters(module: torch.nn.Module) -> int:
    """Return the number of trained parameters."""
    return sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad)


def anyone(fabric: Fabric, flag: bool) -> bool:
    """Return whether any process says so; all of them wait for each other."""
    if fabric.world_size == 1:
        return flag
    return bool(torch.as_tensor(fabric.all_gather(torch.tensor(float(flag)))).any())


def mean_of_processes(values: Tensor, fabric: Fabric) -> Tensor:
    """Return the mean over processes of a tensor that each has, without gradients; `values` may be overwritten."""
    if fabric.world_size == 1:
        return values
    torch.distributed.all_reduce(values)  # Fabric's own would put a barrier before each
    return values / fabric.world_size


def check_finite(terms: Mapping[str, Tensor], step: int, fabric: Fabric) -> dict[str, float]:
    """Return the terms as numbers, of the whole batch where processes share it.

    Raises:
        NonFiniteLossError: in all processes, naming the step and every term that is not finite.
    """
    values = mean_of_processes(torch.stack([term.detach().float() for term in terms.values()]), fabric)
    named = dict(zip(terms, values.tolist(), strict=True))  # one wait for the device
    broken = [f"{name} = {value}" for name, value in named.items() if not abs(value) < float("inf")]
    if broken:
        raise NonFiniteLossError(f"step {step}: {', '.join(broken)}; stopped, the last good state is kept")
    return named


def check_finite_weights(tensors: Mapping[str, Tensor], step: int) -> None:
    """Refuse to save weights that are not finite: a finite loss can have gradients that are not.

    Raises:
        NonFiniteLossError: naming the step and the first tensor that is not finite.
    """
    for name, tensor in tensors.items():
        if not bool(torch.isfinite(tensor).all()):
            raise NonFiniteLossError(f"step {step}: {name} is not finite; stopped, the last good state is kept")


class StopRequest:
    """Says when to stop: after `max_minutes`, on Ctrl-C, or when the process is asked to end.

    Used as a context manager; a second Ctrl-C interrupts at once.
    """

    def __init__(self, max_minutes: float | None = None) -> None:
        self.deadline = None if max_minutes is None else time.monotonic() + 60 * max_minutes
        self.signalled = False
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> "StopRequest":
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._previous[number] = signal.signal(number, self._stop)
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        outer = self._previous.get(signal.SIGTERM)
        if self.signalled and callable(outer):  # an experiment around this training, which is to end as well
            outer(signal.SIGTERM, None)

    def _stop(self, number: int, frame: FrameType | None) -> None:
        del frame
        if self.signalled and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.signalled = True

    def batches(self, loader: Iterable[Any]) -> Iterator[Any]:
        """Yield from a loader; one whose workers were told to end together with this process ends quietly.

        Raises:
            MedfeError: raised in a worker, with its own message instead of the worker's traceback.
        """
        try:
            yield from loader
        except MedfeError as error:
            raise MedfeError(_own_message(str(error))) from None
        except RuntimeError:
            if not self.signalled:
                raise

    def __bool__(self) -> bool:
        return self.signalled or (self.deadline is not None and time.monotonic() >= self.deadline)


def _own_message(text: str) -> str:
    """Return the message of an error; torch hands on those of workers as tracebacks, which end in `type: message`."""
    lines = text.strip().splitlines()
    return lines[-1].partition(": ")[2] if text.startswith("Caught ") and len(lines) > 1 else text
