"""A backup in the place of the votes after a crash, on a full disk, or when it is stopped half-way."""

import contextlib
import sqlite3
import subprocess
import sys
from pathlib import Path
from unittest.mock import Mock

import pytest
from sqlalchemy.exc import DBAPIError

from medfe.errors import MedfeError
from medfe.preference import tables
from medfe.preference.database import database_url
from medfe.preference.export import backup, vote_table
from medfe.preference.restore import restore
from medfe.preference.store import VoteStore

from .conftest import backed_up, count, joined


def no_space():
    raise OSError(28, "No space left on device")


def test_if_it_fails_the_old_votes_are_where_they_were(new_store, tmp_path, monkeypatch):
    store = new_store(target_votes=1000)
    token = joined(store)
    backup(store, tmp_path / "copy.sqlite")
    store.withdraw(token)
    joined(store)
    url, study, before = store.engine.url, store.study, vote_table(store)
    store.close()
    statement = DBAPIError("INSERT", {}, Exception("database or disk is full"))
    with monkeypatch.context() as patch:
        patch.setattr("medfe.preference.restore.delete_answers", Mock(side_effect=statement))
        with pytest.raises(MedfeError, match=r"cannot be written .*disk is full"):
            restore(tmp_path / "copy.sqlite", url, study)
    again = VoteStore.open(url, study)
    assert vote_table(again).equals(before)
    again.close()
    assert not list(tmp_path.glob(".*.part*"))
    if url.get_backend_name() == "sqlite":
        rename = Path.rename
        with monkeypatch.context() as patch:
            patch.setattr(Path, "rename", lambda old, new: no_space() if old.suffix == ".part" else rename(old, new))
            with pytest.raises(MedfeError, match=r"cannot be written .*No space left"):
                restore(tmp_path / "copy.sqlite", url, study)
        assert not list(tmp_path.glob("*.replaced-*"))
        again = VoteStore.open(url, study)
        assert vote_table(again).equals(before)
        again.close()
    assert restore(tmp_path / "copy.sqlite", url, study)[:2] == (0, 1)


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
for _ in range(4):
    token = store.join("1")
    while trial := store.next_trial(token):
        store.vote(token, trial.name, Answer(tokens.random_name(), "left", milliseconds=900, viewport=(800, 600)))
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="kills a process")
@pytest.mark.parametrize("damaged", [False, True])
def test_after_a_crash_the_log_of_writes_is_not_played_over_the_backup(make_study, tmp_path, damaged):
    folder, study, url = backed_up(make_study, tmp_path / "copy.sqlite")
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


def test_a_backup_that_may_not_be_read_is_not_called_damaged(make_study, tmp_path, monkeypatch):
    copy = tmp_path / "copy.sqlite"
    _, study, url = backed_up(make_study, copy)
    refusal = sqlite3.OperationalError("unable to open database file")  # of permissions, of which root has all
    monkeypatch.setattr("medfe.preference.restore.sqlite3.connect", Mock(side_effect=refusal))
    with pytest.raises(MedfeError, match=r"copy\.sqlite: cannot be read \(unable to open database file\)"):
        restore(copy, url, study)


@pytest.mark.skipif(sys.platform != "linux", reason="mounts a small file system")
@pytest.mark.parametrize("kilobytes", range(64, 161, 16))
def test_on_a_nearly_full_disk_nothing_is_half_written(make_study, tmp_path, kilobytes):
    """Room for the log of writes need not be room for the database that it is then copied into."""
    _, study, url = backed_up(make_study, tmp_path / "copy.sqlite")
    small = tmp_path / "small"
    small.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "small", small], check=False).returncode:
        pytest.skip("no file system can be mounted here")
    try:
        with contextlib.closing(VoteStore.open(url, study)) as store:
            whole = written(lambda: backup(store, small / "copy.sqlite"), small / "copy.sqlite")
        if whole:
            (small / "copy.sqlite").unlink()
        there = database_url(small, None)
        whole &= written(lambda: restore(tmp_path / "copy.sqlite", there, study).votes, small / "votes.sqlite")
    finally:
        subprocess.run(["umount", small], check=True)
    assert whole or kilobytes < 160  # there is room for all
    assert not whole or kilobytes > 64  # and there for nothing


def written(write, path):
    """Tell whether it was, whole; otherwise nothing of it must be there."""
    message = ""
    try:
        assert write() == 8
    except MedfeError as error:
        message = str(error)
    if message:
        assert "full" in message
        assert list(path.parent.iterdir()) == []
        return False
    with contextlib.closing(sqlite3.connect(f"{path.as_uri()}?immutable=1", uri=True)) as file:
        assert file.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert file.execute("SELECT count(*) FROM votes").fetchone() == (8,)
    return True


@pytest.mark.parametrize("fault", [OSError(5, "Input/output error"), KeyboardInterrupt()])
@pytest.mark.parametrize("failing", ["votes.sqlite-shm", ".part"])
def test_whatever_stops_it_all_files_have_their_names_again(make_study, tmp_path, monkeypatch, fault, failing):
    folder, study, url = backed_up(make_study, tmp_path / "copy.sqlite")
    subprocess.run([sys.executable, "-c", KILLED, folder], check=False)
    (folder / "votes.sqlite").rename(folder / "lost")  # else its log is emptied when it is opened
    rename, before = Path.rename, {path.name: path.read_bytes() for path in folder.glob("votes.sqlite*")}
    assert before.keys() == {"votes.sqlite-wal", "votes.sqlite-shm"}

    def break_off(old, new):
        if old.name.endswith(failing):
            raise fault
        return rename(old, new)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", break_off)
        with pytest.raises((MedfeError, KeyboardInterrupt)):
            restore(tmp_path / "copy.sqlite", url, study)
    assert {path.name: path.read_bytes() for path in folder.glob("votes.sqlite*")} == before
    assert not list(folder.glob(".*.part*"))


def test_a_log_without_its_database_is_put_aside_and_not_taken_for_the_old_votes(make_study, tmp_path):
    folder, study, url = backed_up(make_study, tmp_path / "copy.sqlite")
    (folder / "votes.sqlite").rename(folder / "votes.sqlite-wal")
    assert restore(tmp_path / "copy.sqlite", url, study) == (8, None, None)
    assert len(list(folder.glob("votes.sqlite.replaced-*-wal"))) == 1
    assert not (folder / "votes.sqlite-wal").exists()


def test_old_votes_that_cannot_be_opened_are_not_taken_for_damaged(make_study, tmp_path):
    folder, study, url = backed_up(make_study, tmp_path / "copy.sqlite")
    (folder / "votes.sqlite").rename(folder / "elsewhere")
    (folder / "votes.sqlite").mkdir()  # SQLite answers as where permission is missing, of whom root has all
    with pytest.raises(MedfeError, match=r"votes\.sqlite: cannot be read \(unable to open .*move it away"):
        restore(tmp_path / "copy.sqlite", url, study)
    assert (folder / "votes.sqlite").is_dir()
