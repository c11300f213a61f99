"""Figures of a study's report, as SVG, readable in black and white."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib as mpl
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from medfe.evaluation.plots import STYLE, to_svg
from medfe.evaluation.statistics import Interval
from medfe.preference.analysis import PairResult

_LINE = 0.27  # inches a line


def share_figure(pairs: Sequence[PairResult]) -> str:
    """Draw the shares of every pair with their intervals, the primary one bold, the naive one dashed; returns SVG."""
    lines: list[tuple[str, Interval | None, str]] = []
    for pair in pairs:
        lines += [
            (f"{pair.first} against {pair.second}", pair.share, "primary"), ("ties as ½", pair.ties_as_half, "beside"),
            ("nobody excluded", pair.everyone, "beside"), ("naive (Wilson)", pair.wilson, "naive"),
        ]  # fmt: skip
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(7.6, _LINE * len(lines) + 0.75))
        axes = figure.subplots()
        for place, (_, interval, role) in enumerate(lines):
            if interval is not None:
                _bar(axes, place, interval, role)
        axes.set_yticks(range(len(lines)), [label for label, _, _ in lines])
        for text, (_, _, role) in zip(axes.get_yticklabels(), lines, strict=True):
            text.set_fontweight("bold" if role == "primary" else "normal")
        axes.set_ylim(len(lines) - 0.4, -0.6)
        _percent(axes, "share of wins of the first method, %")
        return to_svg(figure)


def area_figure(areas: pd.DataFrame, first: str) -> str:
    """Draw the primary share by class of mask area; returns SVG."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(7.6, _LINE * len(areas) + 0.75))
        axes = figure.subplots()
        for place, row in enumerate(areas.to_dict("records")):
            shown = row["p_holm"] < 0.05
            axes.plot([row["low"], row["high"]], [place, place], color="black", linewidth=1.3, solid_capstyle="butt")
            axes.plot(
                row["share"], place, "o", color="black", markerfacecolor="black" if shown else "white", markersize=6
            )
        axes.set_yticks(range(len(areas)), [f"{name} % hole" for name in areas["class"]])
        axes.set_ylim(len(areas) - 0.4, -0.6)
        _percent(axes, f"share of wins of {first}, %; filled: Holm's p < 0.05")
        return to_svg(figure)


def _bar(axes: Axes, place: int, interval: Interval, role: str) -> None:
    shown = not interval.holds(0.5)
    color = "#777777" if role == "naive" else "black"
    axes.plot(
        [interval.low, interval.high], [place, place], color=color, linewidth=2.6 if role == "primary" else 1.3,
        linestyle="--" if role == "naive" else "-", solid_capstyle="butt",
    )  # fmt: skip
    marker, size = ("D", 7.0) if role == "primary" else ("o", 5.5)
    axes.plot(
        interval.estimate, place, marker, color=color, markersize=size, markerfacecolor=color if shown else "white"
    )


def _percent(axes: Axes, label: str) -> None:
    axes.axvline(0.5, color="#555555", linewidth=0.9)
    axes.set_xlim(0, 1)
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "25", "50", "75", "100"])
    axes.set_xlabel(label)
    axes.grid(axis="y", visible=False)
    axes.spines["left"].set_visible(False)
    axes.tick_params(axis="y", length=0)
