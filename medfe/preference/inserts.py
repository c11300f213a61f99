"""Rows that are added to the tables of votes."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Table, bindparam, insert, update
from sqlalchemy.exc import IntegrityError

from medfe.preference import tokens
from medfe.preference.plan import Planned
from medfe.preference.records import RefusedError
from medfe.preference.tables import trials


def insert_trials(connection: Connection, rater: int, planned: list[Planned]) -> None:
    """Write the trials of a session in two statements, with fresh random names."""
    rows = [
        {"name": tokens.random_name(), "rater": rater, "position": position, "kind": trial.kind, "item": trial.item,
         "left_method": trial.left, "right_method": trial.right}
        for position, trial in enumerate(planned)
    ]  # fmt: skip
    ids = connection.scalars(insert(trials).returning(trials.c.id, sort_by_parameter_order=True), rows).all()
    repeated = [
        {"own": ids[position], "first": ids[trial.repeats]}
        for position, trial in enumerate(planned)
        if trial.repeats is not None
    ]
    if repeated:
        query = update(trials).where(trials.c.id == bindparam("own")).values(repeats=bindparam("first"))
        connection.execute(query, repeated)


def insert_once(connection: Connection, table: Table, values: dict[str, Any]) -> None:
    """Write one row.

    Raises:
        RefusedError: "answered", if a row with the same unique key is there.
    """
    try:
        connection.execute(insert(table).values(**values))
    except IntegrityError:  # the name of the request was used for another trial
        raise RefusedError("answered", "This answer was given to another trial already.") from None
