"""The tab Results: reports, tables and figures that the experiments wrote, as they lie in the folder."""

from __future__ import annotations

import base64
import html
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gradio as gr
import pandas as pd

from demo.events import QUICK, Updates
from medfe.evaluation.html_parts import table

FOLDER = Path(__file__).resolve().parents[1] / "notebooks" / "results"
"""Where the experiments write, in a checkout of the repository."""
MAX_ROWS = 100
"""Rows of a table that are shown; the file to save has all."""

_IMAGES = {".png": "image/png", ".svg": "image/svg+xml", ".jpg": "image/jpeg", ".webp": "image/webp"}
_OTHER = "Other tables"
_MARKDOWN_IMAGE = re.compile(r"!\[([^\]]*)\]\(([^)\s]+)\)")
NOTHING = (
    "No results are here yet. `medfe reproduce main --data PHOTOS --out RUNS` runs the main experiment and writes its "
    "tables and its report into `notebooks/results`; what is there is shown on this page."
)


@dataclass
class Report:
    """The files of one experiment."""

    title: str
    text: Path | None = None
    tables: list[Path] = field(default_factory=list)
    figures: list[Path] = field(default_factory=list)


def find_reports(folder: Path) -> dict[str, Report]:
    """Return name → report of a folder, in the order of the names.

    A Markdown file makes a report; tables and figures whose names begin with its name and `_` belong to it, the longest
    such name counting. Those that belong to none make a last report of their own.
    """
    files = sorted(path for path in folder.iterdir() if path.is_file()) if folder.is_dir() else []
    texts = {path.stem: path for path in files if path.suffix == ".md" and path.stem.lower() != "readme"}
    reports = {name: Report(_title(path), path) for name, path in texts.items()}
    other = Report(_OTHER)
    for path in files:
        owners = [name for name in reports if path.stem == name or path.stem.startswith(f"{name}_")]
        owner = reports[max(owners, key=len)] if owners else other
        if path.suffix == ".csv":
            owner.tables.append(path)
        elif path.suffix in _IMAGES:
            owner.figures.append(path)
    if other.tables or other.figures:
        reports[_OTHER] = other
    return reports


def _title(path: Path) -> str:
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        if line.startswith("# "):
            return line[2:].strip()
    return _words(path.stem)


def _words(name: str) -> str:
    return name.replace("_", " ").capitalize()


def markdown_of(report: Report) -> str:
    """Return a report's text; pictures of its folder are put into it, links to others are left out."""
    if report.text is None:
        return f"# {report.title}"
    folder = report.text.parent

    def embed(match: re.Match[str]) -> str:
        path = folder / match[2]
        inside = path.resolve().is_relative_to(folder.resolve())
        return f"![{match[1]}]({_data_uri(path)})" if inside and path.is_file() and path.suffix in _IMAGES else ""

    return _MARKDOWN_IMAGE.sub(embed, report.text.read_text(encoding="utf-8", errors="replace"))


def _data_uri(path: Path, kind: str | None = None) -> str:
    return f"data:{kind or _IMAGES[path.suffix]};base64,{base64.b64encode(path.read_bytes()).decode()}"


def tables_of(report: Report) -> str:
    """Return a report's figures and tables as HTML; figures that stand in its text already are left out."""
    text = "" if report.text is None else report.text.read_text(encoding="utf-8", errors="replace")
    figures = [path for path in report.figures if f"({path.name})" not in text]
    return "\n".join([*map(figure_html, figures), *map(table_html, report.tables)])


def figure_html(path: Path) -> str:
    """Return a figure with its name below it."""
    name = html.escape(_words(path.stem))
    return f'<figure><img src="{_data_uri(path)}" alt="{name}"><figcaption>{name}</figcaption></figure>'


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
    words = [i for i, name in enumerate(shown) if not pd.api.types.is_numeric_dtype(shown[name])]
    rows = [[_cell(value) for value in row] for row in shown.itertuples(index=False)]
    notes = [f"{name} {_cell(frame[name].iloc[0])}" for name in same]
    if len(shown) < len(frame):
        notes.append(f"first {len(shown)} of {len(frame)} rows")
    note = f'<p class="note">{html.escape(" · ".join(notes))}</p>' if notes else ""
    save = f'<a download="{title}" href="{_data_uri(path, "text/csv")}">Save the file</a>'
    count = f"{len(frame)} row{'' if len(frame) == 1 else 's'}"
    return (
        f"<details open><summary>{title} <span>{count}</span></summary>"
        f"{note}{table([str(name) for name in shown], rows, words)}{save}</details>"
    )


def _cell(value: Any) -> str:
    if pd.isna(value):
        return "–"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


class ResultsTab:
    """One report at a time; to be made inside a `gr.Tab`.

    Args:
        folder: where the experiments write. It is read whenever the page is opened, so results appear as they come.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.choice = gr.Dropdown([], label="Report", interactive=True, visible=False, elem_id="report")
        self.text = gr.Markdown(NOTHING, elem_id="report-text", elem_classes="prose-box")
        self.tables = gr.HTML("", elem_id="report-tables", padding=False)
        self.choice.input(self.show, self.choice, [self.text, self.tables], **QUICK)

    def connect(self, app: gr.Blocks) -> None:
        """Read the folder when a visitor opens the page."""
        app.load(self.open, None, [self.choice, self.text, self.tables], **QUICK)

    def open(self) -> Updates:
        """Offer the reports there are and show the first."""
        reports = find_reports(self.folder)
        if not reports:
            return {self.text: NOTHING}
        first = "main" if "main" in reports else next(iter(reports))
        choices = [(report.title, name) for name, report in reports.items()]
        return {self.choice: gr.Dropdown(choices, value=first, visible=True), **self.show(first)}

    def show(self, name: str) -> Updates:
        """Show a report."""
        report = find_reports(self.folder).get(name)
        if report is None:
            return {self.text: "This report is no longer there; please open the page again.", self.tables: ""}
        return {self.text: markdown_of(report), self.tables: tables_of(report)}
