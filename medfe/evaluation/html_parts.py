"""Pieces of HTML that the report is made of."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

import pandas as pd
from PIL import Image

from medfe.evaluation.gallery import Picture
from medfe.evaluation.names import heading, number


def section(parts: Sequence[str]) -> str:
    """Return parts as one section; empty ones are left out."""
    return "<section>\n" + "\n".join(part for part in parts if part) + "\n</section>"


def by_class(means: pd.DataFrame, methods: Sequence[str], head: str) -> str:
    """Return a table of one row a metric and class, one column a method."""
    cells = _cells(means, ["metric", "class", "method"])
    counts = means.groupby(["metric", "class"])["photographs"].max().to_dict()
    rows = [
        [heading(metric), value, str(counts[metric, value]), *(cells[metric, value, method] for method in methods)]
        for metric in dict.fromkeys(means["metric"])
        for value in dict.fromkeys(means["class"])
    ]
    return table(["metric", head, "photographs", *methods], rows, words=(0, 1), merge=True)


def by_method(values: pd.DataFrame, methods: Sequence[str], notes: Mapping[str, str] | None = None) -> str:
    """Return a table of one row a method, one column a metric, with `notes` behind the metrics' names."""
    cells = _cells(values, ["metric", "method"])
    metrics = list(dict.fromkeys(values["metric"]))
    rows = [[method, *(cells[metric, method] for metric in metrics)] for method in methods]
    heads = [heading(metric) + (notes or {}).get(metric, "") for metric in metrics]
    return table(["method", *heads], rows, words=(0,))


def _cells(values: pd.DataFrame, keys: list[str]) -> dict[tuple[Any, ...], str]:
    """Return value and interval, on two lines, by the columns `keys`."""
    cells = {}
    for row in values.to_dict("records"):
        metric = row["metric"]
        interval = f"\n{number(row['low'], metric)} … {number(row['high'], metric)}" if pd.notna(row["low"]) else ""
        cells[tuple(row[key] for key in keys)] = number(row["value"], metric) + interval
    return cells


def table(heads: Sequence[str], rows: Iterable[Sequence[str]], words: Sequence[int] = (), merge: bool = False) -> str:
    """Return a table.

    Args:
        heads: Heads of the columns.
        rows: Cells; a second line is small.
        words: Columns of text; the others hold numbers.
        merge: Leave out a first cell that repeats the one above.
    """
    kinds = ["word" if index in words else "number" for index in range(len(heads))]
    head = "".join(f'<th class="{kind}">{escape(text)}</th>' for kind, text in zip(kinds, heads, strict=True))
    lines: list[str] = []
    last = None
    for row in rows:
        repeated = merge and row[0] == last
        last = row[0]
        cells = ["", *row[1:]] if repeated else row
        html = "".join(_cell(kind, text) for kind, text in zip(kinds, cells, strict=True))
        lines.append(f'<tr class="start">{html}</tr>' if merge and not repeated else f"<tr>{html}</tr>")
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{"".join(lines)}</tbody></table></div>'


def _cell(kind: str, text: str) -> str:
    main, _, small = text.partition("\n")
    below = f"<small>{escape(small)}</small>" if small else ""
    return f'<td class="{kind}">{escape(main)}{below}</td>'


def data_uri(picture: Picture) -> str:
    """Return a picture for the `src` of an image: WebP, hardly compressed, so that the page stays small."""
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, format="WEBP", quality=92, method=4)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode()
