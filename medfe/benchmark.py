"""Speed and memory of the networks, each beside its floor: the same convolutions alone, in the same process."""

from __future__ import annotations

import gc
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from medfe.config import GeneratorConfig
from medfe.models.generator import Generator, build_generator

Precision = Literal["float32", "bfloat16"]
WARM_UPS = 2


@dataclass(frozen=True)
class Convolution:
    """One convolution that a network ran: enough to run it again."""

    inputs: tuple[int, ...]
    """Shape of its input, N×C×H×W."""
    weight: tuple[int, ...]
    """Shape of its weight."""
    stride: int
    padding: int
    dilation: int
    transposed: bool

    @property
    def flops(self) -> int:
        """Floating-point operations, a multiplication and an addition counted as two."""
        images, _, height, width = self.inputs
        if not self.transposed:
            height, width = (
                (side + 2 * self.padding - self.dilation * (self.weight[2] - 1) - 1) // self.stride + 1
                for side in (height, width)
            )
        area = self.weight[0] * self.weight[1] * self.weight[2] * self.weight[3]
        return 2 * images * height * width * area

    def __str__(self) -> str:
        kind = "transposed convolution" if self.transposed else "convolution"
        return f"{kind} {'×'.join(map(str, self.weight))} of {'×'.join(map(str, self.inputs))}, stride {self.stride}"


@dataclass(frozen=True)
class Timing:
    """Seconds of repeated runs."""

    median: float
    low: float
    """First quartile."""
    high: float
    """Third quartile."""

    @classmethod
    def of(cls, seconds: Sequence[float]) -> Timing:
        """Summarize measured runs."""
        low, median, high = statistics.quantiles(seconds, n=4, method="inclusive")
        return cls(median, low, high)

    def __str__(self) -> str:
        return f"{1000 * self.median:.0f} ms ({1000 * self.low:.0f}–{1000 * self.high:.0f})"


@dataclass(frozen=True)
class ForwardResult:
    """A forward pass beside its floor."""

    preset: str
    precision: Precision
    batch_size: int
    threads: int
    processor: str
    torch: str
    forward: Timing
    floor: Timing
    floor_layout: str
    flops: int
    peak_bytes: int
    """Peak memory of a process that only builds the generator and runs it, weights and libraries included."""
    convolutions: tuple[Convolution, ...]

    @property
    def ratio(self) -> float:
        """Time over floor."""
        return self.forward.median / self.floor.median

    def text(self) -> str:
        """Return the result as lines."""
        return "\n".join([
            f"forward {self.preset}, {self.precision}, batch {self.batch_size}, {self.processor}, "
            f"{self.threads} threads, torch {self.torch}",
            f"  time          {self.forward}",
            f"  convolutions  {self.floor}, {self.floor_layout}, {self.flops / 1e9:.1f} GFLOP",
            f"  ratio         {self.ratio:.2f}",
            f"  peak memory   {self.peak_bytes / 1e9:.2f} GB, whole process",
        ])  # fmt: skip

    def markdown(self) -> str:
        """Return the result as a table of one row."""
        return "\n".join([
            "| preset | precision | batch | time (quartiles) | convolutions alone | ratio | peak memory |",
            "|---|---|---|---|---|---|---|",
            f"| {self.preset} | {self.precision} | {self.batch_size} | {self.forward} | {self.floor} | "
            f"{self.ratio:.2f} | {self.peak_bytes / 1e9:.2f} GB |",
        ])  # fmt: skip

    def as_dict(self) -> dict[str, Any]:
        """Return the result as JSON-able values."""
        return {**asdict(self), "ratio": self.ratio}

    def convolution_list(self) -> str:
        """Return the convolutions of the floor, one a line, with their operations."""
        return "\n".join(f"{convolution.flops / 1e6:10.1f} MFLOP  {convolution}" for convolution in self.convolutions)


