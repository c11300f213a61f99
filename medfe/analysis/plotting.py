"""Figures of the notebooks in one style: readable in black and white, axes with units, pictures at one size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from medfe.data.images import to_uint8
from medfe.evaluation.plots import STYLE, method_style

__all__ = ["bars", "heat", "lines", "method_style", "pictures", "use_style"]

WIDTH = 7.6  # inches, of a page


def use_style() -> None:
    """Use the project's style for all figures that follow."""
    mpl.rcParams.update(STYLE)


def pictures(
    rows: Mapping[str, Tensor], *, columns: Sequence[str] = (), side: float = 1.2, smooth: bool = False
) -> Figure:
    """Show images as a table.

    Args:
        rows: label of a row → images N×3×H×W in [-1, 1], the same N in every row; smaller ones are shown enlarged.
        columns: labels of the columns.
        side: of a picture, inches.
        smooth: interpolate enlarged pixels instead of showing them as squares.
    """
    count = len(next(iter(rows.values())))
    margin = 0.085 * max(map(len, rows))  # for the labels, inches
    figure, axes = plt.subplots(
        len(rows), count, squeeze=False, figsize=(side * count + margin, side * len(rows)), layout="constrained"
    )
    figure.get_layout_engine().set(w_pad=0.01, h_pad=0.01, wspace=0.01, hspace=0.01)  # type: ignore[union-attr, call-arg]
    for line, (label, images) in zip(axes, rows.items(), strict=True):
        for place, image in zip(line, to_uint8(images.clamp(-1, 1)), strict=True):
            place.imshow(image, interpolation="bilinear" if smooth else "nearest")
            _frame_only(place)
        line[0].set_ylabel(label, rotation=0, ha="right", va="center")
    for place, label in zip(axes[0], columns, strict=False):
        place.set_title(label)
    return figure


def heat(maps: Mapping[str, Tensor], unit: str, *, limit: float | None = None, side: float = 1.6) -> Figure:
    """Show maps, each H×W, on one scale that begins at 0, dark meaning more; the scale stands beside them.

    Args:
        maps: by title.
        unit: of the values, for the scale.
        limit: end of the scale; default: the 99.5th percentile of all values.
        side: of a map, inches.
    """
    arrays = {title: np.asarray(values) for title, values in maps.items()}
    limit = limit or float(np.percentile(np.stack([array.ravel() for array in arrays.values()]), 99.5))
    figure, axes = plt.subplots(
        1, len(arrays), squeeze=False, figsize=(side * len(arrays) + 0.9, side + 0.3), layout="constrained"
    )
    for place, (title, array) in zip(axes[0], arrays.items(), strict=True):
        shown = place.imshow(array, cmap="Greys", vmin=0, vmax=limit, interpolation="nearest")
        place.set_title(title)
        _frame_only(place)
    figure.colorbar(shown, ax=list(axes[0]), label=unit, shrink=0.9, extend="max")
    return figure


def _frame_only(axes: Axes) -> None:
    axes.set(xticks=[], yticks=[])
    axes.grid(visible=False)
    axes.spines[:].set(visible=True, color="#999999", linewidth=0.5)


def lines(
    table: pd.DataFrame, x: str, y: str, by: str, *, axes: Axes | None = None, markers: bool = True, **labels: Any
) -> Axes:
    """Draw a line for each value of a column, told apart by colour, marker and dashes.

    Args:
        table: long form.
        x: column of the horizontal axis.
        y: column of the vertical axis; several rows of one x are averaged.
        by: column whose values are lines, in order of appearance.
        axes: where to draw; default: a new figure.
        markers: draw the points, too.
        labels: `xlabel`, `ylabel` (with units), `xscale` and whatever else `Axes.set` takes.
    """
    axes = axes or plt.subplots(figsize=(WIDTH * 0.62, 2.9), layout="constrained")[1]
    for place, name in enumerate(dict.fromkeys(table[by])):
        mean = table[table[by] == name].groupby(x)[y].mean()
        style = method_style(place) if markers else {**method_style(place), "marker": None}
        axes.plot(mean.index, mean, label=str(name), markersize=4, linewidth=1.2, **style)
    axes.set(**labels)
    axes.legend()
    return axes


_HATCHES = ("", "////", "....", "xxxx", "----", "\\\\\\\\", "oo")


def bars(table: pd.DataFrame, *, axes: Axes | None = None, legend: bool = True, **labels: Any) -> Axes:
    """Draw grouped horizontal bars, told apart by grey and hatching: a group a row, a bar a column of the table.

    Args:
        table: numbers; NaN leaves its place empty.
        axes: where to draw, in a figure with constrained layout; default: a new figure.
        legend: name the columns below the figure.
        labels: `xlabel` (with units) and whatever else `Axes.set` takes.
    """
    rows, columns = table.shape
    if axes is None:
        axes = plt.subplots(figsize=(WIDTH * 0.75, 1.0 + 0.15 * rows * (columns + 1)), layout="constrained")[1]
    height = 0.8 / columns
    for number, name in enumerate(table.columns):
        places = np.arange(rows) + height * (number - (columns - 1) / 2)
        shade = str(0.25 + 0.6 * number / max(columns - 1, 1))
        axes.barh(
            places, table[name], height, label=str(name), color=shade, edgecolor="black", linewidth=0.5,
            hatch=_HATCHES[number % len(_HATCHES)],
        )  # fmt: skip
    axes.set_yticks(range(rows), [str(name) for name in table.index])
    axes.set_ylim(rows - 0.5, -0.5)
    axes.grid(axis="y", visible=False)
    axes.set(**labels)
    if legend and columns > 1:
        figure = axes.get_figure(root=True)
        assert figure is not None
        figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return axes
