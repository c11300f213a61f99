"""Intervals, tests and verdicts: closed forms, properties, and coverage by simulation (printed; see it by -rP)."""

import numpy as np
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from scipy import stats

from medfe.errors import MedfeError
from medfe.evaluation.bootstrap import bootstrap_mean
from medfe.evaluation.statistics import (
    ONE_PAIR_OF_TRAININGS,
    OVER_TRAININGS,
    Equivalence,
    Interval,
    holm,
    paired_t,
    tost,
    tost_interval,
    verdict,
)

numbers = st.floats(-100, 100)


def interval(low, high, level=0.95):
    return Interval(estimate=(low + high) / 2, low=low, high=high, level=level, n=50, method="given")


def test_equal_values_give_a_point_and_no_winner():
    result = bootstrap_mean([0.0, 0.0, 0.0])
    assert (result.low, result.high) == (0.0, 0.0)
    assert "no difference" in verdict(result, "a", "b", "l1", lower_is_better=True)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: bootstrap_mean([1.0, np.inf, np.nan]), "values: 2 of 3 are infinite or not numbers"),
        (lambda: bootstrap_mean([]), r"expected \(N,\) with N ≥ 1"),
        (lambda: bootstrap_mean([1.0, 2.0], ["a", "a"]), "clusters: found 1, expected at least 2"),
        (lambda: bootstrap_mean([1.0, 2.0], ["a"]), "one label per value"),
        (lambda: paired_t([1.0, 2.0], [1.0]), "found 2 and 1 values"),
        (lambda: paired_t([1.0], [2.0]), "found 1 pair, expected at least 2"),
        (lambda: paired_t([1.0, 2.0], [2.0, 3.0]), "different seeds"),
        (lambda: tost([1.0, 2.0], [2.0, 2.5], 0.0), "margin: found 0.0"),
        (lambda: tost_interval(interval(-1, 1), -1.0), "margin: found -1.0"),
        (lambda: interval(1.0, np.nan), "expected low ≤ high"),
    ],
)
def test_wrong_input_is_named(call, message):
    with pytest.raises(MedfeError, match=message):
        call()


def test_paired_t_is_the_textbook_interval():
    first, second = [5.9, 6.1, 6.4, 5.8], [6.2, 6.2, 6.9, 6.2]
    difference = np.subtract(first, second)
    result = paired_t(first, second)
    half = stats.t.ppf(0.975, 3) * difference.std(ddof=1) / 2
    assert (result.low, result.high) == pytest.approx((difference.mean() - half, difference.mean() + half))
    assert result.p_value == pytest.approx(stats.ttest_rel(first, second).pvalue)
    assert (result.n, result.scope) == (4, OVER_TRAININGS)


@pytest.mark.parametrize("n", [2, 3, 5, 10])
def test_the_detectable_difference_is_found_with_the_stated_power(n, record_property):
    rng = np.random.default_rng(n)
    spread = rng.normal(size=n)
    effect = paired_t(spread, np.zeros(n)).detectable / spread.std(ddof=1)  # in standard deviations
    found = np.mean(stats.ttest_1samp(rng.normal(effect, 1, (20_000, n)), 0, axis=1).pvalue < 0.05)
    record_property("power", float(found))
    print(f"{n} seeds show {effect:.2f} standard deviations with power {found:.3f}")
    assert found == pytest.approx(0.8, abs=0.015)


@given(st.lists(st.tuples(numbers, numbers), min_size=2, max_size=10), st.floats(0.01, 50))
def test_tost_rejects_when_its_interval_lies_inside_the_margin(pairs, margin):
    first, second = np.array(pairs).T
    assume(np.ptp(first - second) > 1e-6)
    result = tost(first, second, margin)
    assert result.level == pytest.approx(0.9)
    slack = min(abs(result.low + margin), abs(result.high - margin))
    assume(slack > 1e-9)
    inside = -margin < result.low and result.high < margin
    assert result.equivalent == inside
    assert tost_interval(paired_t(first, second, level=0.9), margin).equivalent == inside


def test_holm_multiplies_the_smallest_p_by_their_number_and_never_decreases():
    assert holm({"a": 0.01, "b": 0.04, "c": 0.03}) == pytest.approx({"a": 0.03, "b": 0.06, "c": 0.06})
    assert holm({"psnr": 0.9, "ssim": 0.8}) == pytest.approx({"psnr": 1.0, "ssim": 1.0})
    assert holm({}) == {}


@given(
    st.tuples(numbers, numbers).map(sorted),
    st.booleans(),
    st.none() | st.floats(0, 1),
    st.none() | st.tuples(st.floats(0.01, 10), st.booleans()),
)
@example((0.0, 1.0), True, None, None)
@example((-1.0, 0.0), False, 0.0, (1.0, True))
@example((-1e-300, 1.0), True, 0.0, None)
def test_a_verdict_never_says_better_when_the_interval_holds_zero(ends, lower_is_better, adjusted_p, margin):
    difference = interval(*ends)
    equivalence = None
    if margin is not None:
        given_margin, equivalent = margin
        equivalence = Equivalence(
            **{**vars(difference), "level": 0.9}, margin=given_margin, alpha=0.05, equivalent=equivalent
        )
    words = verdict(
        difference,
        "first",
        "second",
        "kid",
        lower_is_better=lower_is_better,
        equivalence=equivalence,
        adjusted_p=adjusted_p,
    )
    assert ("better" in words) == (
        not ends[0] <= 0 <= ends[1] and (adjusted_p is None or adjusted_p < 1 - difference.level)
    )
    assert ONE_PAIR_OF_TRAININGS in words


@pytest.mark.parametrize(
    ("ends", "lower_is_better", "words"),
    [
        ((-2.0, -1.0), True, "first is better than second in kid"),
        ((-2.0, -1.0), False, "second is better than first in kid"),
        ((1.0, 2.0), True, "second is better than first in kid"),
        ((1.0, 2.0), False, "first is better than second in kid"),
        ((-1.0, 2.0), True, "no difference in kid shown between first and second"),
    ],
)
def test_a_verdict_names_the_better_method_by_the_direction_of_the_metric(ends, lower_is_better, words):
    assert verdict(interval(*ends), "first", "second", "kid", lower_is_better=lower_is_better).startswith(words + " (")


def test_a_verdict_claims_equivalence_only_after_the_test():
    difference = interval(-0.1, 0.2)
    passed, failed = (tost_interval(interval(-0.05, high, level=0.9), 0.2) for high in (0.15, 0.25))
    options = {"lower_is_better": True}
    assert "equivalent within the margin" in verdict(difference, "a", "b", "kid", equivalence=passed, **options)
    assert "equivalent" not in verdict(difference, "a", "b", "kid", equivalence=failed, **options)
    assert "equivalent" not in verdict(difference, "a", "b", "kid", **options)
    small = verdict(interval(0.05, 0.15), "a", "b", "kid", equivalence=passed, **options)
    assert small.startswith("b is better than a in kid, yet equivalent within the margin (")
    assert ", margin ±0.2, " in small
