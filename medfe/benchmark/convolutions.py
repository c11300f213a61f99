"""The floor of a computation: the convolutions it contains, run alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

_FORWARD = torch.ops.aten.convolution.default
_BACKWARD = torch.ops.aten.convolution_backward.default
LAYOUTS = {"NCHW": torch.contiguous_format, "channels last": torch.channels_last}


@dataclass(frozen=True)
class Convolution:
    """One convolution that was run, or its backward pass: enough to run it again."""

    inputs: tuple[int, ...]
    """Shape of its input, N×C×H×W."""
    weight: tuple[int, ...]
    """Shape of its weight."""
    output: tuple[int, ...]
    """Shape of its output."""
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    transposed: bool
    output_padding: tuple[int, ...]
    groups: int
    dtype: torch.dtype
    gradients: tuple[bool, bool, bool] | None = None
    """Of the backward pass: whether input, weight and bias get one. None for the forward pass."""

    @property
    def flops(self) -> int:
        """Floating-point operations, a multiplication and an addition counted as two."""
        pixels = self.inputs if self.transposed else self.output
        once = 2 * pixels[0] * pixels[2] * pixels[3] * prod(self.weight)
        return once if self.gradients is None else once * sum(self.gradients[:2])

    def __str__(self) -> str:
        kind = ("transposed " if self.transposed else "") + "convolution"
        way = "" if self.gradients is None else ", backward"
        shapes = ("×".join(map(str, shape)) for shape in (self.weight, self.inputs))
        return f"{kind} {' of '.join(shapes)}, stride {self.stride[0]}{way}"

    def runner(self, layout: torch.memory_format) -> Callable[[], Any]:
        """Return a function that runs it on random tensors made now."""
        x, weight, gradient = (
            torch.randn(shape, dtype=self.dtype).to(memory_format=layout)
            for shape in (self.inputs, self.weight, self.output)
        )
        settings = (self.stride, self.padding, self.dilation, self.transposed, self.output_padding, self.groups)
        if self.gradients is None:
            return lambda: _FORWARD(x, weight, None, *settings)
        bias = [self.output[1]] if self.gradients[2] else None
        return lambda: _BACKWARD(gradient, x, weight, bias, *settings, list(self.gradients or ()))


class _Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call]
    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.found: list[Convolution] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        del types
        result = func(*args, **(kwargs or {}))
        if func is _FORWARD:
            x, weight, _, *settings = args
            self._add(x, weight, result, settings, None)
        elif func is _BACKWARD:
            gradient, x, weight, _, *settings, mask = args
            self._add(x, weight, gradient, settings, tuple(mask))
        return result

    def _add(self, x: Tensor, weight: Tensor, output: Tensor, settings: Sequence[Any], gradients: Any) -> None:
        stride, padding, dilation, transposed, output_padding, groups = settings
        self.found.append(Convolution(
            tuple(x.shape), tuple(weight.shape), tuple(output.shape), tuple(stride), tuple(padding), tuple(dilation),
            transposed, tuple(output_padding), groups, x.dtype, gradients,
        ))  # fmt: skip


def record(function: Callable[[], Any]) -> list[Convolution]:
    """Run a function once and return every convolution in it, forward and backward, in order."""
    recorder = _Recorder()
    with recorder:
        function()
    return recorder.found


def alone(convolutions: Sequence[Convolution], layout: torch.memory_format) -> Callable[[], None]:
    """Return a function that runs the convolutions, and nothing else, on tensors made beforehand."""
    runners = [convolution.runner(layout) for convolution in convolutions]

    def run() -> None:
        for runner in runners:
            runner()

    return run
