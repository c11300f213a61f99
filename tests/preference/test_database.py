"""Databases of votes: whose they are, what they enforce, what is told of one that cannot be used."""

import sqlite3
import time
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import event, text, update
from sqlalchemy.exc import DBAPIError, IntegrityError

from medfe.errors import MedfeError
from medfe.preference import tables, tokens
from medfe.preference.database import (
    BUSY_SECONDS,
    check_empty,
    connect,
    database_url,
    disk_is_full,
    reading,
    writing,
)  # fmt: skip
from medfe.preference.store import VoteStore

from .conftest import answer, count, rows


def test_a_database_of_another_schema_version_is_refused(new_store):
    store = new_store()
    with writing(store.engine) as connection:
        connection.execute(update(tables.study).values(schema_version=99))
        connection.execute(text("ALTER TABLE study RENAME COLUMN secret TO renamed"))
    with pytest.raises(MedfeError, match="found schema version 99, expected 1"):
        VoteStore.open(store.engine.url, store.study)


def test_a_database_of_another_study_and_an_empty_one_are_refused(new_store, new_database, make_study):
    store = new_store()
    _, other = make_study(pictures=False, title="Another")
    with pytest.raises(MedfeError, match="belongs to another study"):
        VoteStore.open(store.engine.url, other)
    with pytest.raises(MedfeError, match="holds a study already"):
        VoteStore.create(store.engine.url, other)
    with pytest.raises(MedfeError, match="holds a study already"):
        check_empty(store.engine.url)
    empty = new_database()
    connect(empty).connect().close()  # makes the file
    check_empty(empty)
    with pytest.raises(MedfeError, match="found no study"):
        VoteStore.open(empty, other)


def test_votes_are_found_again_by_another_process_s_store(new_store):
    store = new_store()
    token = store.join("1")
    store.vote(token, store.next_trial(token).name, answer())
    again = VoteStore.open(store.engine.url, store.study)
    assert again.session(token).answered == 1
    again.close()


def test_the_database_itself_keeps_votes_unique_and_choices_known(new_store):
    store = new_store()
    token = store.join("1")
    trial = store.next_trial(token)
    store.vote(token, trial.name, answer())
    (row,) = rows(store, tables.votes)
    values = {**row._asdict(), "id": row.id + 1, "request": tokens.random_name()}
    for change in ({}, {"trial": row.trial + 1, "choice": "both"}, {"trial": 10**6}):
        with pytest.raises(IntegrityError), writing(store.engine) as connection:
            connection.execute(tables.votes.insert().values(**values | change))
    assert count(store, tables.votes) == 1


@pytest.fixture
def sqlite_store(make_study, tmp_path):
    _, study = make_study(pictures=False)
    store = VoteStore.create(database_url(tmp_path, None), study)
    yield store
    store.close()


def test_sqlite_flushes_every_commit_and_checks_foreign_keys(sqlite_store):
    with sqlite_store.engine.connect() as connection:
        found = {
            name: connection.execute(text(f"PRAGMA {name}")).scalar_one()
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        }
    assert found == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "busy_timeout": 20_000}


def test_answers_that_were_withdrawn_are_in_no_byte_of_the_files(sqlite_store):
    tokens_of = [sqlite_store.join("1") for _ in range(4)]
    given = {token: [] for token in tokens_of}
    for _ in range(8):
        for token in tokens_of:
            trial = sqlite_store.next_trial(token)
            given[token] += [tokens.random_name(), tokens.random_name()]
            sqlite_store.vote(token, trial.name, answer(request=given[token][-2]))
            sqlite_store.correct(token, trial.name, given[token][-1], "tie")

    def readable():
        files = Path(sqlite_store.engine.url.database).parent.glob("votes.sqlite*")
        content = b"".join(path.read_bytes() for path in files)
        return [sum(name.encode() in content for name in given[token]) for token in tokens_of]

    assert readable() == [16, 16, 16, 16]
    sqlite_store.withdraw(tokens_of[1])
    assert readable() == [16, 0, 16, 16]


def test_a_withdrawal_does_not_wait_for_a_reader_and_the_same_again_clears_the_log(sqlite_store):
    token = sqlite_store.join("1")
    name = tokens.random_name()
    sqlite_store.vote(token, sqlite_store.next_trial(token).name, answer(request=name))

    def is_readable():
        files = Path(sqlite_store.engine.url.database).parent.glob("votes.sqlite*")
        return any(name.encode() in path.read_bytes() for path in files)

    with reading(sqlite_store.engine) as connection:
        connection.execute(tables.votes.select()).all()
        started = time.monotonic()
        sqlite_store.withdraw(token)
        assert time.monotonic() - started < BUSY_SECONDS / 2
        assert is_readable()
    sqlite_store.withdraw(token)
    assert not is_readable()


def test_a_withdrawal_is_kept_where_sqlite_s_log_cannot_be_emptied(sqlite_store, caplog):
    token = sqlite_store.join("1")
    sqlite_store.vote(token, sqlite_store.next_trial(token).name, answer())
    event.listen(sqlite_store.engine, "checkout", _deny_checkpoints)
    sqlite_store.withdraw(token)
    assert count(sqlite_store, tables.votes) == 0
    assert "stays in SQLite's log for now" in caplog.text


def _deny_checkpoints(connection, *_):
    denied = {sqlite3.SQLITE_PRAGMA: {"wal_checkpoint"}}
    connection.set_authorizer(
        lambda action, name, *_: sqlite3.SQLITE_DENY if name in denied.get(action, ()) else sqlite3.SQLITE_OK
    )


def test_a_full_disk_is_known_by_its_number_whatever_the_words():
    refused = psycopg.errors.DiskFull("no se pudo extender el archivo")
    assert disk_is_full(DBAPIError("INSERT", {}, refused))
    assert not disk_is_full(DBAPIError("INSERT", {}, psycopg.errors.TooManyConnections("the table of clients is full")))


def test_only_its_owner_reads_the_database(sqlite_store):
    for path in Path(sqlite_store.engine.url.database).parent.glob("votes.sqlite*"):
        assert path.stat().st_mode & 0o077 == 0


def test_a_missing_database_is_not_made(make_study, tmp_path):
    _, study = make_study(pictures=False)
    check_empty(database_url(tmp_path, None))
    with pytest.raises(MedfeError, match="no such file"):
        VoteStore.open(database_url(tmp_path, None), study)
    assert not (tmp_path / "votes.sqlite").exists()


@pytest.mark.parametrize("url", ["mysql://a:secret@h/n", "votes", "sqlite://", "postgresql+unknown"])
def test_the_url_of_an_unknown_database_is_refused_without_its_password(tmp_path, url):
    with pytest.raises(MedfeError, match="expected postgresql://") as error:
        database_url(tmp_path, url)
    assert "secret" not in str(error.value)


def test_a_server_that_does_not_answer_is_told_without_its_password(make_study, tmp_path):
    url = database_url(tmp_path, "postgresql://ann:secret@127.0.0.1:1/none")
    for use in (check_empty, lambda url: VoteStore.create(url, make_study(pictures=False)[1])):
        with pytest.raises(MedfeError, match="cannot be") as error:
            use(url)
        assert "secret" not in str(error.value)
        assert "\n" not in str(error.value)
