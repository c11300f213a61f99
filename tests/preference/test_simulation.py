import functools

import numpy as np
import pytest

from medfe.errors import MedfeError
from medfe.preference.clustered import clustered_mean
from medfe.preference.scenario import Scenario
from medfe.preference.simulation import draw_votes, intervals, sessions, simulate, wilson


@functools.cache
def five_hundred(**changes):
    return simulate(Scenario(**changes), studies=500, seed=7)


@pytest.mark.parametrize(
    "changes",
    [
        {}, {"share": 0.5}, {"share": 0.75, "ties": 0.3}, {"rater_sd": 0, "image_sd": 0},
        {"rater_sd": 1, "image_sd": 0}, {"rater_sd": 0, "image_sd": 1},
        {"raters": 40, "images": 100, "trials": 40}, {"images": 30, "trials": 30},
    ],
    ids=str,
)  # fmt: skip
def test_the_primary_interval_holds_the_truth_in_92_to_98_percent_of_500_studies(changes):
    found = five_hundred(**changes)
    assert 0.92 <= found.covered <= 0.98
    assert found.studies == 500


def test_the_naive_interval_holds_it_only_where_votes_are_independent():
    independent = five_hundred(rater_sd=0, image_sd=0)
    assert 0.92 <= independent.naive_covered <= 0.98
    assert independent.design_effect == pytest.approx(1, abs=0.2)
    clustered = five_hundred()
    assert clustered.naive_covered < 0.8
    assert clustered.design_effect > 2
    assert clustered.naive_width < clustered.width


def test_without_a_preference_one_study_in_twenty_shows_one():
    assert 0.02 <= simulate(Scenario(share=0.5), studies=500, seed=3).rejected <= 0.08


@pytest.mark.parametrize(("share", "ties"), [(0.6, 0.15), (0.5, 0.4), (0.85, 0.0)])
def test_votes_have_the_share_of_wins_and_of_ties_asked_for(share, ties):
    scenario = Scenario(raters=60, images=60, trials=30, share=share, ties=ties)
    rng = np.random.default_rng(0)
    wins, losses = draw_votes(scenario, *sessions(scenario, rng), 250, rng)
    assert 1 - (wins | losses).mean() == pytest.approx(ties, abs=0.01)
    assert wins.sum() / (wins | losses).sum() == pytest.approx(share, abs=0.02)


@pytest.mark.parametrize(
    ("changes", "kinds"),
    [
        ({"raters": 20, "images": 30, "trials": 20}, {"cluster-robust"}),
        ({"raters": 3, "images": 20, "trials": 5, "share": 0.97}, {"cluster-robust", "exact"}),
        ({"raters": 4, "images": 20, "trials": 2, "ties": 0.6}, {"cluster-robust", "exact", "too few"}),
    ],
    ids=["many votes", "votes that may all be equal", "raters without a decided vote"],
)
def test_the_simulated_intervals_are_those_of_the_analysis(changes, kinds):
    scenario = Scenario(**changes)
    rng = np.random.default_rng(5)
    raters, images = sessions(scenario, rng)
    wins, losses = draw_votes(scenario, raters, images, 60, rng)
    found, met = [], set()
    for won, decided in zip(wins, wins | losses, strict=True):
        if len(np.unique(raters[decided])) < 2:
            met.add("too few")
            continue
        own = clustered_mean(won[decided], raters[decided], images[decided])
        met.add(own.method.split()[0])
        together = intervals(won[None], decided[None], raters, images, 0.95)
        assert [float(part[0]) for part in together] == pytest.approx([own.estimate, own.low, own.high])
        found.append(own)
    simulated = simulate(scenario, studies=60, seed=5)
    assert simulated.studies == len(found)
    assert simulated.covered == pytest.approx(np.mean([own.holds(scenario.share) for own in found]))
    assert simulated.width == pytest.approx(np.mean([own.high - own.low for own in found]))
    assert met == kinds


def test_studies_of_ties_alone_are_refused():
    with pytest.raises(MedfeError, match=r"ties: found 0\.999"):
        simulate(Scenario(raters=2, images=2, trials=1, ties=0.999), studies=3)


def test_wilson_s_interval_is_the_one_of_the_books():
    low, high = wilson(np.array([8]), np.array([10]), 0.95)
    assert (low[0], high[0]) == pytest.approx((0.4902, 0.9433), abs=1e-4)


def test_the_result_says_that_it_is_a_simulation():
    text = simulate(Scenario(), studies=20).text()
    assert text.startswith("SIMULATION of 20 studies; no person took part")
    assert "naive" in text


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"raters": 1}, "raters"), ({"images": 1, "trials": 1}, "images"), ({"trials": 61}, "trials"),
        ({"share": 1.0}, "share"), ({"ties": 1.0}, "ties"), ({"rater_sd": -1}, "rater_sd"),
        ({"image_sd": 9}, "image_sd"),
    ],
)  # fmt: skip
def test_an_impossible_scenario_is_refused(changes, named):
    with pytest.raises(MedfeError, match=named):
        simulate(Scenario(**changes), studies=2)
