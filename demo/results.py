"""The tab Results: reports, figures and tables that the experiments wrote, as they lie in the folder."""

from __future__ import annotations

import html
from pathlib import Path
from typing import Any

import gradio as gr
import pandas as pd

from demo.events import QUICK, Updates
from demo.forest import forest_html
from demo.reports import Report, data_uri, find_reports, text_of, words
from medfe.evaluation.html_parts import table

MAX_ROWS = 100
"""Rows of a table that are shown; the file to save has all."""
NOTHING = (
    "No results are here yet. `medfe reproduce main --data PHOTOS --out RUNS` runs the main experiment and writes its "
    "tables and its report into `notebooks/results`; what is there is shown on this page."
)


def figures_of(report: Report) -> str:
    """Return a report's contrasts as a figure, and its figures; those that stand in its text already are left out."""
    text = "" if report.text is None else report.text.read_text(encoding="utf-8", errors="replace")
    figures = [path for path in report.figures if f"({path.name})" not in text]
    return "\n".join([forest_html(report.table("_contrasts")), *map(figure_html, figures)]).strip()


def figure_html(path: Path) -> str:
    """Return a figure with its name below it."""
    name = html.escape(words(path.stem))
    return f'<figure><img src="{data_uri(path)}" alt="{name}"><figcaption>{name}</figcaption></figure>'


def tables_of(report: Report) -> str:
    """Return a report's tables as HTML, each folded away."""
    if not report.tables:
        return ""
    return "<h2>All numbers</h2>\n" + "\n".join(map(table_html, report.tables))


def table_html(path: Path) -> str:
    """Return a CSV file as a table that can be unfolded, with a link that saves the file.

    Columns with the same value in every row are named once, above the table.
    """
    title = html.escape(path.name)
    try:
        frame = pd.read_csv(path)
    except (OSError, ValueError) as error:  # pandas' own errors are ValueErrors
        reason = str(error).splitlines()[0].replace(str(path), path.name)
        return f'<p class="status error">{title} cannot be read: {html.escape(reason)}.</p>'
    same = [name for name in frame if len(frame) > 1 and frame[name].nunique(dropna=False) == 1]
    shown = frame.drop(columns=same).head(MAX_ROWS)
    texts = [i for i, name in enumerate(shown) if not pd.api.types.is_numeric_dtype(shown[name])]
    rows = [[_cell(value) for value in row] for row in shown.itertuples(index=False)]
    notes = [f"{name} {_cell(frame[name].iloc[0])}" for name in same]
    if len(shown) < len(frame):
        notes.append(f"first {len(shown)} of {len(frame)} rows")
    note = f'<p class="note">{html.escape(" · ".join(notes))}</p>' if notes else ""
    save = f'<a download="{title}" href="{data_uri(path, "text/csv")}">Save the file</a>'
    count = f"{len(frame)} row{'' if len(frame) == 1 else 's'}"
    return (
        f"<details><summary>{title} <span>{count}</span></summary>"
        f"{note}{table([str(name) for name in shown], rows, texts)}{save}</details>"
    )


def _cell(value: Any) -> str:
    if pd.isna(value):
        return "–"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


class ResultsTab:
    """One report at a time, most important first; to be made inside a `gr.Tab`.

    Args:
        folder: where the experiments write. It is read whenever the tab is opened, so results appear as they come.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.choice = gr.Dropdown([], label="Report", interactive=True, visible=False, elem_id="report")
        self.found = gr.Markdown(NOTHING, elem_id="report-text", elem_classes="prose-box")
        self.figures = gr.HTML("", elem_id="report-figures", padding=False)
        self.rest = gr.Markdown("", elem_id="report-rest", elem_classes="prose-box")
        self.tables = gr.HTML("", elem_id="report-tables", padding=False)

    def connect(self, tab: gr.Tab) -> None:
        """Read the folder when a visitor opens the tab."""
        parts = [self.found, self.figures, self.rest, self.tables]
        tab.select(self.open, self.choice, [self.choice, *parts], **QUICK)
        self.choice.input(self.show, self.choice, parts, **QUICK)

    def open(self, chosen: str | None) -> Updates:
        """Offer the reports there are and show the one chosen before, or the first."""
        reports = find_reports(self.folder)
        if not reports:
            return {self.found: NOTHING}
        name = chosen if chosen in reports else next(iter(reports))
        choices = [(report.title, name) for name, report in reports.items()]
        return {self.choice: gr.Dropdown(choices, value=name, visible=True), **self.show(name)}

    def show(self, name: str) -> Updates:
        """Show a report."""
        report = find_reports(self.folder).get(name)
        if report is None:
            gone = "This report is no longer there; please open the tab again."
            return {self.found: gone, self.figures: "", self.rest: "", self.tables: ""}
        found, rest = text_of(report)
        return {
            self.found: found, self.figures: figures_of(report), self.rest: rest, self.tables: tables_of(report)
        }  # fmt: skip
