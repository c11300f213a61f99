"""One computation as it is, compiled, and with gradient checkpointing, all beside the same floor."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import torch

from medfe.benchmark.convolutions import LAYOUTS, Convolution, alone
from medfe.benchmark.measure import alternate, peak_memory
from medfe.benchmark.results import Row, Timing

_COMPILED, _CHECKPOINTING = ", torch.compile", ", gradient checkpointing"


def measure_variants(
    make: Callable[..., Callable[[], Any]],
    arguments: tuple[Any, ...],
    convolutions: Sequence[Convolution],
    repeats: int,
    *,
    what: str,
    floor_name: str,
    images: int = 1,
    compiled: bool = False,
    checkpointing: bool = False,
) -> tuple[tuple[Row, ...], tuple[str, ...]]:
    """Measure a computation, and its variants if asked for, in turn with the floor.

    Args:
        make: function of a module of `medfe.benchmark` that returns the computation; takes `compiled=True` and
            `checkpointing=True`.
        arguments: of `make`; their `repr` must be valid Python.
        convolutions: the floor.
        repeats: timed runs of each.
        what: name of the row; a variant's gets an ending.
        floor_name: name of the floor, with `{layout}` in it.
        images: times are divided by it.
        compiled: measure it compiled by torch.compile too; its memory is not measured, it would be the compiler's.
        checkpointing: measure it with gradient checkpointing too.

    Returns:
        One row a variant, and notes.
    """
    chosen: dict[str, dict[str, bool]] = {"": {}}
    if compiled:
        chosen[_COMPILED] = {"compiled": True}
    if checkpointing:
        chosen[_CHECKPOINTING] = {"checkpointing": True}
    runs = {name: make(*arguments, **options) for name, options in chosen.items()}
    notes: tuple[str, ...] = ()
    if compiled:
        start = time.perf_counter()
        runs[_COMPILED]()
        notes = (f"{what}: torch.compile took {time.perf_counter() - start:.0f} s, once",)
    floors = {name: alone(convolutions, layout) for name, layout in LAYOUTS.items()}
    with torch.no_grad():
        times = alternate({**runs, **floors}, repeats)
    layout = min(floors, key=lambda name: Timing.of(times[name]).median)
    if compiled:
        gain = Timing.of(times[""]).median / Timing.of(times[_COMPILED]).median
        notes = (f"{notes[0]}; afterwards it is {gain:.2f} times as fast.",)
    module = make.__module__.rpartition(".")[2]
    rows = tuple(
        Row(
            what + name,
            time=Timing.of(times[name], per=images),
            floor=Timing.of(times[layout], per=images),
            floor_name=floor_name.format(layout=layout),
            peak_bytes=None
            if name == _COMPILED
            else peak_memory(module, f"{make.__name__}(*{arguments!r}, **{options!r})"),
        )
        for name, options in chosen.items()
    )
    return rows, notes
