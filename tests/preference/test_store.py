"""What a store of votes keeps, the same on SQLite and PostgreSQL."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np

from medfe.preference import queries, tables, tokens
from medfe.preference.records import Participation, RefusedError
from medfe.preference.store import VoteStore

from .conftest import Clock, answer, answer_all, count, refused, rows


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


def test_a_request_to_join_that_comes_again_gets_the_same_rater(new_store):
    store, request = new_store(), tokens.random_name()
    token = store.join("1", request=request)
    assert store.join("1", request=request) == token
    assert request not in token
    assert store.join("1", request=tokens.random_name()) != token
    assert (count(store, tables.raters), count(store, tables.trials)) == (2, 16)
    with ThreadPoolExecutor(4) as pool:
        assert len(set(pool.map(lambda _: store.join("1", request="f" * 32), range(4)))) == 1


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


def test_the_report_s_count_of_people_tells_who_left(new_store):
    store = new_store(clock := Clock(), items=30, target_votes=10_000)
    _silent, leaving, left_at_once, *staying = (store.join("1") for _ in range(5))
    for token in (leaving, *staying):
        store.vote(token, store.next_trial(token).name, answer())
    store.withdraw(leaving)
    store.withdraw(left_at_once)
    assert store.participation() == Participation(joined=5, silent=1, withdrawn=2, going_on=3)
    answer_all(store, staying[0])
    assert store.participation().going_on == 2
    clock.now += 3600  # over half an hour after joining the silent one's place is given away
    assert store.participation().going_on == 1
    clock.now += 24 * 3600
    assert store.participation() == Participation(joined=5, silent=1, withdrawn=2, going_on=0)


def test_two_servers_on_one_database_share_out_balanced_sessions_and_keep_every_vote(new_store):
    store = new_store(items=8, target_votes=10_000)
    servers = [VoteStore.open(store.engine.url, store.study) for _ in range(2)]

    def take_part(number):
        mine, other = servers[number % 2], servers[1 - number % 2]
        token = mine.join("1")
        while trial := mine.next_trial(token):
            other.vote(token, trial.name, answer())

    with ThreadPoolExecutor(12) as pool:
        list(pool.map(take_part, range(12)))
    for server in servers:
        server.close()
    with store.engine.connect() as connection:
        counts = queries.history(connection, store.study, store.clock()).counts
    assert (counts.sum(axis=2) == 9).all()
    assert np.abs(counts[..., 0] - counts[..., 1]).max() == 1
    assert count(store, tables.votes) == 12 * 8


def test_a_clock_that_is_set_back_stops_nobody(new_store):
    clock = Clock()
    store = new_store(clock, session_hours=1)
    token = store.join("1")
    store.next_trial(token)
    clock.now -= 86_400
    answer_all(store, token)
    assert store.session(token).answered == 8
