"""A backup put in the place of a study's votes, without bringing back what was withdrawn since."""

from __future__ import annotations

import datetime
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from sqlalchemy import URL, Connection, Engine, StaticPool, create_engine, delete, func, insert, select, text
from sqlalchemy.exc import DBAPIError

from medfe.errors import MedfeError
from medfe.preference import tables
from medfe.preference.copying import OF_DATABASE, copy_rows, write_database
from medfe.preference.database import connect, has_tables, reason, writing
from medfe.preference.definition import Study
from medfe.preference.queries import read_study
from medfe.preference.store import VoteStore, delete_answers
from medfe.preference.tables import raters, votes

_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_BUSY = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
_Withdrawn = Sequence[Mapping[str, Any]] | None
"""Rows of raters who have withdrawn by now; None: there is no database, or a damaged one."""


class Restored(NamedTuple):
    """What a restored database holds."""

    votes: int
    withdrawn: int | None
    """Raters whose answers were left out because they withdrew after the backup; None: no old votes could be read."""
    put_aside: Path | None
    """Where the old SQLite file lies, if there was one."""


def restore(source: Path, url: URL, study: Study) -> Restored:
    """Replace the votes of a study by those of a backup; a SQLite file that was there is put aside, not deleted.

    Raters who withdrew after the backup stay withdrawn, and their answers are left out, unless the old database is
    damaged. Their answers remain in the backup itself. If it fails, the old votes are where they were.

    Args:
        source: What `backup` wrote.
        url: Database of the study.
        study: Its definition.

    Raises:
        MedfeError: if backup or database are of another study, the backup is none or damaged, the study is being served
            from SQLite, or the database cannot be read or written.
    """
    backup = _open_backup(source, study)
    where = url.render_as_string(hide_password=True)
    try:
        if url.get_backend_name() == "sqlite":
            return _restore_file(backup, Path(url.database or ""))
        engine = connect(url)
        try:
            with writing(engine) as connection:
                return Restored(*_fill(backup, connection, _withdrawn_on_server(connection, study)), None)
        finally:
            engine.dispose()
    except DBAPIError as error:
        raise MedfeError(f"{where}: cannot be written ({reason(error)})") from None
    except OSError as error:
        raise MedfeError(f"{where}: cannot be written ({error.strerror or error})") from None
    finally:
        backup.close()


def _open_backup(source: Path, study: Study) -> VoteStore:
    if not source.is_file():
        raise MedfeError(f"{source}: no such file, expected what `medfe study backup` wrote")
    if source.with_name(source.name + "-wal").exists():
        raise MedfeError(f"{source}: is a database in use or left by a crash, expected what `medfe study backup` wrote")
    # Never written to: the file may be protected, or all that is left.
    file = sqlite3.connect(f"{source.absolute().as_uri()}?mode=ro&immutable=1", uri=True, check_same_thread=False)
    try:
        found = str(file.execute("PRAGMA integrity_check").fetchone()[0])
    except sqlite3.DatabaseError as error:
        found = str(error)
    if found != "ok":
        file.close()
        raise MedfeError(f"{source}: damaged ({' '.join(found.split())})")
    try:
        return VoteStore(_engine(file), study)
    except MedfeError as error:
        file.close()
        raise MedfeError(f"{source}: {error}") from None


def _restore_file(backup: VoteStore, path: Path) -> Restored:
    aside: list[Path] = []
    with _held(path, backup.study) as (gone, release):

        def publish(new: Path, path: Path) -> None:
            release()  # Windows renames no open file
            aside.extend(_put_aside(path))
            try:
                new.rename(path)
            except OSError:
                for old, suffix in zip(aside, OF_DATABASE, strict=False):
                    old.rename(path.with_name(path.name + suffix))
                raise

        filled = write_database(path, lambda connection: _fill(backup, connection, gone), publish)
    return Restored(*filled, aside[0] if aside else None)


def _fill(backup: VoteStore, connection: Connection, gone: _Withdrawn) -> tuple[int, int | None]:
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


def _withdrawn(connection: Connection, study: Study) -> _Withdrawn:
    if not has_tables(connection):
        return None
    read_study(connection, study)
    rows = connection.execute(select(raters).where(raters.c.withdrawn.is_not(None)).order_by(raters.c.id))
    return [dict(row) for row in rows.mappings()]


def _withdrawn_on_server(connection: Connection, study: Study) -> _Withdrawn:
    """Keep others out of the tables until the transaction ends, and return who has withdrawn."""
    if has_tables(connection):
        names = ", ".join(table.name for table in tables.metadata.sorted_tables)
        connection.execute(text(f"LOCK TABLE {names} IN ACCESS EXCLUSIVE MODE"))
    return _withdrawn(connection, study)


@contextmanager
def _held(path: Path, study: Study) -> Iterator[tuple[_Withdrawn, Callable[[], None]]]:
    """Keep others out of a SQLite database; yield who has withdrawn, and the function that lets others in again."""
    if not path.exists():
        yield None, lambda: None
        return
    with ExitStack() as stack:
        gone: _Withdrawn = None
        try:
            file = sqlite3.connect(path, timeout=1, isolation_level=None, check_same_thread=False)
            stack.callback(file.close)
            file.execute("PRAGMA locking_mode = EXCLUSIVE")  # kept until it is closed
            file.execute("BEGIN EXCLUSIVE")
            file.execute("COMMIT")
            with _engine(file).connect() as connection:
                gone = _withdrawn(connection, study)
        except (sqlite3.Error, DBAPIError) as error:
            fault = error.orig if isinstance(error, DBAPIError) else error
            code = getattr(fault, "sqlite_errorcode", 0) & 0xFF
            if code in _BUSY:
                raise MedfeError(f"{path}: is in use, stop the server of the study first") from None
            if code not in _DAMAGED:  # a damaged one is what is replaced
                raise MedfeError(f"{path}: cannot be read ({fault})") from None
        yield gone, stack.close


def _engine(file: sqlite3.Connection) -> Engine:
    return create_engine("sqlite+pysqlite://", creator=lambda: file, poolclass=StaticPool)


def _put_aside(path: Path) -> list[Path]:
    """Rename a SQLite database with its log, which would be played over any file put beside it; return new names."""
    name = f"{path.name}.replaced-{datetime.datetime.now(datetime.UTC):%Y%m%dT%H%M%S%f}"
    renamed = []
    for suffix in OF_DATABASE:
        old = path.with_name(path.name + suffix)
        if old.exists():
            renamed.append(old.rename(path.with_name(name + suffix)))
    return renamed


def _number_on(connection: Connection) -> None:
    """Let PostgreSQL number new rows after those that were copied; SQLite does so by itself."""
    if connection.dialect.name != "postgresql":
        return
    for table in tables.metadata.sorted_tables:
        last = connection.execute(select(func.max(table.c.id))).scalar_one()
        sequence = func.pg_get_serial_sequence(table.name, "id")
        connection.execute(select(func.setval(sequence, last or 1, last is not None)))
