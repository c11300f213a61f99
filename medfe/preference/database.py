"""Connections to the database of votes: SQLite in the study's folder, or PostgreSQL."""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, nullcontext
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, inspect, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, SQLAlchemyError

from medfe.errors import MedfeError
from medfe.preference.folder import DATABASE_FILE

DATABASE_VARIABLE = "MEDFE_STUDY_DATABASE"
BUSY_SECONDS = 20.0
"""How long a writer waits for another."""
_BUSY_TIMEOUT = f"PRAGMA busy_timeout = {int(1000 * BUSY_SECONDS)}"
_CONNECTIONS = 8
_log = logging.getLogger(__name__)


def database_url(folder: Path, named: str | None) -> URL:
    """Return where a study's votes are: the URL named, or SQLite in its folder.

    Raises:
        MedfeError: if it is the URL of no known database; its password is not repeated.
    """
    if not named:
        return URL.create("sqlite+pysqlite", database=str(folder / DATABASE_FILE))
    try:
        url = make_url(named)
        backend = url.get_backend_name()
    except (ArgumentError, NoSuchModuleError, ValueError):
        backend = "no URL"
    if backend == "sqlite" and url.database:
        return url.set(drivername="sqlite+pysqlite")
    if backend == "postgresql":
        return url.set(drivername="postgresql+psycopg")
    raise MedfeError(f"database: found {backend}, expected postgresql://USER:PASSWORD@HOST/NAME or sqlite:///FILE")


def connect(url: URL) -> Engine:
    """Return an engine whose commits are durable and whose writers wait for each other.

    Raises:
        MedfeError: if the driver is not installed.
    """
    if url.get_backend_name() == "sqlite":
        engine = create_engine(
            url, connect_args={"timeout": BUSY_SECONDS}, pool_size=_CONNECTIONS, max_overflow=0,
            execution_options={"medfe_queue": threading.Lock()},
        )  # fmt: skip
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
        return engine
    try:
        engine = create_engine(url, pool_size=_CONNECTIONS, max_overflow=0, pool_pre_ping=True)
    except ModuleNotFoundError as error:
        raise MedfeError(f"database: needs the package {error.name}; install medfe[postgresql]") from None
    event.listen(engine, "connect", _prepare_postgresql)
    return engine


@contextmanager
def writing(engine: Engine) -> Iterator[Connection]:
    """Yield a connection in a transaction that is committed at the end; on SQLite no other writer runs meanwhile."""
    # SQLite's writers do not queue: whoever finds the database locked sleeps, and may starve among many. Those of one
    # process queue here, before they take a connection; only those of other processes wait in SQLite's own way.
    queue = engine.get_execution_options().get("medfe_queue", nullcontext())
    with queue, engine.connect().execution_options(medfe_writes=True) as connection, connection.begin():
        yield connection


def forget_deleted(engine: Engine) -> None:
    """Empty SQLite's log of writes, in which deleted rows would stay readable until others are written over them.

    Where a reader of an older state of the database keeps the log in use, that is left to the next time: writers of
    votes are not to wait for it. PostgreSQL clears deleted rows away by itself, a while later.
    """
    if engine.dialect.name == "sqlite":
        queue = engine.get_execution_options()["medfe_queue"]
        try:
            with queue, closing(engine.raw_connection()) as connection, closing(connection.cursor()) as cursor:
                cursor.execute("PRAGMA busy_timeout = 0")
                try:
                    busy = cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
                finally:
                    cursor.execute(_BUSY_TIMEOUT)  # the connection goes back to the others
        except (sqlite3.Error, SQLAlchemyError) as error:  # they are deleted all the same
            busy = error
        if busy:
            _log.warning("what was deleted stays in SQLite's log for now (%s)", busy)


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """Yield a connection in a transaction that sees one state of the database, whatever is written meanwhile."""
    options = {} if engine.dialect.name == "sqlite" else {"isolation_level": "REPEATABLE READ"}
    with engine.connect().execution_options(**options) as connection, connection.begin():
        yield connection


def check_empty(url: URL) -> None:
    """Refuse a database that holds a study; a file of SQLite that is not there is not made.

    Raises:
        MedfeError: if it does, or cannot be reached.
    """
    if url.get_backend_name() == "sqlite" and not Path(url.database or "").exists():
        return
    engine = connect(url)
    try:
        with engine.connect() as connection:
            expect_empty(connection)
    except DBAPIError as error:
        raise MedfeError(f"{url.render_as_string(hide_password=True)}: cannot be used ({reason(error)})") from None
    finally:
        engine.dispose()


def expect_empty(connection: Connection) -> None:
    """Refuse a database that holds a study.

    Raises:
        MedfeError: if it does.
    """
    if has_tables(connection):
        where = connection.engine.url.render_as_string(hide_password=True)
        raise MedfeError(f"{where}: holds a study already, expected an empty database")


def has_tables(connection: Connection) -> bool:
    """Whether a database holds a study."""
    return inspect(connection).has_table("study")


def disk_is_full(error: DBAPIError) -> bool:
    """Whether a database failed because its disk is full, in whichever language it says so."""
    sqlite, postgresql = (getattr(error.orig, name, None) for name in ("sqlite_errorcode", "sqlstate"))
    return sqlite == sqlite3.SQLITE_FULL or postgresql == "53100"


def reason(error: DBAPIError) -> str:
    """Return what a database says went wrong, on one line, without the statement and its values."""
    return " ".join(str(error.orig).split())


def _prepare_sqlite(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # the driver begins no transactions of its own; see _begin_sqlite
    for setting in (
        "journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON",
        "secure_delete = ON",  # or answers that were withdrawn would stay readable in pages that are free
    ):  # fmt: skip
        connection.execute(f"PRAGMA {setting}").close()
    connection.execute(_BUSY_TIMEOUT).close()


def _begin_sqlite(connection: Connection) -> None:
    # A transaction that begins as a reader and writes later may find another writer before it, and fail.
    writes = connection.get_execution_options().get("medfe_writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _prepare_postgresql(connection: Any, _record: object) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET synchronous_commit TO on")
    connection.commit()
