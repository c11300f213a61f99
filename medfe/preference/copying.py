"""All rows of one study's database into another."""

from __future__ import annotations

from sqlalchemy import Connection, Engine, insert, select

from medfe.preference import tables
from medfe.preference.database import reading

_CHUNK = 1000  # rows copied at once


def copy_rows(source: Engine, target: Connection) -> None:
    """Copy every table into empty ones; all are read in one transaction, so the copy is one state of the study."""
    with reading(source) as connection:
        for table in tables.metadata.sorted_tables:
            for rows in connection.execute(select(table).order_by(table.c.id)).mappings().partitions(_CHUNK):
                target.execute(insert(table), [dict(row) for row in rows])
