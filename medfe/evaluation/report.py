"""The report: one HTML page that needs no other file."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

import pandas as pd

from medfe.evaluation.contrasts import PRIMARY
from medfe.evaluation.gallery import Row
from medfe.evaluation.html_parts import by_class, by_method, data_uri, section, table
from medfe.evaluation.names import number, scale, title, unit
from medfe.evaluation.plots import by_area, forest
from medfe.evaluation.protocol import Measurements
from medfe.evaluation.provenance import recipe, source
from medfe.evaluation.report_style import CSS
from medfe.evaluation.settings import FRECHET_MINIMUM
from medfe.evaluation.tables import Tables


def report(measured: Measurements, tables: Tables, rows: Sequence[Row]) -> str:
    """Return the page.

    Args:
        measured: Methods, judges, settings.
        tables: What is told.
        rows: Pictures to show.
    """
    sections = [
        _head(measured, tables),
        _contrasts(measured, tables),
        _per_image(measured, tables),
        _sets(measured, tables),
        _gallery(measured, rows),
        _areas(measured, tables),
        _groups(measured, tables),
        recipe(measured),
    ]
    body = "\n".join(part for part in sections if part)
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>Inpainting evaluation: {escape(_names(measured))}</title>\n<style>{CSS}</style>\n</head>\n"
        f"<body>\n<main>\n{body}\n</main>\n</body>\n</html>\n"
    )


def _head(measured: Measurements, tables: Tables) -> str:
    n, k = len(measured.testset.images), measured.settings.masks_per_image
    photographs = len(set(measured.photographs.tolist()))
    images = f"{n} images of {photographs} photographs" if photographs < n else f"{n} photographs"
    parts = [
        "<header>",
        "<h1>Inpainting evaluation</h1>",
        f'<p class="lead">{escape(_names(measured))}; {images} at {measured.image_size}×{measured.image_size}, '
        f"{k} {'mask' if k == 1 else 'masks'} each ({escape(source(measured.settings.masks))}).</p>",
    ]
    primary = tables.contrasts[tables.contrasts["role"] == PRIMARY] if len(tables.contrasts) else tables.contrasts
    for row in primary.to_dict("records"):
        printed = f"{unit(row['metric'])}: ±{scale(row['metric']) * row['margin']:g}"
        margin = "" if pd.isna(row["margin"]) else f" Margin of equivalence, named beforehand{printed}."
        parts.append(
            f'<div class="answer"><p class="label">Primary endpoint: {escape(title(row["metric"]))}, '
            f"{escape(row['first'])} − {escape(row['second'])}</p><p>{escape(_words(row))}.</p>"
            f'<p class="note">{escape(_size(row))} Label-swap permutation test: p = {row["p"]:.3f}.{margin}</p></div>'
        )
    if len(tables.sets) and tables.sets["small"].any():
        parts.append(
            f'<p class="warn"><strong>Small sample.</strong> Fréchet distances come from {n} images, fewer than '
            f"{FRECHET_MINIMUM}: their bias of order 1/N differs between methods, and covariances of {n} images have "
            f"rank {n - 1} at most. They must not be compared with numbers from elsewhere.</p>"
        )
    if measured.judges.missing:
        items = "".join(f"<li>{escape(shorten(item))}.</li>" for item in measured.judges.missing)
        parts.append(
            f'<div class="warn"><strong>Not computed, because weights are missing:</strong><ul>{items}</ul></div>'
        )
    return "\n".join([*parts, "</header>"])


def shorten(message: str) -> str:
    """Return a message with the home folder as ~."""
    return message.replace(str(Path.home()), "~")


def _contrasts(measured: Measurements, tables: Tables) -> str:
    if not len(tables.contrasts):
        return ""
    parts = ["<h2>Differences</h2>"]
    for pair, rows in tables.contrasts.groupby(["first", "second"], sort=False):
        first, second = map(str, pair)
        parts += [
            f'<figure><div class="wide">{forest(rows)}</div><figcaption>'
            f"{escape(first)} − {escape(second)}, with "
            f"{100 * measured.settings.level:g} % intervals {rows['scope'].iloc[0]}. Every metric has a scale of its "
            "own; left of zero the first method is better. Filled: tested, the interval leaves out 0, and the "
            "test agrees, for secondary endpoints after Holm's correction.</figcaption></figure>",
            _verdicts(rows),
        ]
    return section(parts)


def _verdicts(rows: pd.DataFrame) -> str:
    cells = []
    for row in rows.to_dict("records"):
        p = "–" if pd.isna(row["p"]) else f"{row['p']:.3f}"
        holm = "–" if pd.isna(row["p_holm"]) else f"{row['p_holm']:.3f}"
        cells.append([title(row["metric"]), row["role"], p, holm, _words(row)])
    return table(["metric", "role", "p", "p, Holm", "verdict"], cells, words=(0, 1, 4))


def _words(row: dict[Any, Any]) -> str:
    """Return a verdict without its numbers, which stand beside it in the metric's usual unit."""
    return str(row["verdict"]).partition(" (difference")[0]


