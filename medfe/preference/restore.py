"""A backup put in the place of a study's votes, without bringing back what was withdrawn since."""

from __future__ import annotations

import datetime
import sqlite3
import uuid
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

from sqlalchemy import URL, Connection, delete, func, insert, select, text
from sqlalchemy.exc import DBAPIError

from medfe.errors import MedfeError
from medfe.preference import tables
from medfe.preference.copying import copy_rows
from medfe.preference.database import connect, has_tables, reason, writing
from medfe.preference.definition import Study
from medfe.preference.store import VoteStore, delete_answers
from medfe.preference.tables import raters, votes

_OF_DATABASE = ("", "-wal", "-shm")  # SQLite's log of writes would be played over any file put beside it


class Restored(NamedTuple):
    """What a restored database holds."""

    votes: int
    withdrawn: int | None
    """Raters whose answers were left out because they withdrew after the backup; None: no old votes could be read."""
    put_aside: Path | None
    """Where the old SQLite file lies, if there was one."""


def restore(source: Path, url: URL, study: Study) -> Restored:
    """Replace the votes of a study by those of a backup; a SQLite file that was there is put aside, not deleted.

    Raters who withdrew after the backup stay withdrawn, and their answers are left out, as far as the old database can
    still be read. Their answers remain in the backup itself. If it fails, the old votes are where they were.

    Args:
        source: What `backup` wrote.
        url: Database of the study.
        study: Its definition.

    Raises:
        MedfeError: if backup or database are of another study, the backup is damaged, the study is being served from
            SQLite, or the database cannot be written.
    """
    backup = VoteStore.open(URL.create("sqlite+pysqlite", database=str(source)), study)
    try:
        _check_whole(source)
        if url.get_backend_name() == "sqlite":
            return _restore_file(backup, url)
        engine = connect(url)
        try:
            with writing(engine) as connection:
                gone = _withdrawn(connection, study)
                if gone is not None:
                    names = ", ".join(table.name for table in tables.metadata.sorted_tables)
                    connection.execute(text(f"LOCK TABLE {names} IN ACCESS EXCLUSIVE MODE"))
                    gone = _withdrawn(connection, study)  # again: somebody may have withdrawn until now
                return Restored(*_fill(backup, connection, gone), None)
        finally:
            engine.dispose()
    except DBAPIError as error:
        raise MedfeError(f"{url.render_as_string(hide_password=True)}: cannot be written ({reason(error)})") from None
    finally:
        backup.close()


def _restore_file(backup: VoteStore, url: URL) -> Restored:
    path = Path(url.database or "")
    partial = path.with_name(f".{uuid.uuid4().hex}.part")
    try:
        if path.exists() and _in_use(path):
            raise MedfeError(f"{path}: is in use, stop the server of the study first")
        gone = _withdrawn_in_file(url, backup.study) if path.exists() else None
        partial.touch(mode=0o600)  # it holds the key that signs tokens
        engine = connect(url.set(database=str(partial)))
        try:
            with writing(engine) as connection:
                filled = _fill(backup, connection, gone)
        finally:
            engine.dispose()  # which empties its log of writes
        aside = _put_aside(path)
        partial.rename(path)
    except OSError as error:
        raise MedfeError(f"{path}: cannot be written ({error.strerror or error})") from None
    finally:
        for suffix in _OF_DATABASE:
            partial.with_name(partial.name + suffix).unlink(missing_ok=True)
    return Restored(*filled, aside)


def _fill(
    backup: VoteStore, connection: Connection, gone: Sequence[Mapping[str, Any]] | None
) -> tuple[int, int | None]:
    """Replace all rows; return the number of votes, and of raters whose answers were left out."""
    tables.metadata.create_all(connection)
    for table in reversed(tables.metadata.sorted_tables):
        connection.execute(delete(table))
    copy_rows(backup.engine, connection)
    _number_on(connection)
    again = 0
    known = {row.name: row for row in connection.execute(select(raters)).all()}
    for rater in gone or ():
        row = known.get(rater["name"])
        if row is None:  # joined after the backup; a later backup may be restored next, and have the answers
            connection.execute(insert(raters).values({name: rater[name] for name in rater if name != "id"}))
        elif row.withdrawn is None:
            delete_answers(connection, row.id, rater["withdrawn"])
            again += 1
    count = int(connection.execute(select(func.count()).select_from(votes)).scalar_one())
    return count, None if gone is None else again


def _check_whole(path: Path) -> None:
    try:
        with closing(sqlite3.connect(path)) as connection:
            found = str(connection.execute("PRAGMA integrity_check").fetchone()[0])
    except sqlite3.DatabaseError as error:
        found = str(error)
    if found != "ok":
        raise MedfeError(f"{path}: damaged ({' '.join(found.split())})")


def _withdrawn(connection: Connection, study: Study) -> list[dict[str, Any]] | None:
    """Return the rows of raters who have withdrawn by now; None if there are no tables.

    Raises:
        MedfeError: if the database is another study's.
    """
    if not has_tables(connection):
        return None
    digest = connection.execute(select(tables.study.c.digest)).scalar_one()
    if digest != study.digest:
        where = connection.engine.url.render_as_string(hide_password=True)
        raise MedfeError(f"{where}: belongs to another study (digest {digest[:12]}, not {study.digest[:12]})")
    rows = connection.execute(select(raters).where(raters.c.withdrawn.is_not(None)).order_by(raters.c.id))
    return [dict(row) for row in rows.mappings()]


def _withdrawn_in_file(url: URL, study: Study) -> list[dict[str, Any]] | None:
    engine = connect(url)
    try:
        with engine.connect() as connection:
            return _withdrawn(connection, study)
    except DBAPIError:  # damaged, which is why it is replaced
        return None
    finally:
        engine.dispose()


def _put_aside(path: Path) -> Path | None:
    """Rename a SQLite database with its log, or a log that is left alone; return the database's new name."""
    name = f"{path.name}.replaced-{datetime.datetime.now(datetime.UTC):%Y%m%dT%H%M%S%f}"
    for suffix in _OF_DATABASE:
        old = path.with_name(path.name + suffix)
        if old.exists():
            old.rename(path.with_name(name + suffix))
    return path.with_name(name) if path.with_name(name).exists() else None


def _in_use(path: Path) -> bool:
    try:
        with closing(sqlite3.connect(path, timeout=1, isolation_level=None)) as connection:
            connection.execute("PRAGMA locking_mode = EXCLUSIVE")
            connection.execute("BEGIN EXCLUSIVE")
            connection.execute("ROLLBACK")
    except sqlite3.OperationalError as error:
        return error.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
    except sqlite3.DatabaseError:  # damaged
        return False
    return False


def _number_on(connection: Connection) -> None:
    """Let PostgreSQL number new rows after those that were copied; SQLite does so by itself."""
    if connection.dialect.name != "postgresql":
        return
    for table in tables.metadata.sorted_tables:
        name = table.name  # one of this package's own
        connection.execute(text(
            f"SELECT setval(pg_get_serial_sequence('{name}', 'id'), GREATEST((SELECT MAX(id) FROM {name}), 1), "
            f"EXISTS (SELECT 1 FROM {name}))"
        ))  # fmt: skip
