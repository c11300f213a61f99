"""A backup put in the place of a study's votes, without bringing back what was withdrawn since."""

from __future__ import annotations

import datetime
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from sqlalchemy import URL, Connection, delete, func, select, text
from sqlalchemy.exc import DBAPIError

from medfe.errors import MedfeError
from medfe.preference import tables
from medfe.preference.copying import copy_rows
from medfe.preference.database import connect, reason, writing
from medfe.preference.definition import Study
from medfe.preference.store import VoteStore, delete_answers
from medfe.preference.tables import raters, votes

_OF_DATABASE = ("", "-wal", "-shm")  # SQLite's log of writes would be played over any file put beside it


class Restored(NamedTuple):
    """What a restored database holds."""

    votes: int
    withdrawn: int | None
    """Raters whose answers were left out because they withdrew after the backup; None: the old votes cannot be read."""
    put_aside: Path | None
    """Where the old SQLite file lies, if there was one."""


def restore(source: Path, url: URL, study: Study) -> Restored:
    """Replace the votes of a study by those of a backup; a SQLite file that was there is put aside, not deleted.

    Raters who withdrew after the backup stay withdrawn, and their answers are left out, as far as the old database can
    still be read. Their answers remain in the backup itself.

    Args:
        source: What `backup` wrote.
        url: Database of the study.
        study: Its definition.

    Raises:
        MedfeError: if the backup is of another study or damaged, the study is being served from SQLite, or the database
            cannot be written; a database on a server is then as it was.
    """
    backup = VoteStore.open(URL.create("sqlite+pysqlite", database=str(source)), study)
    try:
        _check_whole(source)
        gone = _withdrawn(url, study)
        aside = _put_aside(url)
        engine = connect(url)
        try:
            with writing(engine) as target:
                tables.metadata.create_all(target)
                for table in reversed(tables.metadata.sorted_tables):
                    target.execute(delete(table))
                copy_rows(backup.engine, target)
                _count_on(target)
                again = _withdraw(target, gone or {})
                count = int(target.execute(select(func.count()).select_from(votes)).scalar_one())
        except DBAPIError as error:
            raise MedfeError(
                f"{url.render_as_string(hide_password=True)}: cannot be written ({reason(error)})"
            ) from None
        finally:
            engine.dispose()
    finally:
        backup.close()
    return Restored(count, None if gone is None else again, aside)


def _check_whole(path: Path) -> None:
    try:
        with closing(sqlite3.connect(path)) as connection:
            found = str(connection.execute("PRAGMA integrity_check").fetchone()[0])
    except sqlite3.DatabaseError as error:
        found = str(error)
    if found != "ok":
        raise MedfeError(f"{path}: damaged ({' '.join(found.split())})")


def _withdrawn(url: URL, study: Study) -> dict[str, float] | None:
    """Return who has withdrawn by now, and when; None if the database cannot be read."""
    if url.get_backend_name() == "sqlite" and not Path(url.database or "").is_file():
        return None
    engine = connect(url)
    try:
        with VoteStore(engine, study).engine.connect() as connection:
            rows = connection.execute(select(raters.c.name, raters.c.withdrawn).where(raters.c.withdrawn.is_not(None)))
            return {row.name: row.withdrawn for row in rows}
    except (MedfeError, DBAPIError):
        return None
    finally:
        engine.dispose()  # of a damaged file too: it is renamed next


def _withdraw(connection: Connection, gone: dict[str, float]) -> int:
    rows = connection.execute(select(raters.c.id, raters.c.name).where(raters.c.withdrawn.is_(None))).all()
    again = [row for row in rows if row.name in gone]
    for row in again:
        delete_answers(connection, row.id, gone[row.name])
    return len(again)


def _put_aside(url: URL) -> Path | None:
    """Rename a SQLite database with its log; return its new name."""
    if url.get_backend_name() != "sqlite":
        return None
    path = Path(url.database or "")
    if not path.exists():
        path.touch(mode=0o600)
        return None
    if _in_use(path):
        raise MedfeError(f"{path}: is in use, stop the server of the study first")
    name = f"{path.name}.replaced-{datetime.datetime.now(datetime.UTC):%Y%m%dT%H%M%S}"
    for suffix in reversed(_OF_DATABASE):  # the file last: until then the old database is whole
        old = path.with_name(path.name + suffix)
        if old.exists():
            old.rename(path.with_name(name + suffix))
    path.touch(mode=0o600)  # it holds the key that signs tokens
    return path.with_name(name)


def _in_use(path: Path) -> bool:
    try:
        with closing(sqlite3.connect(path, timeout=1, isolation_level=None)) as connection:
            connection.execute("PRAGMA locking_mode = EXCLUSIVE")
            connection.execute("BEGIN EXCLUSIVE")
            connection.execute("ROLLBACK")
    except sqlite3.OperationalError as error:
        return error.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
    except sqlite3.DatabaseError:  # damaged, which is why it is replaced
        return False
    return False


def _count_on(connection: Connection) -> None:
    """Let PostgreSQL number new rows after those that were copied; SQLite does so by itself."""
    if connection.dialect.name != "postgresql":
        return
    for table in tables.metadata.sorted_tables:
        name = table.name  # one of this package's own
        connection.execute(text(
            f"SELECT setval(pg_get_serial_sequence('{name}', 'id'), GREATEST((SELECT MAX(id) FROM {name}), 1), "
            f"EXISTS (SELECT 1 FROM {name}))"
        ))  # fmt: skip
