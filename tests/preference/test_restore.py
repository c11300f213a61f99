"""A backup in the place of the votes: after a crash, on both databases, and without what was withdrawn since."""

import shutil
import sqlite3
import subprocess
import sys

import pytest

from medfe.errors import MedfeError
from medfe.preference import tables
from medfe.preference.database import database_url
from medfe.preference.export import backup, vote_table
from medfe.preference.restore import restore
from medfe.preference.store import VoteStore

from .conftest import answer, answer_all, count, refused, rows


def joined(store, choice="left"):
    token = store.join("1")
    answer_all(store, token, choice)
    return token


def test_votes_are_again_as_they_were_and_the_study_goes_on(new_store, tmp_path):
    store = new_store(target_votes=1000)
    joined(store)
    unfinished = store.join("1")
    store.vote(unfinished, store.next_trial(unfinished).name, answer("tie"))
    before = vote_table(store)
    backup(store, tmp_path / "copy.sqlite")
    late = joined(store, "right")
    url, study = store.engine.url, store.study
    store.close()

    found = restore(tmp_path / "copy.sqlite", url, study)
    assert (found.votes, found.withdrawn) == (9, 0)
    again = VoteStore.open(url, study)
    try:
        assert vote_table(again).equals(before)
        with refused("token"):  # who joined later is not known any more
            again.session(late)
        answer_all(again, unfinished)
        joined(again)  # new rows are numbered on
        assert count(again, tables.votes) == 24
    finally:
        again.close()


def test_who_withdrew_after_the_backup_stays_withdrawn(new_store, tmp_path):
    store = new_store(target_votes=1000)
    tokens = [joined(store) for _ in range(3)]
    store.withdraw(tokens[0])
    backup(store, tmp_path / "copy.sqlite")
    store.withdraw(tokens[1])
    url, study = store.engine.url, store.study
    store.close()
    found = restore(tmp_path / "copy.sqlite", url, study)
    assert (found.votes, found.withdrawn) == (8, 1)
    again = VoteStore.open(url, study)
    try:
        assert [row.withdrawn is None for row in rows(again, tables.raters)] == [False, False, True]
        assert set(vote_table(again)["rater"]) == {3}
        with refused("withdrawn"):
            again.session(tokens[1])
    finally:
        again.close()


KILLED = """
import os, signal, sys
from pathlib import Path
from medfe.preference.database import database_url
from medfe.preference import tokens
from medfe.preference.folder import load_study
from medfe.preference.records import Answer
from medfe.preference.store import VoteStore
folder = Path(sys.argv[1])
store = VoteStore.open(database_url(folder, None), load_study(folder))
for _ in range(12):
    token = store.join("1")
    while trial := store.next_trial(token):
        store.vote(token, trial.name, Answer(tokens.random_name(), "left", milliseconds=900, viewport=(800, 600)))
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="kills a process")
@pytest.mark.parametrize("damaged", [False, True])
def test_after_a_crash_the_log_of_writes_is_not_played_over_the_backup(make_study, tmp_path, damaged):
    folder, study = make_study(target_votes=1000)
    url = database_url(folder, None)
    store = VoteStore.create(url, study)
    joined(store)
    backup(store, tmp_path / "copy.sqlite")
    store.close()
    subprocess.run([sys.executable, "-c", KILLED, folder], check=False)
    assert (folder / "votes.sqlite-wal").stat().st_size > 0
    if damaged:
        (folder / "votes.sqlite").write_bytes(b"no database" * 1000)
    found = restore(tmp_path / "copy.sqlite", url, study)
    assert (found.votes, found.withdrawn) == (8, None if damaged else 0)
    assert found.put_aside.is_file()
    again = VoteStore.open(url, study)
    try:
        assert count(again, tables.votes) == 8
        assert (folder / "votes.sqlite").stat().st_mode & 0o077 == 0
    finally:
        again.close()
    with sqlite3.connect(folder / "votes.sqlite") as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_a_served_study_a_damaged_backup_and_that_of_another_study_are_refused(make_study, tmp_path):
    folder, study = make_study(target_votes=1000)
    url = database_url(folder, None)
    store = VoteStore.create(url, study)
    joined(store)
    copy = tmp_path / "copy.sqlite"
    backup(store, copy)
    with pytest.raises(MedfeError, match=r"votes\.sqlite: is in use, stop the server of the study first"):
        restore(copy, url, study)
    joined(store)
    store.close()
    _, other = make_study("other", target_votes=7)
    with pytest.raises(MedfeError, match="belongs to another study"):
        restore(copy, url, other)
    with pytest.raises(MedfeError, match=r"nothing\.sqlite: no such file"):
        restore(tmp_path / "nothing.sqlite", url, study)
    broken = shutil.copy(copy, tmp_path / "broken.sqlite")
    content = bytearray(copy.read_bytes())
    content[-6000:-2000] = bytes(4000)
    (tmp_path / "broken.sqlite").write_bytes(content)
    with pytest.raises(MedfeError, match=r"broken\.sqlite"):
        restore(broken, url, study)
    again = VoteStore.open(url, study)
    try:
        assert count(again, tables.votes) == 16
    finally:
        again.close()
    assert sorted(path.name for path in folder.glob("votes.sqlite*")) == ["votes.sqlite"]
