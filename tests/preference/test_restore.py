"""A backup in the place of the votes: on both databases, and without what was withdrawn since."""

import contextlib
import shutil
import sqlite3

import pytest
from sqlalchemy.exc import DBAPIError

from medfe.errors import MedfeError
from medfe.preference import tables
from medfe.preference.database import database_url
from medfe.preference.export import backup, vote_table
from medfe.preference.restore import _fill, restore
from medfe.preference.store import VoteStore

from .conftest import answer, answer_all, backed_up, count, joined, refused, rows


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
    raters = [joined(store) for _ in range(2)]
    store.withdraw(raters[0])
    backup(store, tmp_path / "first.sqlite")
    raters.append(joined(store))
    backup(store, tmp_path / "second.sqlite")
    for token in raters[1:]:
        store.withdraw(token)
    joined(store)
    url, study = store.engine.url, store.study
    store.close()
    for name, answers in (("first", 1), ("second", 2), ("first", 1)):  # whoever takes the wrong one first
        found = restore(tmp_path / f"{name}.sqlite", url, study)
        assert (found.votes, found.withdrawn) == (0, answers)
        again = VoteStore.open(url, study)
        try:
            assert [row.withdrawn is None for row in rows(again, tables.raters)] == [False] * 3
            assert (len(vote_table(again)), again.main_votes()) == (0, 0)
            for token in raters:
                with refused("withdrawn"):
                    again.session(token)
        finally:
            again.close()


def test_a_database_of_another_study_is_left_alone(new_database, make_study, tmp_path):
    _, study = make_study(pictures=False)
    _, other = make_study(pictures=False, target_votes=7)
    urls = [new_database(), new_database()]
    for url, one in zip(urls, (study, other), strict=True):
        store = VoteStore.create(url, one)
        joined(store)
        if one is study:
            backup(store, tmp_path / "copy.sqlite")
        store.close()
    with pytest.raises(MedfeError, match="belongs to another study"):
        restore(tmp_path / "copy.sqlite", urls[1], study)
    kept = VoteStore.open(urls[1], other)
    assert count(kept, tables.votes) == 8
    kept.close()
    fresh = new_database()  # an empty database is what a new server has
    assert restore(tmp_path / "copy.sqlite", fresh, study) == (8, None, None)


def test_a_server_cannot_begin_while_votes_are_restored(make_study, tmp_path, monkeypatch):
    _, study, url = backed_up(make_study, tmp_path / "copy.sqlite")
    monkeypatch.setattr("medfe.preference.database.BUSY_SECONDS", 0.2)
    refusals = []

    def fill(*arguments):
        try:
            with contextlib.closing(VoteStore.open(url, study)) as late:
                late.join("1")
        except (MedfeError, DBAPIError) as error:
            refusals.append(str(error))
        return _fill(*arguments)

    monkeypatch.setattr("medfe.preference.restore._fill", fill)
    assert restore(tmp_path / "copy.sqlite", url, study).votes == 8
    assert len(refusals) == 1
    assert "locked" in refusals[0]


def test_a_backup_is_only_read_whoever_looked_at_it_before(make_study, tmp_path):
    copy = tmp_path / "alone" / "copy.sqlite"
    _, study, url = backed_up(make_study, copy)
    content = copy.read_bytes()
    with contextlib.closing(sqlite3.connect(f"{copy.as_uri()}?mode=ro", uri=True)) as reader:
        assert reader.execute("SELECT count(*) FROM votes").fetchone() == (8,)
    assert restore(copy, url, study).votes == 8
    assert copy.read_bytes() == content
    assert list(copy.parent.iterdir()) == [copy]


def test_a_served_study_a_damaged_backup_and_that_of_another_study_are_refused(make_study, tmp_path):
    folder, study = make_study(target_votes=1000)
    url = database_url(folder, None)
    store = VoteStore.create(url, study)
    joined(store)
    copy = tmp_path / "copy.sqlite"
    backup(store, copy)
    with pytest.raises(MedfeError, match=r"votes\.sqlite: is in use, stop the server of the study first"):
        restore(copy, url, study)
    with pytest.raises(MedfeError, match=r"votes\.sqlite: is a database in use or left by a crash"):
        restore(folder / "votes.sqlite", url, study)
    joined(store)
    store.close()
    _, other = make_study("other", target_votes=7)
    with pytest.raises(MedfeError, match=r"copy\.sqlite: belongs to another study"):
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
