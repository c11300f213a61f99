"""What a store of votes refuses, the same on SQLite and PostgreSQL; a refusal changes nothing."""

import pytest
from sqlalchemy.exc import DBAPIError

from medfe.preference import queries, tables, tokens
from medfe.preference.records import RefusedError
from medfe.preference.store import HOURS_TO_BEGIN

from .conftest import Clock, answer, answer_all, count, refused, rows


def test_a_replayed_answer_gives_no_other_trial_an_answer(new_store):
    store = new_store()
    token = store.join("1")
    kept = answer("left")
    store.vote(token, store.next_trial(token).name, kept)
    with refused("answered"):
        store.vote(token, store.next_trial(token).name, kept)
    assert count(store, tables.votes) == 1


def test_a_forged_token_is_refused(new_store):
    store = new_store()
    token = store.join("1")
    trial = store.next_trial(token)
    requests = (
        lambda forged: store.vote(forged, trial.name, answer()),
        lambda forged: store.correct(forged, trial.name, tokens.random_name(), "left"),
        store.next_trial, store.last_trial, store.session, store.withdraw,
    )  # fmt: skip
    for forged in (
        token[:-1] + ("0" if token[-1] != "0" else "1"), tokens.random_name() + token[32:],
        tokens.sign(token[:32], "00" * 32), token[:32], "", f"{token[:32]}' OR '1'='1", token + "é",
    ):  # fmt: skip
        for request in requests:
            with refused("token"):
                request(forged)
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


def test_sql_in_a_text_is_a_text(new_store):
    store = new_store()
    token = store.join("1")
    trial = store.next_trial(token)
    for name in ("'; DROP TABLE votes; --", "0' OR '1'='1", "", "x" * 1000):
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


def test_another_version_of_the_consent_is_refused(new_store):
    store = new_store(consent_version="2")
    with refused("consent"):
        store.join("1")
    assert count(store, tables.raters) == 0


def test_nobody_new_is_let_in_while_all_answers_are_given_or_promised(new_store):
    clock = Clock()
    store = new_store(clock, target_votes=12, session_hours=1)
    answer_all(store, store.join("1"))
    promised = store.join("1")
    store.vote(promised, store.next_trial(promised).name, answer())
    with refused("full"):
        store.join("1")
    clock.now += 3600
    answer_all(store, store.join("1"))
    with refused("complete"):
        store.join("1")
    assert count(store, tables.raters) == 3


def test_whoever_never_begins_takes_no_place_for_long(new_store):
    clock = Clock()
    store = new_store(clock, items=6, target_votes=12, session_hours=24)
    idle, begun = store.join("1"), store.join("1")
    store.vote(begun, store.next_trial(begun).name, answer())
    with refused("full"):
        store.join("1")
    clock.now += 3600 * HOURS_TO_BEGIN
    with refused("expired"):
        store.next_trial(idle)
    answer_all(store, store.join("1"))
    answer_all(store, begun)
    with store.engine.connect() as connection:
        counts = queries.history(connection, store.study, clock.now).counts
    assert (counts.sum(axis=2) == 2).all()
    assert (counts[..., 0] == counts[..., 1]).all()
