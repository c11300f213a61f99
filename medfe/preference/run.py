"""One analysis, from votes to report: what `medfe study analyse` does."""

from __future__ import annotations

from pathlib import Path

from medfe.preference.analysis import Analysis, analyse
from medfe.preference.export import check_target, vote_table
from medfe.preference.folder import write_durably
from medfe.preference.ranking import bradley_terry
from medfe.preference.report import report
from medfe.preference.store import VoteStore


def analyse_study(store: VoteStore, out: Path, *, peek: bool = False) -> Analysis:
    """Analyse the votes of a study and write the report.

    Args:
        store: Votes.
        out: HTML file; replaced if it is there.
        peek: Show results before the target number of answers; the report says so.

    Raises:
        MedfeError: before the target without `peek`, without votes, or if the report cannot be written.
    """
    check_target(store, peek)
    votes = vote_table(store)
    analysis = analyse(store.study, votes)
    names = [method.name for method in store.study.methods]
    ranking = None
    if len(names) > 2:
        kept = (votes["kind"] == "main") & ~votes["rater"].isin(analysis.excluded)
        ranking = bradley_terry(votes[kept], names)
    write_durably(out, report(analysis, store.participation(), ranking).encode())
    return analysis
