"""The contrasts of an experiment as a figure: differences between arms with their intervals, made of HTML.

HTML, not a picture: it is right in light and dark, and its words stay readable on a phone.
"""

from __future__ import annotations

import math
from html import escape
from pathlib import Path

import pandas as pd

from medfe.evaluation.names import heading, number, scale

_COLUMNS = {"first", "second", "metric", "masks", "role", "n", "difference", "low", "high", "level", "verdict"}
_ROLES = ("primary", "secondary")  # as of medfe.experiments.contrasts; the others are not tested


def forest_html(table: Path | None) -> str:
    """Return the figure of a table of contrasts, or nothing where no contrast has an interval yet.

    Each metric has an axis of its own, in the metric's units; bars that do not reach the line in the middle exclude
    that there is no difference.
    """
    if table is None:
        return ""
    try:
        frame = pd.read_csv(table)
    except (OSError, ValueError):  # what is wrong with it is said where the tables stand
        return ""
    if not set(frame) >= _COLUMNS:
        return ""
    frame = frame[frame["role"].isin(_ROLES) & frame[["low", "high"]].notna().all(axis=1)]
    if frame.empty:
        return ""
    groups = [_group(str(metric), part) for metric, part in frame.groupby("metric", sort=False)]
    words = (
        f"Difference between the arms named, paired by seed, and its {100 * frame['level'].iloc[0]:g} % interval. "
        "Filled: the primary contrast. An arrow behind a metric points to the better side."
    )
    return f'<figure class="forest"><h2>Contrasts</h2><figcaption>{words}</figcaption>{"".join(groups)}</figure>'


def _group(metric: str, frame: pd.DataFrame) -> str:
    """Return the contrasts of one metric around a common zero."""
    end = _round_up(scale(metric) * float(frame[["low", "high", "difference"]].abs().to_numpy().max()))
    rows = "".join(_row(metric, row, end) for _, row in frame.iterrows())
    left, right = (number(sign * end / scale(metric), metric, difference=True) for sign in (-1, 1))
    axis = f'<div class="axis"><span>{left}</span><span>0</span><span>{right}</span></div>'
    return f"<section><h3>{escape(heading(metric))}</h3>{rows}{axis}</section>"


def _row(metric: str, row: pd.Series, end: float) -> str:
    low, middle, high = (50 + 50 * scale(metric) * row[name] / end for name in ("low", "difference", "high"))
    values = {name: number(row[name], metric, difference=True) for name in ("difference", "low", "high")}
    seeds = f"{row['n']} seed{'' if row['n'] == 1 else 's'}"
    said = f"{values['difference']} ({values['low']} to {values['high']})"
    return (
        f'<div class="contrast {escape(str(row["role"]))}"><p><span><b>{escape(str(row["first"]))}</b> − '
        f"{escape(str(row['second']))}, {escape(str(row['masks']))} masks, {seeds}</span><span>{said}</span></p>"
        f'<div class="track"><i style="left:{low:.2f}%;width:{high - low:.2f}%"></i>'
        f'<em style="left:{middle:.2f}%"></em></div></div>'
    )


def _round_up(value: float) -> float:
    """Return the next larger of 1, 2, 3, 4, 6 and 8 times a power of ten; 1 for 0."""
    if value <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in (1, 2, 3, 4, 6, 8, 10) if step * power >= value * (1 - 1e-9))
