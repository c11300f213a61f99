"""The last part of the notebook on human preference: votes of a real study, which the repository does not hold."""

from pathlib import Path

import nbformat
import pandas as pd
import pytest

from medfe.preference.analysis import analyse
from medfe.preference.database import database_url
from medfe.preference.export import export_votes
from medfe.preference.folder import load_study
from medfe.preference.store import VoteStore

from ..preference.conftest import answer_all, write_study

NOTEBOOK = Path(__file__).parents[2] / "notebooks" / "06_human_preference.ipynb"


def said(study):
    """Return what the last cell displays of a study's folder."""
    shown = []
    cell = nbformat.read(NOTEBOOK, as_version=4).cells[-1]
    names = {"analyse": analyse, "load_study": load_study, "pd": pd, "Markdown": str, "display": shown.append}
    exec(cell.source, {**names, "STUDY": study})
    (text,) = shown
    return text


@pytest.mark.parametrize(("target", "peeked"), [(24, False), (25, True)])
def test_a_result_before_the_planned_number_of_answers_is_said_to_be_one(tmp_path, target, peeked):
    study = write_study(tmp_path, target_votes=target)
    store = VoteStore.create(database_url(tmp_path, None), study)
    for _ in range(4):
        answer_all(store, store.join("1"))
    export_votes(store, tmp_path / "export", peek=True)
    store.close()
    text = said(tmp_path)
    assert text.startswith("**Peeked** before the 25 answers that were planned: " if peeked else "24 answers")
    assert "24 answers of 4 raters" in text


def test_without_votes_it_names_where_it_looked(tmp_path):
    assert str(tmp_path / "export" / "votes.parquet") in said(tmp_path)
    assert "`MEDFE_STUDY` names no study" in said(None)