def _size(row: dict[Any, Any]) -> str:
    """Return difference, interval and what they are over."""
    metric = row["metric"]
    value, low, high = (number(row[name], metric, difference=True) for name in ("difference", "low", "high"))
    return (
        f"Difference{unit(metric)} {value}, {100 * row['level']:g} % interval {low} to {high}, "
        f"{row['photographs']} photographs, {row['scope']}."
    )


def _per_image(measured: Measurements, tables: Tables) -> str:
    left_out = tables.means[tables.means["left_out"] > 0]
    notes = "".join(
        f"<li>{escape(row['method'])}, {escape(title(row['metric']))}: {row['left_out']} not finite, left out</li>"
        for row in left_out.to_dict("records")
    )
    return section([
        "<h2>Metrics of single images</h2>",
        by_method(tables.means, [method.name for method in measured.methods]),
        f'<p class="note">Mean and {100 * measured.settings.level:g} % bootstrap interval over photographs. Images are '
        "compared as 8-bit images, known pixels pasted back. “Hole”: over the pixels of the hole alone. L1 is in units "
        "of [0, 1].</p>",
        f'<ul class="note">{notes}</ul>' if notes else "",
    ])  # fmt: skip


def _sets(measured: Measurements, tables: Tables) -> str:
    if not len(tables.sets):
        return ""
    small = {row["metric"]: " (small sample)" for row in tables.sets.to_dict("records") if row["small"]}
    return section([
        "<h2>Distances between sets of images</h2>",
        by_method(tables.sets, [method.name for method in measured.methods], small),
        '<p class="note">To the originals of the same photographs. KID is unbiased and leaves out pairs of one '
        "photograph; its interval is that of a U-statistic. A Fréchet distance is biased upwards by about c/N, and c "
        f"differs between methods; its interval is by {measured.settings.subsamples} subsamples of half the "
        "photographs, without replacement. Only distances through Inception are called KID and FID without a network's "
        "name.</p>",
    ])  # fmt: skip


def _areas(measured: Measurements, tables: Tables) -> str:
    if not len(tables.areas) or tables.areas["class"].nunique() < 2:
        return ""  # one class says what the table of all images says
    names = [method.name for method in measured.methods]
    return section([
        "<h2>By mask area</h2>",
        f'<figure class="wide">{by_area(tables.areas, names)}</figure>',
        by_class(tables.areas, names, "hole, %"),
    ])  # fmt: skip


def _groups(measured: Measurements, tables: Tables) -> str:
    if not len(tables.groups):
        return ""
    names = [method.name for method in measured.methods]
    groups = tables.groups.groupby("by", sort=False)
    parts = ["<h2>By age and sex</h2>"]
    parts += [by_class(group, names, "age, years" if by == "age" else str(by)) for by, group in groups]
    note = "As the names of UTKFace's files say them; ages are estimates, and sex is recorded there as male or female."
    return section([*parts, f'<p class="note">{note}</p>'])


def _gallery(measured: Measurements, rows: Sequence[Row]) -> str:
    if not rows:
        return ""
    heads = ["original", "hole", *(method.name for method in measured.methods)]
    broken = [escape(text).replace("/", "/<wbr>").replace("_", "_<wbr>") for text in heads]
    head = "".join(f"<th>{text}</th>" for text in broken)
    lines = []
    for row in rows:
        pictures = "".join(
            f'<td><img src="{data_uri(picture)}" width="{max(picture.shape[1], 112)}" alt="{escape(name)}"></td>'
            for name, picture in zip(heads, row.pictures, strict=True)
        )
        lines.append(
            f'<tr><td class="caption" colspan="{len(heads)}"><span>{escape(row.caption)}</span></td></tr>'
            f"<tr>{pictures}</tr>"
        )
    origin = (
        "Photographs of the data."
        if measured.settings.show_data_images
        else "Portraits in the public domain that come with scikit-image and matplotlib, under masks of the test; "
        "photographs of the data contribute numbers only."
    )
    return section([
        "<h2>Pictures</h2>",
        f'<div class="wide"><table class="gallery"><thead><tr>{head}</tr></thead><tbody>{"".join(lines)}</tbody>'
        "</table></div>",
        f'<p class="note">{origin} Random rows are drawn with the seed; the others are the lowest, median and highest '
        "difference of the primary contrast's methods (negative: the first is closer to the original).</p>",
    ])  # fmt: skip


def _names(measured: Measurements) -> str:
    return ", ".join(method.name for method in measured.methods)
