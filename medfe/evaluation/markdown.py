"""Tables as Markdown; among them the short answer of an evaluation, to be pasted into a README or a paper's draft."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from medfe.evaluation.contrasts import PRIMARY
from medfe.evaluation.names import heading, number
from medfe.evaluation.protocol import Measurements
from medfe.evaluation.provenance import command, source
from medfe.evaluation.summaries import GROUP_METRICS
from medfe.evaluation.tables import Tables


def markdown(header: Sequence[str], rows: Sequence[Sequence[object]], *, texts: int = 1) -> str:
    """Return a Markdown table; the first columns, `texts` of them, are aligned left, the others right."""
    marks = ["---"] * texts + ["---:"] * (len(header) - texts)
    lines = ["| " + " | ".join(header) + " |", "|" + "|".join(marks) + "|"]
    return "\n".join([*lines, *("| " + " | ".join(map(str, row)) + " |" for row in rows)])


def summary(measured: Measurements, tables: Tables) -> str:
    """Return the command, one table of set distances and per-image metrics with intervals, and the primary verdict."""
    means = tables.means[tables.means["metric"].isin(GROUP_METRICS)]
    values = pd.concat([tables.sets, means]) if len(tables.sets) else means
    small = (
        dict.fromkeys(tables.sets.loc[tables.sets["small"], "metric"], " (small sample)") if len(tables.sets) else {}
    )
    metrics = list(dict.fromkeys(values["metric"]))
    cells = {(row["method"], row["metric"]): _cell(row) for row in values.to_dict("records")}
    lines = markdown(
        ["method", *(heading(metric) + small.get(metric, "") for metric in metrics)],
        [[f"`{method.name}`", *(cells[method.name, name] for name in metrics)] for method in measured.methods],
    )
    primary = tables.contrasts[tables.contrasts["role"] == PRIMARY] if len(tables.contrasts) else tables.contrasts
    settings = measured.settings
    note = (
        f"{len(measured.testset.images)} images at {measured.image_size}×{measured.image_size}, masks "
        f"{source(settings.masks)}; in brackets {100 * settings.level:g} % intervals."
    )
    verdicts = [f"{verdict}." for verdict in primary.get("verdict", ())]
    return "\n".join([f"`{command(settings)}`:", "", lines, "", " ".join([note, *verdicts]), ""])


def _cell(row: dict[Any, Any]) -> str:
    metric = str(row["metric"])
    value, low, high = (number(row[name], metric) for name in ("value", "low", "high"))
    return value if low == high == "–" else f"{value} ({low} to {high})"
