"""The same tests on SQLite and PostgreSQL."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import event, select, text, update
from sqlalchemy.exc import DBAPIError, IntegrityError

from medfe.errors import MedfeError
from medfe.preference import queries, tables, tokens
from medfe.preference.database import connect, database_url, writing
from medfe.preference.records import Answer, RefusedError
from medfe.preference.store import VoteStore


class Clock:
    """Time that a test moves."""

    now = 1_700_000_000.0

    def __call__(self):
        return self.now


def answer(choice="left", request=None, **changes):
    values = {"milliseconds": 1500, "viewport": (1280, 720), **changes}
    return Answer(request or tokens.random_name(), choice, **values)


def rows(store, table):
    with store.engine.connect() as connection:
        return connection.execute(select(table).order_by(table.c.id)).all()


def count(store, table):
    return len(rows(store, table))


def answer_all(store, token, choice="left"):
    while trial := store.next_trial(token):
        store.vote(token, trial.name, answer(choice))


@contextmanager
def refused(why):
    with pytest.raises(RefusedError) as error:
        yield
    assert error.value.why == why


def test_a_session_is_planned_whole_and_asked_in_order(new_store):
    store = new_store()
    token = store.join("1")
    assert [row.position for row in rows(store, tables.trials)] == list(range(8))
    assert sorted(row.kind for row in rows(store, tables.trials)) == ["catch"] + 6 * ["main"] + ["repeat"]
    for position in range(8):
        trial = store.next_trial(token)
        assert trial.position == position
        assert store.next_trial(token) == trial
        session = store.vote(token, trial.name, answer("tie"))
        assert (session.answered, session.total) == (position + 1, 8)
    assert store.next_trial(token) is None
    assert store.main_votes() == 6


def test_a_trial_is_committed_as_shown_before_it_is_returned(new_store):
    clock = Clock()
    store = new_store(clock)
    token = store.join("1")
    clock.now += 10
    trial = store.next_trial(token)
    clock.now += 10
    store.next_trial(token)
    shown = {row.name: row.shown for row in rows(store, tables.trials)}
    assert shown.pop(trial.name) == 1_700_000_010
    assert set(shown.values()) == {None}


def test_an_answer_is_kept_with_time_and_viewport_and_nothing_else(new_store):
    store = new_store(Clock())
    token = store.join("1")
    trial = store.next_trial(token)
    kept = answer("right", milliseconds=731, viewport=(390, 844), pixel_ratio=3.0, zoomed=True)
    store.vote(token, trial.name, kept)
    (row,) = rows(store, tables.votes)
    assert row._asdict() == {
        "id": row.id, "trial": row.trial, "request": kept.request, "choice": "right", "milliseconds": 731,
        "viewport_width": 390, "viewport_height": 844, "pixel_ratio": 3.0, "zoomed": 1, "saved": 1_700_000_000.0,
    }  # fmt: skip
    assert set(rows(store, tables.raters)[0]._asdict()) == {
        "id", "name", "consent_version", "joined", "deadline", "withdrawn",
    }  # fmt: skip


def test_a_retry_changes_nothing_and_is_answered_as_the_first(new_store):
    store = new_store()
    token = store.join("1")
    trial = store.next_trial(token)
    first = answer("left")
    assert store.vote(token, trial.name, first) == store.vote(token, trial.name, first)
    assert count(store, tables.votes) == 1


def test_fifty_identical_votes_at_once_make_one_row(new_store):
    store = new_store()
    token = store.join("1")
    trial = store.next_trial(token)
    same = answer("left")
    with ThreadPoolExecutor(50) as pool:
        sessions = list(pool.map(lambda _: store.vote(token, trial.name, same), range(50)))
    assert {session.answered for session in sessions} == {1}
    assert count(store, tables.votes) == 1


def test_of_fifty_different_votes_at_once_one_is_kept_and_the_others_are_refused(new_store):
    store = new_store()
    token = store.join("1")
    trial = store.next_trial(token)

    def vote(number):
        try:
            store.vote(token, trial.name, answer("left" if number % 2 else "right"))
        except RefusedError as error:
            return error.why
        return "saved"

    with ThreadPoolExecutor(50) as pool:
        outcomes = list(pool.map(vote, range(50)))
    assert sorted(set(outcomes)) == ["answered", "saved"]
    assert outcomes.count("saved") == 1
    assert count(store, tables.votes) == 1


def test_a_replayed_answer_gives_no_other_trial_an_answer(new_store):
    store = new_store()
    token = store.join("1")
    kept = answer("left")
    store.vote(token, store.next_trial(token).name, kept)
    with refused("answered"):
        store.vote(token, store.next_trial(token).name, kept)
    assert count(store, tables.votes) == 1


@pytest.mark.parametrize("forge", [
    lambda token: token[:-1] + ("0" if token[-1] != "0" else "1"),
    lambda token: tokens.random_name() + token[32:],
    lambda token: tokens.sign(token[:32], "00" * 32),
    lambda token: token[:32],
    lambda token: token[:0],
    lambda token: f"{token[:32]}' OR '1'='1",
    lambda token: token + "é",
])  # fmt: skip
def test_a_forged_token_is_refused(new_store, forge):
    store = new_store()
    token = store.join("1")
    trial = store.next_trial(token)
    for request in (
        lambda forged: store.vote(forged, trial.name, answer()),
        lambda forged: store.correct(forged, trial.name, tokens.random_name(), "left"),
        store.next_trial, store.last_trial, store.session, store.withdraw,
    ):  # fmt: skip
        with refused("token"):
            request(forge(token))
    assert count(store, tables.votes) == 0
    assert rows(store, tables.raters)[0].withdrawn is None


def test_another_rater_s_trial_is_refused(new_store):
    store = new_store()
    mine, other = store.join("1"), store.join("1")
    trial = store.next_trial(other)
    with refused("trial"):
        store.vote(mine, trial.name, answer())
    with refused("trial"):
        store.correct(mine, trial.name, tokens.random_name(), "left")
    assert count(store, tables.votes) == 0


@pytest.mark.parametrize("name", ["'; DROP TABLE votes; --", "0' OR '1'='1", "", "x" * 1000])
def test_sql_in_a_text_is_a_text(new_store, name):
    store = new_store()
    token = store.join("1")
    trial = store.next_trial(token)
    with refused("trial"):
        store.vote(token, name, answer())
    with pytest.raises((DBAPIError, RefusedError)):
        store.vote(token, trial.name, answer(choice=name))
    with refused("consent"):
        store.join(name)
    assert (count(store, tables.votes), count(store, tables.raters)) == (0, 1)


def test_a_trial_that_is_not_the_one_shown_is_refused(new_store):
    store = new_store()
    token = store.join("1")
    names = [row.name for row in rows(store, tables.trials)]
    with refused("not shown"):  # never shown at all
        store.vote(token, names[0], answer())
    store.next_trial(token)
    with refused("not shown"):
        store.vote(token, names[1], answer())
    assert count(store, tables.votes) == 0


def test_an_expired_trial_is_refused_but_its_answered_ones_can_be_retried(new_store):
    clock = Clock()
    store = new_store(clock, session_hours=1)
    token = store.join("1")
    first, kept = store.next_trial(token), answer()
    store.vote(token, first.name, kept)
    second = store.next_trial(token)
    clock.now += 3600
    for request in (
        lambda: store.vote(token, second.name, answer()), lambda: store.next_trial(token),
        lambda: store.last_trial(token), lambda: store.correct(token, first.name, tokens.random_name(), "tie"),
    ):  # fmt: skip
        with refused("expired"):
            request()
    assert store.session(token).expired
    assert store.vote(token, first.name, kept).answered == 1
    assert (count(store, tables.votes), count(store, tables.corrections)) == (1, 0)


def test_what_an_expired_session_left_open_goes_to_the_next_raters(new_store):
    clock = Clock()
    store = new_store(clock, items=6, session_hours=1, target_votes=100)
    first = store.join("1")
    store.vote(first, store.next_trial(first).name, answer())
    store.join("1")
    clock.now += 3600
    for _ in range(2):
        store.join("1")
    with store.engine.connect() as connection:
        history = queries.history(connection, store.study, clock.now)
    kept = sum(row.kind == "main" and row.position == 0 for row in rows(store, tables.trials)[:1])
    assert history.counts.sum() == 12 + kept
    assert np.ptp(history.counts.sum(axis=2)) <= 1


def test_a_correction_is_a_new_row_and_only_for_the_last_answer(new_store):
    store = new_store()
    token = store.join("1")
    assert store.last_trial(token) is None
    first = store.next_trial(token)
    with refused("not shown"):
        store.correct(token, first.name, tokens.random_name(), "tie")
    store.vote(token, first.name, answer("left"))
    request = tokens.random_name()
    for _ in range(2):
        assert store.correct(token, first.name, request, "right").answered == 1
    assert store.last_trial(token).name == first.name
    with refused("answered"):
        store.correct(token, first.name, request, "tie")
    second = store.next_trial(token)
    store.vote(token, second.name, answer("left"))
    with refused("not shown"):
        store.correct(token, first.name, tokens.random_name(), "tie")
    assert [row.choice for row in rows(store, tables.votes)] == ["left", "left"]
    assert [row.choice for row in rows(store, tables.corrections)] == ["right"]


def test_withdrawal_deletes_the_answers_of_one_rater_alone(new_store):
    store = new_store()
    leaving, staying = store.join("1"), store.join("1")
    answer_all(store, leaving)
    answer_all(store, staying)
    store.correct(leaving, store.last_trial(leaving).name, tokens.random_name(), "tie")
    store.withdraw(leaving)
    store.withdraw(leaving)
    assert (count(store, tables.votes), count(store, tables.corrections)) == (8, 0)
    with refused("withdrawn"):
        store.session(leaving)
    with refused("withdrawn"):
        store.vote(leaving, rows(store, tables.trials)[0].name, answer())
    assert store.session(staying).answered == 8


def test_raters_who_join_at_once_get_balanced_sessions(new_store):
    store = new_store(items=20, target_votes=10_000)
    with ThreadPoolExecutor(16) as pool:
        joined = list(pool.map(lambda _: store.join("1"), range(16)))
    assert len(set(joined)) == 16
    with store.engine.connect() as connection:
        counts = queries.history(connection, store.study, store.clock()).counts
    assert counts.sum() == 16 * 6
    assert np.ptp(counts.sum(axis=2)) <= 1
    assert np.abs(counts[..., 0] - counts[..., 1]).max() <= 1


def test_nobody_new_is_let_in_once_all_answers_are_given_or_promised(new_store):
    clock = Clock()
    store = new_store(clock, target_votes=12, session_hours=1)
    answer_all(store, store.join("1"))
    store.join("1")
    with refused("complete"):
        store.join("1")
    clock.now += 3600
    store.join("1")


def test_another_version_of_the_consent_is_refused(new_store):
    store = new_store(consent_version="2")
    with refused("consent"):
        store.join("1")
    assert count(store, tables.raters) == 0


def test_a_database_of_another_schema_version_is_refused(new_store):
    store = new_store()
    with writing(store.engine) as connection:
        connection.execute(update(tables.study).values(schema_version=99))
        connection.execute(text("ALTER TABLE study RENAME COLUMN secret TO renamed"))
    with pytest.raises(MedfeError, match="found schema version 99, expected 1"):
        VoteStore.open(store.engine.url, store.study)


def test_a_database_of_another_study_and_an_empty_one_are_refused(new_store, new_database, make_study):
    store = new_store()
    _, other = make_study(title="Another")
    with pytest.raises(MedfeError, match="belongs to another study"):
        VoteStore.open(store.engine.url, other)
    with pytest.raises(MedfeError, match="holds a study already"):
        VoteStore.create(store.engine.url, other)
    empty = new_database()
    connect(empty).connect().close()  # makes the file
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


# SQLite alone


@pytest.fixture
def sqlite_store(make_study, tmp_path):
    _, study = make_study()
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


def test_a_vote_on_a_full_disk_fails_and_is_not_kept(sqlite_store):
    token = sqlite_store.join("1")
    url, study = sqlite_store.engine.url, sqlite_store.study
    sqlite_store.close()
    full = connect(url)

    @event.listens_for(full, "connect")
    def _forbid_growth(connection, _record):
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count = {pages}").close()

    store, saved = VoteStore(full, study), []

    def vote_on(token):
        while len(saved) < 1000:
            answer_next = store.next_trial(token)
            if answer_next is None:
                token = store.join("1")
                continue
            store.vote(token, answer_next.name, kept := answer())
            saved.append(kept.request)

    with pytest.raises(DBAPIError, match="full"):
        vote_on(token)
    assert [row.request for row in rows(store, tables.votes)] == saved
    store.close()


def test_only_its_owner_reads_the_database(sqlite_store):
    for path in Path(sqlite_store.engine.url.database).parent.glob("votes.sqlite*"):
        assert path.stat().st_mode & 0o077 == 0


def test_a_missing_database_is_not_made(make_study, tmp_path):
    _, study = make_study()
    with pytest.raises(MedfeError, match="no such file"):
        VoteStore.open(database_url(tmp_path, None), study)
    assert not (tmp_path / "votes.sqlite").exists()


@pytest.mark.parametrize("url", ["mysql://a:secret@h/n", "votes", "sqlite://", "postgresql+unknown"])
def test_the_url_of_an_unknown_database_is_refused_without_its_password(tmp_path, url):
    with pytest.raises(MedfeError, match="expected postgresql://") as error:
        database_url(tmp_path, url)
    assert "secret" not in str(error.value)


def test_a_server_that_does_not_answer_is_told_without_its_password(make_study, tmp_path):
    _, study = make_study()
    with pytest.raises(MedfeError, match="cannot be") as error:
        VoteStore.create(database_url(tmp_path, "postgresql://ann:secret@127.0.0.1:1/none"), study)
    assert "secret" not in str(error.value)
    assert "\n" not in str(error.value)
