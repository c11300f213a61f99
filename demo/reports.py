"""What the experiments wrote: reports with the tables and figures that belong to them."""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass, field
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[1] / "notebooks" / "results"
"""Where the experiments write, in a checkout of the repository."""
FIRST = ("README", "main")
"""Reports that are shown first, if they are there: the claims, and the experiment that most of them rest on."""
OTHER = "Other tables"

_IMAGES = {".png": "image/png", ".svg": "image/svg+xml", ".jpg": "image/jpeg", ".webp": "image/webp"}
_IMAGE = re.compile(r"!\[([^\]]*)\]\(([^)\s]+)\)")
_LINK = re.compile(r"(?<!!)\[([^\]]*)\]\((?!https?://)[^)\s]+\)")
_SECTION = re.compile(r"^## ", re.MULTILINE)
_MISSING = re.compile(r"^\*\*Missing:\*\* (.+)$", re.MULTILINE)
_HEADLINE = "Primary endpoint"  # the section of medfe.experiments.report that answers the question
_FOLDED = ("Not tested", "How it was made", "How each verdict is reached")  # sections for those who want to know more


@dataclass
class Report:
    """The files of one experiment."""

    title: str
    text: Path | None = None
    tables: list[Path] = field(default_factory=list)
    figures: list[Path] = field(default_factory=list)

    def table(self, ending: str) -> Path | None:
        """Return the table whose name ends so, if there is one."""
        return next((path for path in self.tables if path.stem.endswith(ending)), None)


def find_reports(folder: Path) -> dict[str, Report]:
    """Return name → report of a folder: those in `FIRST`, then the others in the order of their names.

    A Markdown file makes a report; tables and figures whose names begin with its name and `_` belong to it, the longest
    such name counting. Those that belong to none make a last report of their own.
    """
    files = sorted(path for path in folder.iterdir() if path.is_file()) if folder.is_dir() else []
    texts = {path.stem: path for path in files if path.suffix == ".md"}
    names = [name for name in FIRST if name in texts]
    names += [name for name in texts if name not in FIRST]
    reports = {name: Report(_title(texts[name]), texts[name]) for name in names}
    other = Report(OTHER)
    for path in files:
        owners = [name for name in reports if path.stem == name or path.stem.startswith(f"{name}_")]
        owner = reports[max(owners, key=len)] if owners else other
        if path.suffix == ".csv":
            owner.tables.append(path)
        elif path.suffix in _IMAGES:
            owner.figures.append(path)
    if other.tables or other.figures:
        reports[OTHER] = other
    return reports


def _title(path: Path) -> str:
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        if line.startswith("# "):
            return line[2:].replace("`", "").strip()
    return words(path.stem)


def words(name: str) -> str:
    """Return a file's name as words."""
    return name.replace("_", " ").capitalize()


def text_of(report: Report) -> tuple[str, str]:
    """Return a report's text in two parts: what it found, and all the rest, with details folded away.

    Pictures of its folder are put into the text, others are left out; of a link to a file, the words stay.
    """
    if report.text is None:
        return f"# {report.title}", ""
    folder = report.text.parent

    def embed(match: re.Match[str]) -> str:
        path = folder / match[2]
        inside = path.resolve().is_relative_to(folder.resolve())
        return f"![{match[1]}]({data_uri(path)})" if inside and path.is_file() and path.suffix in _IMAGES else ""

    text = _LINK.sub(r"\1", _IMAGE.sub(embed, report.text.read_text(encoding="utf-8", errors="replace")))
    text = _MISSING.sub(lambda match: _folded(f"{match[1].count(',') + 1} runs are not done yet", match[1]), text)
    first, *sections = _SECTION.split(text)
    if sections and sections[0].startswith(_HEADLINE):
        first += f"## {sections.pop(0)}"
    return first, "".join(map(_section, sections))


def _section(text: str) -> str:
    title, _, content = text.partition("\n")
    return _folded(title, content) if title in _FOLDED else f"## {text}"


def _folded(title: str, content: str) -> str:
    return f"<details><summary>{title}</summary>\n\n{content.strip()}\n\n</details>\n\n"


def data_uri(path: Path, kind: str | None = None) -> str:
    """Return a file as an address that holds it whole."""
    return f"data:{kind or _IMAGES[path.suffix]};base64,{base64.b64encode(path.read_bytes()).decode()}"