def benchmark_forward(
    preset: str, precision: Precision = "float32", batch_size: int = 1, repeats: int = 10
) -> ForwardResult:
    """Measure a generator's forward pass in evaluation mode on the CPU.

    Network and floor alternate, so that both see the same machine. Peak memory is that of a process of its own.

    Args:
        preset: size of the generator.
        precision: bfloat16 by autocast.
        batch_size: images at once.
        repeats: timed runs of each.

    Raises:
        MedfeError: unknown preset.
    """
    config = GeneratorConfig.preset(preset)
    generator = ready_generator(config)
    batch = sample_batch(config, batch_size)
    dtype = torch.bfloat16 if precision == "bfloat16" else torch.float32
    convolutions = record_convolutions(generator, batch)
    floors = {
        "NCHW": bare_convolutions(convolutions, dtype, torch.contiguous_format),
        "channels last": bare_convolutions(convolutions, dtype, torch.channels_last),
    }
    with torch.inference_mode(), torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
        times = alternate({"forward": lambda: generator(*batch), **floors}, repeats)
    layout = min(floors, key=lambda name: statistics.median(times[name]))
    return ForwardResult(
        preset=preset, precision=precision, batch_size=batch_size, threads=torch.get_num_threads(),
        processor=processor_name(), torch=torch.__version__, forward=Timing.of(times["forward"]),
        floor=Timing.of(times[layout]), floor_layout=layout, flops=sum(item.flops for item in convolutions),
        peak_bytes=peak_memory(preset, precision, batch_size), convolutions=tuple(convolutions),
    )  # fmt: skip


def ready_generator(config: GeneratorConfig) -> Generator:
    """Return a generator with random weights, laid out as for inference."""
    return build_generator(config).eval().requires_grad_(False)


def sample_batch(config: GeneratorConfig, batch_size: int) -> tuple[Tensor, Tensor]:
    """Return random images and centre masks."""
    size = config.image_size
    mask = torch.zeros(batch_size, 1, size, size)
    mask[:, :, size // 4 : 3 * size // 4, size // 4 : 3 * size // 4] = 1
    return torch.rand(batch_size, 3, size, size) * 2 - 1, mask


def record_convolutions(module: nn.Module, batch: tuple[Tensor, ...]) -> list[Convolution]:
    """Run a module once and return the convolutions it ran, in order."""
    found: list[Convolution] = []

    def hook(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        del output
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            found.append(Convolution(
                tuple(inputs[0].shape), tuple(layer.weight.shape), layer.stride[0], int(layer.padding[0]),
                layer.dilation[0], isinstance(layer, nn.ConvTranspose2d),
            ))  # fmt: skip

    hooks = [layer.register_forward_hook(hook) for layer in module.modules()]
    with torch.inference_mode():
        module(*batch)
    for handle in hooks:
        handle.remove()
    return found


def bare_convolutions(
    convolutions: Sequence[Convolution], dtype: torch.dtype, layout: torch.memory_format
) -> Callable[[], None]:
    """Return a function that runs the convolutions, and nothing else, on tensors made beforehand."""
    runs: list[Callable[[], Tensor]] = []
    for item in convolutions:
        x = torch.randn(item.inputs, dtype=dtype).to(memory_format=layout)
        weight = torch.randn(item.weight, dtype=dtype).to(memory_format=layout)
        convolve = F.conv_transpose2d if item.transposed else F.conv2d
        settings: dict[str, Any] = {"stride": item.stride, "padding": item.padding, "dilation": item.dilation}
        runs.append(partial(convolve, x, weight, **settings))

    def run() -> None:
        for convolution in runs:
            convolution()

    return run


def alternate(functions: dict[str, Callable[[], Any]], repeats: int) -> dict[str, list[float]]:
    """Time functions in turn, `repeats` times each after warming up; return seconds by name."""
    times: dict[str, list[float]] = {name: [] for name in functions}
    for turn in range(WARM_UPS + repeats):
        for name, function in functions.items():
            gc.collect()
            start = time.perf_counter()
            function()
            if turn >= WARM_UPS:
                times[name].append(time.perf_counter() - start)
    return times


def peak_memory(preset: str, precision: Precision, batch_size: int) -> int:
    """Return the peak memory, bytes, of a new process that builds a generator and runs it three times."""
    code = f"from medfe.benchmark import run_alone; print(run_alone({preset!r}, {precision!r}, {batch_size}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return int(done.stdout.split()[-1])


def run_alone(preset: str, precision: Precision, batch_size: int) -> int:
    """Build a generator, run it three times, and return this process's peak memory, bytes."""
    config = GeneratorConfig.preset(preset)
    generator, batch = ready_generator(config), sample_batch(config, batch_size)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
        for _ in range(3):
            generator(*batch)
    return peak_resident_bytes()


def peak_resident_bytes() -> int:
    """Return this process's peak memory, bytes."""
    status = Path("/proc/self/status")
    if status.exists():  # getrusage would count the parent's memory too, as it was when this process was started
        line = next(line for line in status.read_text(encoding="utf-8").splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def processor_name() -> str:
    """Return the processor's name as the system gives it."""
    information = Path("/proc/cpuinfo")
    if information.exists():
        for line in information.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()
