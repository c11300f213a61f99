"""Figures of the report, readable in black and white, as SVG."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from medfe.evaluation.contrasts import DESCRIPTIVE
from medfe.evaluation.names import lower_is_better, number, scale, title, unit

STYLE: Any = {
    "font.family": "DejaVu Sans", "font.size": 9, "axes.titlesize": 9, "axes.labelsize": 9, "legend.fontsize": 8.5,
    "xtick.labelsize": 8, "ytick.labelsize": 8, "axes.spines.top": False, "axes.spines.right": False,
    "axes.linewidth": 0.8, "axes.grid": True, "grid.color": "#dddddd", "grid.linewidth": 0.6, "axes.axisbelow": True,
    "legend.frameon": False, "figure.dpi": 110, "savefig.bbox": "tight", "savefig.pad_inches": 0.03,
    "svg.hashsalt": "medfe",
}  # fmt: skip
"""Settings of matplotlib for every figure of the project."""
COLORS = ("#0b3c5d", "#d95f02", "#5f9e6e", "#9e9e9e", "#b07aa1", "#6baed6", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
LINES = ("-", "--", "-.", ":", (0, (5, 1)), (0, (3, 1, 1, 1)), (0, (1, 1)))


def method_style(index: int) -> dict[str, Any]:
    """Return colour, marker and line of a method by its place: told apart without colour, too."""
    place = index % len(COLORS)
    return {"color": COLORS[place], "marker": MARKERS[place], "linestyle": LINES[place]}


def forest(contrasts: pd.DataFrame) -> str:
    """Draw the differences of one pair of methods, one line a metric, each with its own scale and a common zero.

    Args:
        contrasts: Rows of `medfe.evaluation.contrasts.contrasts` with one `first` and `second`.

    Returns:
        SVG. Left of zero the first method is better, whatever the direction of the metric. A marker is filled where the
        metric is tested, the interval leaves out 0 and the corrected p-value, if there is one, is below 1 − level.
    """
    rows: list[dict[Any, Any]] = contrasts.to_dict("records")
    first, second = rows[0]["first"], rows[0]["second"]
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(7.6, 0.36 * len(rows) + 0.75))
        strips = figure.subplots(len(rows), 1, squeeze=False)[:, 0]
        figure.subplots_adjust(left=0.3, right=0.66, top=1 - 0.42 / figure.get_figheight(), bottom=0.04, hspace=0.9)
        for axes, row in zip(strips, rows, strict=True):
            _strip(axes, row)
        strips[0].text(0.48, 1.5, f"← {first} better", transform=strips[0].transAxes, ha="right", va="bottom")
        strips[0].text(0.52, 1.5, f"{second} better →", transform=strips[0].transAxes, ha="left", va="bottom")
        return to_svg(figure)


def _strip(axes: Axes, row: dict[Any, Any]) -> None:
    metric = row["metric"]
    low, value, high = (scale(metric) * row[name] for name in ("low", "difference", "high"))
    reach = 1.15 * max(abs(low), abs(high)) or 1.0
    p = row["p"] if pd.isna(row["p_holm"]) else row["p_holm"]
    shown = row["role"] != DESCRIPTIVE and not (low <= 0 <= high) and p < 1 - row["level"]
    primary = row["role"] == "primary"
    axes.axvline(0, color="#555555", linewidth=0.9)
    axes.plot([low, high], [0, 0], color="black", linewidth=2.4 if primary else 1.3, solid_capstyle="butt")
    axes.plot(
        [value], [0], marker="D" if primary else "o", markersize=6.5 if primary else 5.5, color="black",
        markerfacecolor="black" if shown else "white",
    )  # fmt: skip
    axes.set_xlim((-reach, reach) if row["lower_is_better"] else (reach, -reach))
    axes.set_ylim(-1, 1)
    axes.set_yticks([])
    axes.spines[["left"]].set_visible(False)
    axes.grid(visible=False)
    tick = float(f"{0.8 * reach:.1g}")
    tick = tick if tick < reach else tick / 2
    axes.set_xticks([-tick, 0, tick], [f"{-tick:g}".replace("-", "−"), "0", f"{tick:g}"], fontsize=6.5)
    axes.tick_params(length=2, pad=1.5)
    axes.text(
        -0.04, 0.5, f"{title(metric)}{unit(metric)}{', primary' if primary else ''}", transform=axes.transAxes,
        ha="right", va="center", fontweight="bold" if primary else "normal",
    )  # fmt: skip
    low, value, high = (number(row[name], metric, difference=True) for name in ("low", "difference", "high"))
    axes.text(1.04, 0.5, f"{value}  ({low} to {high})", transform=axes.transAxes, ha="left", va="center", fontsize=8.5)


def by_area(areas: pd.DataFrame, methods: Sequence[str]) -> str:
    """Draw metrics by class of mask area, one panel a metric, one line a method, with intervals; returns SVG."""
    metrics = list(dict.fromkeys(areas["metric"]))
    classes = list(dict.fromkeys(areas["class"]))
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(9.6 if len(metrics) > 2 else 7.0, 2.7))
        panels = figure.subplots(1, len(metrics), squeeze=False)[0]
        for axes, metric in zip(panels, metrics, strict=True):
            for index, method in enumerate(methods):
                own = areas[(areas["metric"] == metric) & (areas["method"] == method)].set_index("class")
                own = own.reindex(classes)
                place = np.arange(len(classes)) + 0.08 * (index - (len(methods) - 1) / 2)
                errors = np.stack([own["value"] - own["low"], own["high"] - own["value"]])
                axes.errorbar(
                    place, own["value"], yerr=errors, label=method, markersize=4, linewidth=1.1, elinewidth=0.9,
                    **method_style(index),
                )  # fmt: skip
            better = "lower" if lower_is_better(metric) else "higher"
            axes.set_title(f"{title(metric)}{unit(metric)}, {better} is better")
            axes.set_xticks(range(len(classes)), classes)
            axes.set_xlabel("hole, % of the area")
            axes.grid(axis="x", visible=False)
        handles, names = panels[0].get_legend_handles_labels()
        figure.tight_layout(rect=(0, 0.08, 1, 1))
        figure.legend(handles, names, loc="lower center", ncols=min(len(names), 6))
        return to_svg(figure)


def to_svg(figure: Figure) -> str:
    """Return a figure as an SVG element, equal for equal data."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    return text[text.index("<svg") :]
