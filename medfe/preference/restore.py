"""A backup put in the place of a study's votes, without bringing back what was withdrawn since."""

from __future__ import annotations

import datetime
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from sqlalchemy import URL, Connection, Engine, StaticPool, create_engine, delete, func, insert, select, text
from sqlalchemy.exc import DBAPIError

from medfe.errors import MedfeError
from medfe.preference import tables
from medfe.preference.copying import SQLITE_SUFFIXES, copy_rows, write_database
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
    with ExitStack() as stack:
        try:
            # Never written to: the file may be protected, or all that is left.
            name = f"{source.absolute().as_uri()}?mode=ro&immutable=1"
            file = stack.enter_context(closing(sqlite3.connect(name, uri=True, check_same_thread=False)))
            found = str(file.execute("PRAGMA integrity_check").fetchone()[0])
        except sqlite3.Error as error:
            if _code(error) not in _DAMAGED:
                raise MedfeError(f"{source}: cannot be read ({error})") from None
            found = str(error)
        if found != "ok":
            raise MedfeError(f"{source}: damaged ({' '.join(found.split())})")
        backup = VoteStore(_engine(file, source), study)
        stack.pop_all()
        return backup


def _restore_file(backup: VoteStore, path: Path) -> Restored:
    # The log goes with its database: it would be played over any file put beside it.
    now = f"{datetime.datetime.now(datetime.UTC):%Y%m%dT%H%M%S%f}"
    names = {suffix: path.with_name(f"{path.name}.replaced-{now}{suffix}") for suffix in SQLITE_SUFFIXES}
    aside = {path.with_name(path.name + suffix): name for suffix, name in names.items()}
    with _held(path, backup.study) as (gone, release):

        def publish(new: Path, final: Path) -> None:
            release()  # Windows renames no open file
            try:
                for old, name in aside.items():
                    if old.exists():
                        old.rename(name)
                new.rename(final)
            except BaseException:
                for old, name in aside.items():
                    if name.exists():
                        name.rename(old)
                raise

        filled = write_database(path, lambda connection: _fill(backup, connection, gone), publish)
    return Restored(*filled, names[""] if names[""].exists() else None)


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
            with _engine(file, path).connect() as connection:
                gone = _withdrawn(connection, study)
        except (sqlite3.Error, DBAPIError) as error:
            fault = error.orig if isinstance(error, DBAPIError) else error
            if _code(fault) in _BUSY:
                raise MedfeError(f"{path}: is in use, stop the server of the study first") from None
            if _code(fault) not in _DAMAGED:  # a damaged one is what is replaced
                raise MedfeError(
                    f"{path}: cannot be read ({fault}); to restore without it, move it away: answers that were "
                    "withdrawn since the backup then come back"
                ) from None
        yield gone, stack.close


def _engine(file: sqlite3.Connection, path: Path) -> Engine:
    url = URL.create("sqlite+pysqlite", database=str(path))
    return create_engine(url, creator=lambda: file, poolclass=StaticPool)


def _code(error: BaseException | None) -> int:
    """Return SQLite's primary result code."""
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF


def _number_on(connection: Connection) -> None:
    """Let PostgreSQL number new rows after those that were copied; SQLite does so by itself."""
    if connection.dialect.name != "postgresql":
        return
    for table in tables.metadata.sorted_tables:
        last = connection.execute(select(func.max(table.c.id))).scalar_one()
        sequence = func.pg_get_serial_sequence(table.name, "id")
        connection.execute(select(func.setval(sequence, last or 1, last is not None)))
