"""A study's votes in a new database file: for a backup, and to bring one back."""

from __future__ import annotations

import sqlite3
import uuid
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TypeVar

from sqlalchemy import URL, Connection, Engine, insert, select

from medfe.preference import tables
from medfe.preference.database import connect, reading, writing
from medfe.preference.folder import sync_folder

SQLITE_SUFFIXES = ("", "-wal", "-shm")
"""Endings of the names of a database's file, its log of writes, and the log's index."""
_CHUNK = 1000  # rows copied at once
_Filled = TypeVar("_Filled")


def write_database(
    path: Path, fill: Callable[[Connection], _Filled], publish: Callable[[Path, Path], object] = Path.rename
) -> _Filled:
    """Write a new SQLite database of the votes' tables, whole or not at all, readable by its owner alone.

    Args:
        path: File.
        fill: What writes its rows.
        publish: What gives the finished file (first argument) its name (second).

    Returns:
        What `fill` returned.

    Raises:
        OSError, DBAPIError: if it cannot be written.
    """
    partial = path.with_name(f".{uuid.uuid4().hex}.part")
    try:
        partial.touch(mode=0o600)  # it holds the key that signs tokens
        engine = connect(URL.create("sqlite+pysqlite", database=str(partial)))
        try:
            with writing(engine) as connection:
                tables.metadata.create_all(connection)
                filled = fill(connection)
            _into_one_file(engine)
        finally:
            engine.dispose()
        publish(partial, path)
        sync_folder(path.parent)
    finally:
        for suffix in SQLITE_SUFFIXES:
            partial.with_name(partial.name + suffix).unlink(missing_ok=True)
    return filled


def _into_one_file(engine: Engine) -> None:
    """Bring what was written from the log into the database's file, and leave it without a log.

    Closing the database would do so too, but where the disk is full it says nothing.

    Raises:
        OSError: if it cannot be written.
    """
    try:
        with closing(engine.raw_connection()) as connection, closing(connection.cursor()) as cursor:
            cursor.execute("PRAGMA journal_mode = DELETE")
    except sqlite3.Error as error:
        raise OSError(str(error)) from None


def copy_rows(source: Engine, target: Connection) -> None:
    """Copy every table into empty ones; all are read in one transaction, so the copy is one state of the study."""
    with reading(source) as connection:
        for table in tables.metadata.sorted_tables:
            for rows in connection.execute(select(table).order_by(table.c.id)).mappings().partitions(_CHUNK):
                target.execute(insert(table), [dict(row) for row in rows])
