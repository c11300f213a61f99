import tracemalloc

import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given, settings
from hypothesis import strategies as st

from medfe.errors import MedfeError
from medfe.preference.clustered import clustered_difference, clustered_mean, two_way_variance


def votes(seed, raters=7, images=9, share=0.7):
    """Votes of a part of all cells, with effects of raters and images."""
    rng = np.random.default_rng(seed)
    rater, image = (part.ravel() for part in np.meshgrid(np.arange(raters), np.arange(images), indexing="ij"))
    kept = rng.random(len(rater)) < share
    rater, image = rater[kept], image[kept]
    logit = rng.normal(0, 1, raters)[rater] + rng.normal(0, 1, images)[image]
    return (rng.random(len(rater)) < 1 / (1 + np.exp(-logit))).astype(float), rater, image


def oracle(y, x, rater, image):
    """Standard error of the last coefficient of a regression: statsmodels, one cluster at a time."""

    def variance(groups):
        factor = len(np.unique(groups)) / (len(np.unique(groups)) - 1)
        fit = sm.OLS(y, x).fit(cov_type="cluster", cov_kwds={"groups": groups, "use_correction": False})
        return factor * fit.cov_params()[-1, -1]

    by_rater, by_image = variance(rater), variance(image)
    by_cell = variance(rater * 1000 + image)
    both = by_rater + by_image - by_cell
    return np.sqrt(both if both > 0 else max(by_rater, by_image, by_cell))


@pytest.mark.parametrize("seed", range(5))
def test_the_error_of_a_mean_is_that_of_a_regression_clustered_two_ways(seed):
    y, rater, image = votes(seed)
    found = clustered_mean(y, rater, image)
    assert found.error == pytest.approx(oracle(y, np.ones((len(y), 1)), rater, image), rel=1e-9)
    assert (found.estimate, found.degrees, found.n) == (pytest.approx(y.mean()), 6, len(y))


@pytest.mark.parametrize("seed", range(3))
def test_the_error_of_a_difference_is_that_of_a_regression_on_a_mark(seed):
    y, rater, image = votes(seed)
    late = np.random.default_rng(seed).random(len(y)) < 0.4
    found = clustered_difference(y, late, rater, image)
    assert found.error == pytest.approx(oracle(y, sm.add_constant(late.astype(float)), rater, image), rel=1e-9)
    assert found.estimate == pytest.approx(y[late].mean() - y[~late].mean())


def test_a_repeated_cell_counts_as_one_cluster_of_its_own():
    y, rater, image = votes(1)
    y, rater, image = (np.concatenate([part, part[:10]]) for part in (y, rater, image))
    assert clustered_mean(y, rater, image).error == pytest.approx(oracle(y, np.ones((len(y), 1)), rater, image))


def test_votes_that_cancel_in_every_rater_and_image_still_have_an_error():
    rater, image = (part.ravel() for part in np.meshgrid(np.arange(6), np.arange(8), indexing="ij"))
    y = ((rater + image) % 2).astype(float)
    found = clustered_mean(y, rater, image)
    assert found.error == pytest.approx(oracle(y, np.ones((len(y), 1)), rater, image))
    assert found.error == pytest.approx(np.sqrt(0.25 / 47))


def test_memory_grows_with_the_votes_and_not_with_their_square():
    y = np.arange(6000) % 3 / 2
    tracemalloc.start()
    clustered_mean(y, np.arange(6000), np.arange(6000))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10_000 * len(y)


@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=40, deadline=None)
def test_an_interval_turns_with_the_question_and_does_not_care_about_names_and_order(seed):
    y, rater, image = votes(seed)
    one, other = clustered_mean(y, rater, image), clustered_mean(1 - y, rater, image)
    assert (other.low, other.high) == pytest.approx((1 - one.high, 1 - one.low))
    assert other.p_value == pytest.approx(one.p_value)
    order = np.random.default_rng(seed).permutation(len(y))
    renamed = clustered_mean(y[order], np.array([f"r{n}" for n in rater])[order], 100 - image[order])
    assert (renamed.low, renamed.high) == pytest.approx((one.low, one.high))
    assert 0 <= one.low <= one.estimate <= one.high <= 1


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_equal_votes_leave_an_exact_interval_of_as_many_units_as_there_are_clusters(value):
    _, rater, image = votes(0)
    found = clustered_mean(np.full(len(rater), value), rater, image)
    assert max(abs(found.low - value), abs(found.high - value)) == pytest.approx(1 - 0.025 ** (1 / 7))
    assert found.p_value == pytest.approx(2 / 2**7)
    assert "7 units" in found.method


def test_the_interval_leaves_out_one_half_where_p_is_below_its_level():
    for seed in range(20):
        y, rater, image = votes(seed)
        found = clustered_mean(y, rater, image)
        assert (found.p_value < 0.05) == (not found.holds(0.5))


def test_several_estimates_at_once_are_those_one_by_one():
    y, rater, image = votes(3)
    counted = np.random.default_rng(0).random((4, len(y))) < 0.8
    means = (y * counted).sum(axis=1) / counted.sum(axis=1)
    influence = np.where(counted, y - means[:, None], 0) / counted.sum(axis=1)[:, None]
    together = two_way_variance(influence, rater, image, counted)
    for row, mark in enumerate(counted):
        assert np.sqrt(together[row]) == pytest.approx(clustered_mean(y[mark], rater[mark], image[mark]).error)


@pytest.mark.parametrize(("raters", "images"), [(1, 9), (9, 1)])
def test_one_rater_or_one_image_says_nothing_about_others(raters, images):
    y, rater, image = votes(0, raters, images, share=2)
    with pytest.raises(MedfeError, match="expected at least 2 of each"):
        clustered_mean(y, rater, image)


def test_a_difference_needs_votes_in_both_groups():
    y, rater, image = votes(0)
    with pytest.raises(MedfeError, match="expected some in both"):
        clustered_difference(y, np.zeros(len(y), bool), rater, image)
