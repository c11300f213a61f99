"""Questions to the tables of votes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Select, and_, case, exists, func, or_, select, true

from medfe.errors import MedfeError
from medfe.preference import tables
from medfe.preference.database import has_tables
from medfe.preference.definition import Study
from medfe.preference.plan import History
from medfe.preference.records import Participation
from medfe.preference.tables import SCHEMA_VERSION, raters, trials, votes

_has_vote = exists(select(votes.c.id).where(votes.c.trial == trials.c.id))


def read_study(connection: Connection, study: Study) -> Row[Any]:
    """Return the row of a database's study.

    Raises:
        MedfeError: if it holds none, another one, or tables of another version.
    """
    where = connection.engine.url.render_as_string(hide_password=True)
    version = None
    if has_tables(connection):
        version = connection.execute(select(tables.study.c.schema_version)).scalar_one_or_none()
    if version is None:
        raise MedfeError(f"{where}: found no study, expected the database that `medfe study create` made")
    if version != SCHEMA_VERSION:  # its other columns may be others
        raise MedfeError(f"{where}: found schema version {version}, expected {SCHEMA_VERSION}")
    row = connection.execute(select(tables.study)).one()
    if row.digest != study.digest:
        raise MedfeError(f"{where}: belongs to another study (digest {row.digest[:12]}, not {study.digest[:12]})")
    return row


def open_trials(rater: int) -> Select[Any]:
    """Return the query of a rater's trials without an answer, the next one first."""
    return select(trials).where(trials.c.rater == rater, ~_has_vote).order_by(trials.c.position)


def answered_trials(rater: int) -> Select[Any]:
    """Return the query of a rater's trials with an answer, the last one first."""
    return select(trials).where(trials.c.rater == rater, _has_vote).order_by(trials.c.position.desc())


def main_votes(connection: Connection) -> int:
    """Return the number of answers to main trials."""
    query = select(func.count()).select_from(votes.join(trials)).where(trials.c.kind == "main")
    return int(connection.execute(query).scalar_one())


def live_trials(connection: Connection, now: float) -> int:
    """Return the number of main trials that are answered or may still be."""
    query = select(func.count()).select_from(trials.join(raters)).where(trials.c.kind == "main", _live(now))
    return int(connection.execute(query).scalar_one())


def participation(connection: Connection, now: float) -> Participation:
    """Return how many people agreed to take part, answered nothing, withdrew, and may still answer."""
    answered = exists(select(votes.c.id).select_from(votes.join(trials)).where(trials.c.rater == raters.c.id))
    left = raters.c.withdrawn.is_not(None)
    unanswered = exists(select(trials.c.id).where(trials.c.rater == raters.c.id, ~_has_vote))
    going_on = and_(_may_answer(now), unanswered)
    counted = [func.count().filter(kind) for kind in (true(), and_(~left, ~answered), left, going_on)]
    row: Sequence[int] = connection.execute(select(*counted).select_from(raters)).one()
    return Participation(joined=row[0], silent=row[1], withdrawn=row[2], going_on=row[3])


def history(connection: Connection, study: Study, now: float) -> History:
    """Return what earlier raters answered or may still answer."""
    found = History.empty(len(study.items), len(study.pairs), len(study.catches))
    place = {pair: index for index, pair in enumerate(study.pairs)}
    late = case((2 * trials.c.position >= study.design.trials, 1), else_=-1)
    keys = (trials.c.kind, trials.c.item, trials.c.left_method, trials.c.right_method)
    query = select(*keys, func.count(), func.sum(late)).select_from(trials.join(raters)).where(_live(now))
    for kind, item, left, right, count, lateness in connection.execute(query.group_by(*keys)):
        if kind == "main":
            found.counts[item, place[min(left, right), max(left, right)], int(left > right)] += count
            found.lateness[item] += lateness
        elif kind == "catch":
            found.catch_sides[item] += count if left == 0 else -count
    return found


def _live(now: float) -> ColumnElement[bool]:
    return or_(_has_vote, _may_answer(now))


def _may_answer(now: float) -> ColumnElement[bool]:
    return and_(raters.c.withdrawn.is_(None), raters.c.deadline > now)
