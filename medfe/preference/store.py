"""Votes: who may give which, kept once and for good.

What is returned as saved has been committed and flushed to disk. Every change locks its rater's row first, so that
requests of one rater come one after another, and joining locks the study's, so that plans see each other.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import URL, Connection, Engine, Row, and_, delete, func, insert, select, update
from sqlalchemy.exc import DBAPIError

from medfe.errors import MedfeError
from medfe.preference import queries, tables, tokens
from medfe.preference.database import connect, expect_empty, forget_deleted, reason, writing
from medfe.preference.definition import Study
from medfe.preference.inserts import insert_once, insert_trials
from medfe.preference.plan import plan_session
from medfe.preference.records import Answer, Choice, Participation, RefusedError, Session, Trial
from medfe.preference.tables import SCHEMA_VERSION, corrections, raters, trials, votes

HOURS_TO_BEGIN = 0.5
"""Time from joining to the first answer; after it the trials of those who never began fall to others."""


class VoteStore:
    """The votes of one study.

    Args:
        engine: Database that holds the study's tables.
        study: Definition.
        clock: Seconds since 1970.

    Raises:
        MedfeError: if the database cannot be reached, is of another schema version, or belongs to another study.
    """

    def __init__(self, engine: Engine, study: Study, clock: Callable[[], float] = time.time) -> None:
        self.engine, self.study, self.clock = engine, study, clock
        where = engine.url.render_as_string(hide_password=True)
        try:
            with engine.connect() as connection:
                row = queries.read_study(connection, study)
        except DBAPIError as error:
            raise MedfeError(f"{where}: cannot be used ({reason(error)})") from None
        self._secret = str(row.secret)

    @classmethod
    def open(cls, url: URL, study: Study) -> VoteStore:
        """Open the votes of a study; arguments and errors as above."""
        if url.get_backend_name() == "sqlite":
            _expect_file(url)
        return cls(connect(url), study)

    @classmethod
    def create(cls, url: URL, study: Study) -> VoteStore:
        """Make the tables of a new study.

        Raises:
            MedfeError: if the database holds a study already, or cannot be written.
        """
        where = url.render_as_string(hide_password=True)
        if url.get_backend_name() == "sqlite" and url.database:
            try:
                Path(url.database).touch(mode=0o600)  # it holds the key that signs tokens
            except OSError as error:
                raise MedfeError(f"{url.database}: cannot be written ({error.strerror})") from None
        engine = connect(url)
        try:
            with writing(engine) as connection:
                expect_empty(connection)
                tables.metadata.create_all(connection)
                row = {"id": 1, "schema_version": SCHEMA_VERSION, "digest": study.digest}
                connection.execute(insert(tables.study).values(**row, secret=secrets.token_hex(32)))
        except DBAPIError as error:
            raise MedfeError(f"{where}: cannot be written ({reason(error)})") from None
        return cls(engine, study)

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()

    def join(self, consent_version: str, rng: np.random.Generator | None = None, request: str | None = None) -> str:
        """Plan a session for a new rater; every trial of it is committed before this returns.

        Args:
            consent_version: Version of the consent that was agreed to.
            rng: Source of the plan's randomness; default: the operating system's.
            request: Random name of the request; one that comes again, its reply lost, gets the same rater.

        Returns:
            The rater's token.

        Raises:
            RefusedError: if the consent is another one, or the study has all its answers, or would have them if all
                who take part finished.
        """
        design = self.study.design
        if consent_version != design.consent_version:
            raise RefusedError("consent", "The consent has changed; please reload the page.")
        now = self.clock()
        name = tokens.random_name() if request is None else tokens.derived_name(request, self._secret)
        with writing(self.engine) as connection:
            connection.execute(select(tables.study.c.id).with_for_update())
            if connection.execute(select(raters.c.id).where(raters.c.name == name)).one_or_none() is not None:
                return tokens.sign(name, self._secret)
            if queries.main_votes(connection) >= design.target_votes:
                raise RefusedError("complete", "The study has all the answers it needs. Thank you for your interest.")
            if queries.live_trials(connection, now) >= design.target_votes:
                raise RefusedError("full", "All places are taken at the moment. Some may become free: try again later.")
            planned = plan_session(
                self.study.pairs,
                queries.history(connection, self.study, now),
                main=design.main_trials,
                catches=design.catches,
                repeats=design.repeats,
                rng=rng or np.random.default_rng(),
            )
            row = {"name": name, "consent_version": consent_version, "joined": now}
            row["deadline"] = now + 3600 * min(HOURS_TO_BEGIN, design.session_hours)
            rater = connection.execute(insert(raters).values(**row).returning(raters.c.id)).scalar_one()
            insert_trials(connection, rater, planned)
        return tokens.sign(name, self._secret)

    def session(self, token: str) -> Session:
        """Tell how far a rater is.

        Raises:
            RefusedError: if the token is forged, or the rater withdrew.
        """
        with self.engine.connect() as connection:
            rater = self._rater(connection, token)
            return self._session(connection, rater)

    def next_trial(self, token: str) -> Trial | None:
        """Return the first trial without an answer, committed as shown; None after the last.

        Raises:
            RefusedError: if the token is forged, or the rater withdrew or came too late.
        """
        with writing(self.engine) as connection:
            rater = self._rater(connection, token, lock=True)
            row = connection.execute(queries.open_trials(rater.id).limit(1)).one_or_none()
            if row is None:
                return None
            self._check_deadline(rater)
            if row.shown is None:
                connection.execute(update(trials).where(trials.c.id == row.id).values(shown=self.clock()))
        return _trial(row)

    def last_trial(self, token: str) -> Trial | None:
        """Return the last trial with an answer, the one that may be corrected; None before the first.

        Raises:
            RefusedError: as `next_trial`.
        """
        with self.engine.connect() as connection:
            rater = self._rater(connection, token)
            self._check_deadline(rater)
            row = connection.execute(queries.answered_trials(rater.id).limit(1)).one_or_none()
        return None if row is None else _trial(row)

    def vote(self, token: str, trial: str, answer: Answer) -> Session:
        """Keep an answer; the same request again changes nothing and returns the same.

        Raises:
            RefusedError: if the token is forged, the trial another rater's, not the one shown, expired, or answered by
                another request.
        """
        with writing(self.engine) as connection:
            rater, row = self._own_trial(connection, token, trial)
            kept = connection.execute(select(votes).where(votes.c.trial == row.id)).one_or_none()
            if kept is not None:
                if (kept.request, kept.choice) != (answer.request, answer.choice):
                    raise RefusedError("answered", "This trial has an answer already.")
                return self._session(connection, rater)
            self._check_deadline(rater)
            current = connection.execute(queries.open_trials(rater.id).limit(1)).one()
            if current.id != row.id or row.shown is None:
                raise RefusedError("not shown", "This trial is not the one being shown.")
            values = {
                "trial": row.id, "request": answer.request, "choice": answer.choice, "saved": self.clock(),
                "milliseconds": answer.milliseconds, "pixel_ratio": answer.pixel_ratio, "zoomed": int(answer.zoomed),
                "viewport_width": answer.viewport[0], "viewport_height": answer.viewport[1],
            }  # fmt: skip
            insert_once(connection, votes, values)
            if row.position == 0:
                whole = rater.joined + 3600 * self.study.design.session_hours
                connection.execute(update(raters).where(raters.c.id == rater.id).values(deadline=whole))
            return self._session(connection, rater)

    def correct(self, token: str, trial: str, request: str, choice: Choice) -> Session:
        """Keep another answer to the trial answered last, beside the first answer; a retry changes nothing.

        Raises:
            RefusedError: as `vote`, or if the trial has no answer or is not the last that has one.
        """
        with writing(self.engine) as connection:
            rater, row = self._own_trial(connection, token, trial)
            known = select(corrections, votes.c.trial).join(votes).where(corrections.c.request == request)
            kept = connection.execute(known).one_or_none()
            if kept is not None:
                if (kept.trial, kept.choice) != (row.id, choice):
                    raise RefusedError("answered", "This correction was made already.")
                return self._session(connection, rater)
            self._check_deadline(rater)
            last = connection.execute(queries.answered_trials(rater.id).limit(1)).one_or_none()
            if last is None or last.id != row.id:
                raise RefusedError("not shown", "Only the last answer can be changed.")
            vote = connection.execute(select(votes.c.id).where(votes.c.trial == row.id)).scalar_one()
            values = {"vote": vote, "request": request, "choice": choice, "saved": self.clock()}
            insert_once(connection, corrections, values)
            return self._session(connection, rater)

    def withdraw(self, token: str) -> None:
        """Delete a rater's answers; again, it only tries once more to leave nothing of them in the database's files.

        Raises:
            RefusedError: if the token is forged.
        """
        with writing(self.engine) as connection:
            rater = self._rater(connection, token, lock=True, withdrawn=True)
            if rater.withdrawn is None:
                delete_answers(connection, rater.id, self.clock())
        forget_deleted(self.engine)

    def main_votes(self) -> int:
        """Return the number of answers to main trials."""
        with self.engine.connect() as connection:
            return queries.main_votes(connection)

    def participation(self) -> Participation:
        """Return how many people agreed to take part, and how many of them left."""
        with self.engine.connect() as connection:
            return queries.participation(connection, self.clock())

    # Parts of the transactions above

    def _rater(self, connection: Connection, token: str, *, lock: bool = False, withdrawn: bool = False) -> Row[Any]:
        name = tokens.verify(token, self._secret)
        query = select(raters).where(raters.c.name == name)
        row = None
        if name is not None:
            row = connection.execute(query.with_for_update() if lock else query).one_or_none()
        if row is None:
            raise RefusedError("token", "This device is not known to the study.")
        if row.withdrawn is not None and not withdrawn:
            raise RefusedError("withdrawn", "You have withdrawn from this study.")
        return row

    def _own_trial(self, connection: Connection, token: str, name: str) -> tuple[Row[Any], Row[Any]]:
        rater = self._rater(connection, token, lock=True)
        own = and_(trials.c.name == name, trials.c.rater == rater.id)
        row = connection.execute(select(trials).where(own)).one_or_none()
        if row is None:
            raise RefusedError("trial", "This trial is not one of yours.")
        return rater, row

    def _check_deadline(self, rater: Row[Any]) -> None:
        if self.clock() >= rater.deadline:
            raise RefusedError("expired", "The time for this session is over.")

    def _session(self, connection: Connection, rater: Row[Any]) -> Session:
        own = select(func.count(trials.c.id), func.count(votes.c.id)).select_from(trials.outerjoin(votes))
        total, answered = connection.execute(own.where(trials.c.rater == rater.id)).one()
        return Session(int(answered), int(total), answered < total and self.clock() >= rater.deadline)


def delete_answers(connection: Connection, rater: int, withdrawn: float) -> None:
    """Delete a rater's answers, and keep when the rater withdrew."""
    own = select(votes.c.id).join(trials).where(trials.c.rater == rater)
    connection.execute(delete(corrections).where(corrections.c.vote.in_(own)))
    own_trials = select(trials.c.id).where(trials.c.rater == rater)
    connection.execute(delete(votes).where(votes.c.trial.in_(own_trials)))
    connection.execute(update(raters).where(raters.c.id == rater).values(withdrawn=withdrawn))


def _trial(row: Row[Any]) -> Trial:
    return Trial(row.name, row.position, row.kind, row.item, row.left_method, row.right_method)


def _expect_file(url: URL) -> None:
    if not Path(url.database or "").is_file():
        raise MedfeError(f"{url.database}: no such file, expected the database that `medfe study create` made")
