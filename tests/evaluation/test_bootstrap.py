"""Bootstrap intervals: closed forms, and coverage by simulation (printed; see it by -rP)."""

import numpy as np
import pytest

from medfe.evaluation.bootstrap import bootstrap_mean
from medfe.evaluation.statistics import ONE_PAIR_OF_TRAININGS


def photographs_with_masks(rng, photographs=60, masks=3, difference=0.1):
    """Return values of two methods on several masks of each photograph; the photograph moves all its values."""
    shared = rng.exponential(1.0, (photographs, 1)) + rng.normal(0, 0.5, (photographs, masks))
    taste = rng.normal(0, 0.3, (photographs, 1)) + rng.normal(0, 0.1, (photographs, masks))
    first, second = shared + difference + taste, shared
    return first.ravel(), second.ravel(), np.repeat(np.arange(photographs), masks)


@pytest.mark.parametrize("method", ["BCa", "percentile"])
def test_the_paired_bootstrap_covers_a_known_difference(method, record_property):
    rng = np.random.default_rng(0)
    covered = 0
    for seed in range(600):
        first, second, labels = photographs_with_masks(rng)
        covered += bootstrap_mean(first - second, labels, resamples=999, method=method, seed=seed).holds(0.1)
    coverage = covered / 600
    record_property("coverage", float(coverage))
    print(f"paired {method} bootstrap over photographs: 95 % interval covered {100 * coverage:.1f} % of 600")
    assert 0.90 <= coverage <= 0.98


def test_a_bootstrap_that_tears_photographs_apart_covers_too_little(record_property):
    rng = np.random.default_rng(1)
    covered = 0
    for seed in range(200):
        first, second, _ = photographs_with_masks(rng)
        covered += bootstrap_mean(first - second, resamples=499, seed=seed).holds(0.1)
    record_property("coverage", float(covered / 200))
    print(f"bootstrap over single masks: 95 % interval covered {covered / 2:.1f} % of 200")
    assert covered / 200 < 0.88


def test_the_bootstrap_has_the_width_of_the_standard_error():
    values = np.random.default_rng(2).normal(3, 2, 400)
    result = bootstrap_mean(values)
    half = 1.96 * values.std() / 20
    assert result.estimate == values.mean()
    assert result.low == pytest.approx(values.mean() - half, abs=0.1 * half)
    assert result.high == pytest.approx(values.mean() + half, abs=0.1 * half)
    assert (result.n, result.level, result.scope) == (400, 0.95, ONE_PAIR_OF_TRAININGS)
    assert result.method == "BCa bootstrap, 9999 resamples"


def test_the_order_of_values_and_the_names_of_clusters_are_irrelevant():
    rng = np.random.default_rng(3)
    values, labels = rng.normal(size=90), np.repeat(np.arange(30), 3)
    order = rng.permutation(90)
    renamed = np.array([f"photograph {i:02d}.jpg" for i in labels])
    one, two = bootstrap_mean(values, labels), bootstrap_mean(values[order], renamed[order])
    assert (one.low, one.high) == pytest.approx((two.low, two.high), rel=1e-9)
    assert two.n == 30


def test_unequal_clusters_give_the_mean_of_all_values():
    values, labels = [1.0, 2.0, 3.0, 10.0, 20.0], ["a", "a", "a", "b", "c"]
    result = bootstrap_mean(values, labels)
    assert result.estimate == pytest.approx(7.2)
    assert result.n == 3
