import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medfe.preference.plan import History, plan_session


class Sessions:
    """Sessions of one study, planned one after another."""

    def __init__(self, items, methods, main, catches=0, repeats=0, seed=0):
        self.pairs = list(itertools.combinations(range(methods), 2))
        self.history = History.empty(items, len(self.pairs), catches)
        self.numbers = {"main": main, "catches": catches, "repeats": repeats}
        self.methods, self.rng = methods, np.random.default_rng(seed)

    def plan(self):
        trials = plan_session(self.pairs, self.history, **self.numbers, rng=self.rng)
        for position, trial in enumerate(trials):
            self.count(trial, 1, 2 * position >= len(trials))
        return trials

    def count(self, trial, change, late=True):
        if trial.kind == "main":
            pair = self.pairs.index(tuple(sorted((trial.left, trial.right))))
            self.history.counts[trial.item, pair, int(trial.left > trial.right)] += change
            self.history.lateness[trial.item] += change if late else -change
        elif trial.kind == "catch":
            self.history.catch_sides[trial.item] += change if trial.left == 0 else -change

    def spread_of_cells(self):
        return np.ptp(self.history.counts.sum(axis=2))

    def spread_of_sides(self):
        return np.abs(self.history.counts[..., 0] - self.history.counts[..., 1]).max()


def kinds(trials, kind):
    return [trial for trial in trials if trial.kind == kind]


def lean(trials):
    """Times that the pair's first method stood left, minus right."""
    return sum(1 if trial.left < trial.right else -1 for trial in trials)


@given(
    items=st.integers(2, 30),
    methods=st.integers(2, 4),
    share=st.floats(0.05, 1),
    raters=st.integers(1, 12),
    seed=st.integers(0, 2**32 - 1),
)
@settings(max_examples=60, deadline=None)
def test_assignment_is_balanced_within_one_trial_after_every_rater(items, methods, share, raters, seed):
    sessions = Sessions(items, methods, max(1, int(share * items)), seed=seed)
    for _ in range(raters):
        trials = sessions.plan()
        assert len({trial.item for trial in trials}) == len(trials)
        assert sessions.spread_of_cells() <= 1
        assert sessions.spread_of_sides() <= 1


@pytest.mark.parametrize(("items", "main"), [(40, 32), (36, 30), (200, 32), (12, 12), (12, 8)])
def test_sides_are_balanced_within_a_rater_and_within_halves_of_the_session(items, main):
    sessions = Sessions(items, 2, main)
    for _ in range(20):
        trials = sessions.plan()
        assert lean(trials) == 0
        assert all(abs(lean(trials[:place])) <= 4 for place in range(main))


def test_with_three_methods_each_stands_left_as_often_as_right_but_for_two():
    sessions = Sessions(60, 3, 32)
    for _ in range(20):
        balance = np.zeros(3, int)
        for trial in sessions.plan():
            balance[trial.left] += 1
            balance[trial.right] -= 1
        assert np.abs(balance).max() <= 2


def test_pictures_come_early_as_often_as_late():
    sessions = Sessions(16, 2, 16)
    for _ in range(40):
        sessions.plan()
        assert np.abs(sessions.history.lateness).max() <= 2


def test_what_lost_sessions_leave_open_goes_to_the_next_raters():
    sessions = Sessions(20, 2, 10)
    planned = [sessions.plan() for _ in range(8)]
    for lost in planned[:2]:
        for trial in lost:
            sessions.count(trial, -1)
    sessions.plan()
    sessions.plan()
    assert sessions.spread_of_cells() <= 1
    for _ in range(4):
        sessions.plan()
    assert sessions.spread_of_sides() <= 1


def test_repetitions_swap_the_sides_of_an_early_trial_and_come_late():
    sessions = Sessions(40, 3, 30, repeats=6)
    for _ in range(10):
        trials = sessions.plan()
        repeated = [(place, trial) for place, trial in enumerate(trials) if trial.kind == "repeat"]
        assert len({trial.repeats for _, trial in repeated}) == 6
        for place, trial in repeated:
            first = trials[trial.repeats]
            assert (first.kind, first.item, first.left, first.right) == ("main", trial.item, trial.right, trial.left)
            assert place > trial.repeats + 1


def test_catch_trials_show_each_bad_picture_once_with_balanced_sides_all_over_the_session():
    sessions = Sessions(40, 2, 32, catches=4)
    places = []
    for _ in range(40):
        trials = sessions.plan()
        caught = kinds(trials, "catch")
        assert sorted(trial.item for trial in caught) == [0, 1, 2, 3]
        assert {trial.left + trial.right for trial in caught} == {1}
        assert np.abs(sessions.history.catch_sides).max() <= 1
        places += [place for place, trial in enumerate(trials) if trial.kind == "catch"]
    assert np.bincount(np.array(places) // 9, minlength=4).min() >= 20


def test_plans_differ_between_raters_even_of_equal_history():
    first, second = (Sessions(40, 2, 20, seed=seed).plan() for seed in (0, 1))
    assert first != second


def test_more_trials_than_pictures_are_refused():
    with pytest.raises(ValueError, match="expected at least 5"):
        Sessions(4, 2, 5).plan()
