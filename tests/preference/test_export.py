"""Votes out of both kinds of database."""

import hashlib
import json
import threading

import pandas as pd
import pytest
from sqlalchemy import event, select

from medfe.errors import MedfeError
from medfe.preference import copying, tables, tokens
from medfe.preference.database import connect, database_url
from medfe.preference.export import BAD, ORIGINAL, backup, check_target, export_votes, vote_table
from medfe.preference.records import Answer
from medfe.preference.store import VoteStore

from .conftest import Clock


def answer(choice):
    return Answer(tokens.random_name(), choice, 900, (1280, 720))


def answer_all(store, choices=("left",)):
    token, number = store.join("1"), 0
    while trial := store.next_trial(token):
        store.vote(token, trial.name, answer(choices[number % len(choices)]))
        number += 1
    return token


def test_a_row_says_who_won_by_name_and_what_was_said_before_a_correction(new_store):
    store = new_store()
    token = answer_all(store, ["left", "right", "tie"])
    store.correct(token, store.last_trial(token).name, tokens.random_name(), "tie")
    store.correct(token, store.last_trial(token).name, tokens.random_name(), "left")
    table = vote_table(store)
    assert table["first_choice"].tolist() == ["left", "right", "tie", "left", "right", "tie", "left", "right"]
    assert table["choice"].tolist() == ["left", "right", "tie", "left", "right", "tie", "left", "left"]
    for row in table.to_dict("records"):
        assert row["winner"] == {"left": row["left"], "right": row["right"], "tie": "tie"}[row["choice"]]
        names = {ORIGINAL, BAD} if row["kind"] == "catch" else {"method0", "method1"}
        assert {row["left"], row["right"]} == names
    assert table["position"].tolist() == list(range(8))


def test_a_row_tells_neither_time_of_day_nor_exact_window(new_store):
    clock = Clock()
    store = new_store(clock)
    token = store.join("1")
    for width in (699, 700, 1366):
        clock.now += 20.4
        trial = store.next_trial(token).name
        store.vote(token, trial, Answer(tokens.random_name(), "left", 900, (width, 657), pixel_ratio=1.3))
    table = vote_table(store)
    assert table["seconds"].tolist() == [20, 41, 61]
    assert table["viewport_width"].tolist() == [600, 700, 1300]
    assert set(table.columns) == {
        "rater", "position", "kind", "question", "item", "mask_area", "area_bin", "left", "right", "choice",
        "first_choice", "winner", "repeats", "milliseconds", "viewport_width", "zoomed", "seconds",
    }  # fmt: skip


def test_a_repetition_names_the_trial_it_repeats_with_sides_swapped(new_store):
    store = new_store()
    answer_all(store)
    table = vote_table(store).set_index("position")
    (again,) = table[table["kind"] == "repeat"].to_dict("records")
    first = table.loc[again["repeats"]]
    assert (first["left"], first["right"], first["item"]) == (again["right"], again["left"], again["item"])
    assert table.loc[table["kind"] != "repeat", "repeats"].isna().all()


def test_an_empty_study_exports_an_empty_table_with_all_columns(new_store, tmp_path):
    store = new_store()
    summary = export_votes(store, tmp_path / "out", peek=True)
    assert summary["rows"] == 0
    assert list(pd.read_csv(tmp_path / "out" / "votes.csv").columns) == list(vote_table(store).columns)


def test_files_hold_the_same_votes_and_their_checksums(new_store, tmp_path):
    store = new_store(target_votes=12)
    answer_all(store)
    answer_all(store, ["right"])
    export_votes(store, tmp_path / "out")
    summary = json.loads((tmp_path / "out" / "export.json").read_text())
    for name, digest in summary["sha256"].items():
        assert hashlib.sha256((tmp_path / "out" / name).read_bytes()).hexdigest() == digest
    parquet = pd.read_parquet(tmp_path / "out" / "votes.parquet")
    pd.testing.assert_frame_equal(parquet, vote_table(store), check_dtype=False)
    assert len(pd.read_csv(tmp_path / "out" / "votes.csv")) == summary["rows"] == 16
    assert (summary["schema_version"], summary["study"], summary["peeked"]) == (1, store.study.digest, False)
    assert summary["main_answers"] == 12


def test_before_the_target_nothing_is_shown_without_peeking(new_store, tmp_path):
    store = new_store(target_votes=7)
    answer_all(store)
    with pytest.raises(MedfeError, match="found 6 of 7 answers"):
        export_votes(store, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert export_votes(store, tmp_path / "out", peek=True)["peeked"]
    answer_all(store)
    assert check_target(store, peek=False) == 12


def test_a_backup_holds_every_row_and_can_take_the_database_s_place(new_store, tmp_path):
    store = new_store()
    token = answer_all(store)
    store.correct(token, store.last_trial(token).name, tokens.random_name(), "tie")
    unfinished = store.join("1")
    assert backup(store, tmp_path / "b" / "copy.sqlite") == 8
    copy = VoteStore.open(database_url(tmp_path, f"sqlite:///{tmp_path}/b/copy.sqlite"), store.study)
    for table in tables.metadata.sorted_tables:
        query = select(table).order_by(table.c.id)
        with store.engine.connect() as one, copy.engine.connect() as other:
            assert one.execute(query).all() == other.execute(query).all()
    copy.vote(unfinished, copy.next_trial(unfinished).name, answer("left"))
    assert (tmp_path / "b" / "copy.sqlite").stat().st_mode & 0o077 == 0
    copy.close()
    with pytest.raises(MedfeError, match="exists already"):
        backup(store, tmp_path / "b" / "copy.sqlite")


def test_a_backup_onto_a_full_disk_is_told_and_leaves_no_file(new_store, tmp_path, monkeypatch):
    store = new_store()
    answer_all(store)

    def connect_to_full_disk(url):
        engine = connect(url)
        event.listen(engine, "connect", lambda new, _: new.execute("PRAGMA max_page_count = 4").close())
        return engine

    monkeypatch.setattr(copying, "connect", connect_to_full_disk)
    with pytest.raises(MedfeError, match=r"copy.sqlite: .*disk is full") as error:
        backup(store, tmp_path / "b" / "copy.sqlite")
    assert "\n" not in str(error.value)
    assert list((tmp_path / "b").iterdir()) == []


def test_a_backup_while_votes_come_in_is_one_state_of_the_study(new_store, tmp_path):
    store = new_store(target_votes=10_000)
    stop, failures = threading.Event(), []

    def vote():
        try:
            while not stop.is_set():
                answer_all(store)
        except Exception as error:
            failures.append(error)

    voters = [threading.Thread(target=vote) for _ in range(3)]
    for voter in voters:
        voter.start()
    try:
        counts = [backup(store, tmp_path / f"{number}.sqlite") for number in range(3)]
    finally:
        stop.set()
        for voter in voters:
            voter.join()
    assert failures == []
    assert counts == sorted(counts)
    for number, votes in enumerate(counts):
        copy = VoteStore.open(database_url(tmp_path, f"sqlite:///{tmp_path}/{number}.sqlite"), store.study)
        table = vote_table(copy)
        assert len(table) == votes
        # In every session the answers are a beginning of it: no later vote without an earlier one.
        assert all(group.tolist() == list(range(len(group))) for _, group in table.groupby("rater")["position"])
        with copy.engine.connect() as connection:
            raters = len(connection.execute(select(tables.raters)).all())
            assert len(connection.execute(select(tables.trials)).all()) == 8 * raters
        copy.close()
    assert [path.suffix for path in tmp_path.glob(".*")] == []
