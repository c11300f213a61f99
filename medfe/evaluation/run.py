"""One evaluation, from settings to report: what `medfe evaluate` does."""

from __future__ import annotations

from pathlib import Path

from medfe.evaluation.gallery import gallery
from medfe.evaluation.markdown import summary
from medfe.evaluation.protocol import measure
from medfe.evaluation.report import report
from medfe.evaluation.settings import EvaluationSettings
from medfe.evaluation.store import Store
from medfe.evaluation.tables import Tables

REPORT, SUMMARY = "report.html", "summary.md"


def evaluate(settings: EvaluationSettings) -> Tables:
    """Measure, compare and write tables (`images.parquet` and CSV), `report.html` and `summary.md`.

    What the folder holds already is not computed again, so a killed run loses one batch.

    Raises:
        MedfeError: bad settings, too few images, a method that fails, or a full disk; earlier results are kept.
    """
    store = Store(settings.out)
    measured = measure(settings, store)
    store.save_table("images.parquet", measured.table)
    tables = Tables.of(measured, store)
    tables.save(store)
    store.write(REPORT, report(measured, tables, gallery(measured)).encode())
    store.write(SUMMARY, summary(measured, tables).encode())
    return tables


def report_path(settings: EvaluationSettings) -> Path:
    """Return where the report is written."""
    return settings.out / REPORT
