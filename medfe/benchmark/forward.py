"""Speed and memory of the generator's forward pass, and of forward and backward together."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor

from medfe.benchmark.convolutions import Convolution, record
from medfe.benchmark.results import Result
from medfe.benchmark.variants import measure_variants
from medfe.config import GeneratorConfig
from medfe.models.generator import Generator, build_generator

Precision = Literal["float32", "bfloat16"]


def sample_batch(config: GeneratorConfig, batch_size: int) -> tuple[Tensor, Tensor]:
    """Return random images and centre masks."""
    size = config.image_size
    mask = torch.zeros(batch_size, 1, size, size)
    mask[:, :, size // 4 : 3 * size // 4, size // 4 : 3 * size // 4] = 1
    return torch.rand(batch_size, 3, size, size) * 2 - 1, mask


def forward_pass(preset: str, precision: Precision, batch_size: int, *, compiled: bool = False) -> Callable[[], Any]:
    """Return a function that runs a generator with random weights in evaluation mode."""
    config = GeneratorConfig.preset(preset)
    # Weights held in bfloat16: autocast would cast all of them anew in every pass.
    dtype = getattr(torch, precision)
    generator = build_generator(config).eval().requires_grad_(False).to(dtype)
    if compiled:
        generator.compile()
    image, mask = sample_batch(config, batch_size)
    batch = image.to(dtype), mask.to(dtype)

    def run() -> None:
        with torch.no_grad():
            generator(*batch)

    return run


def forward_backward(
    preset: str, precision: Precision, batch_size: int, *, checkpointing: bool = False, compiled: bool = False
) -> Callable[[], Any]:
    """Return a function that runs a generator and gets the gradients of the mean of its image."""
    config = GeneratorConfig.preset(preset).replace(checkpointing=checkpointing)
    generator: Generator = build_generator(config)
    if compiled:
        generator.compile()
    batch = sample_batch(config, batch_size)

    def run() -> None:
        generator.zero_grad()
        with torch.enable_grad():
            with autocast(precision):
                image = generator(*batch).image
            image.float().mean().backward()

    return run


def autocast(precision: Precision) -> torch.autocast:
    """Return the context of a precision on the CPU."""
    return torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16")


def benchmark_forward(
    preset: str,
    precision: Precision,
    batch_size: int,
    repeats: int,
    *,
    backward: bool = False,
    compiled: bool = False,
    checkpointing: bool = False,
) -> tuple[Result, list[Convolution]]:
    """Measure a generator on the CPU beside its convolutions alone.

    The floor is the faster of NCHW and channels-last convolutions at the same shapes and precision; network and floors
    alternate in one process. Peak memory is that of a process of its own.

    Args:
        preset: size of the generator.
        precision: bfloat16: forward alone with weights held in it, forward and backward by autocast.
        batch_size: images at once.
        repeats: timed runs of each.
        backward: measure forward and backward together; the floor is that of the forward pass all the same.
        compiled: measure the generator compiled by torch.compile too.
        checkpointing: with `backward`: measure the generator with gradient checkpointing too.

    Returns:
        The result, and the convolutions of the floor.

    Raises:
        MedfeError: unknown preset.
    """
    convolutions = record(forward_pass(preset, precision, batch_size))
    flops = sum(item.flops for item in convolutions) / 1e9
    kind = "forward and backward" if backward else "forward"
    rows, notes = measure_variants(
        forward_backward if backward else forward_pass,
        (preset, precision, batch_size),
        convolutions,
        repeats,
        what=f"{kind}, `{preset}`, {precision}, batch {batch_size}",
        floor_name=f"convolutions of the forward pass alone ({{layout}}, {flops:.1f} GFLOP)",
        compiled=compiled,
        checkpointing=checkpointing and backward,
    )
    return Result(kind, rows, notes), convolutions
