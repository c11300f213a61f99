"""Subsampling intervals of Fréchet distances: they contain their estimate, and cover; a bootstrap would not."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medfe.errors import MedfeError
from medfe.evaluation.distances import frechet_distance
from medfe.evaluation.subsampling import _Parts, frechet_interval, subsampled_frechet


def draw(rng, n, d, shift=0.1):
    weights = np.arange(1, d + 1) ** -0.5  # a falling spectrum, as features have
    return rng.standard_normal((n, d)) * weights, (1.2 * rng.standard_normal((n, d)) + shift) * weights


@given(st.integers(0, 2**32 - 1), st.integers(4, 40), st.integers(4, 40), st.integers(1, 30), st.floats(0.5, 0.7))
@settings(max_examples=60, deadline=None)
def test_the_interval_contains_its_own_estimate(seed, n, m, d, fraction):
    rng = np.random.default_rng(seed)
    x, y = draw(rng, max(n, m), d)
    result = frechet_interval(x[:m], y[:n], fraction=fraction, subsamples=15, seed=seed)
    assert result.estimate == pytest.approx(frechet_distance(x[:m], y[:n]))
    assert result.low <= result.estimate <= result.high
    assert result.low >= min(0.0, result.estimate)


@pytest.mark.parametrize(("n", "d"), [(100, 8), (40, 64)])
def test_intervals_contain_their_estimate_and_cover_the_mean_distance(n, d, record_property):
    rng, sims = np.random.default_rng(0), 400
    mean = np.mean([frechet_distance(*draw(rng, n, d)) for _ in range(2000)])
    intervals = [frechet_interval(*draw(rng, n, d), subsamples=60, seed=seed) for seed in range(sims)]
    own = np.mean([result.holds(result.estimate) for result in intervals])
    coverage = np.mean([result.holds(mean) for result in intervals])
    record_property("contains its estimate", float(own))
    record_property("coverage", float(coverage))
    print(
        f"Fréchet distance, {n} images of {d} dimensions: subsampling interval contains its own estimate in "
        f"{100 * own:.1f} %, covers the mean distance at this size in {100 * coverage:.1f} % of {sims}"
    )
    assert own == 1.0
    assert coverage >= 0.90  # above 95 %: too wide where the distance is mostly bias


@pytest.mark.parametrize("fraction", [0.25, 0.5, 0.75])
def test_the_width_is_that_of_the_standard_error_whatever_the_fraction(fraction):
    rng, n = np.random.default_rng(5), 200
    x, y = rng.normal(0, 1, (n, 1)), rng.normal(20, 1, (n, 1))  # so far apart that the distance is the squared shift
    result = frechet_interval(x, y, fraction=fraction, subsamples=1000)
    error = 2 * (y.mean() - x.mean()) * np.sqrt((x.var(ddof=1) + y.var(ddof=1)) / n)
    assert result.high - result.low == pytest.approx(2 * 1.96 * error, rel=0.15)


def test_a_bootstrap_would_miss_its_own_estimate(record_property):
    rng, sims, missed = np.random.default_rng(1), 50, 0
    for _ in range(sims):
        x, y = draw(rng, 60, 64)
        drawn = (frechet_distance(x[rng.integers(0, 60, 60)], y[rng.integers(0, 60, 60)]) for _ in range(100))
        missed += np.quantile(list(drawn), 0.025) > frechet_distance(x, y)
    record_property("bootstrap missed", float(missed / sims))
    print(f"bootstrap of a Fréchet distance: 95 % interval lay above its own estimate in {missed} of {sims}")
    assert missed >= 0.9 * sims


def test_masks_and_originals_of_a_photograph_are_drawn_together():
    seen = []

    def spy(reference, generated):
        seen.append((reference[:, 0], generated[:, 0]))
        return 0.0

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("medfe.evaluation.subsampling.frechet_distance", spy)
        photographs = np.repeat(np.arange(20), 3)
        numbered = photographs[:, None].astype(float)
        frechet_interval(
            np.arange(20.0)[:, None],
            numbered,
            photographs=photographs,
            reference_photographs=np.arange(20),
            subsamples=10,
        )
    for reference, generated in seen[:-1]:
        assert len(reference) == 10
        np.testing.assert_array_equal(generated, np.repeat(reference, 3))
    assert [len(part) for part in seen[-1]] == [20, 60]


@given(st.integers(0, 2**32 - 1), st.integers(2, 40), st.integers(2, 40), st.integers(1, 80))
@settings(max_examples=80, deadline=None)
def test_distances_of_parts_are_frechet_distances(seed, m, n, d):
    rng = np.random.default_rng(seed)
    x, y = draw(rng, 60, d)
    x += 3  # centring must not cost digits
    rows, columns = (np.sort(rng.choice(60, size, replace=False)) for size in (m, n))
    expected = frechet_distance(x[rows], y[columns])
    assert _Parts(x, y).distance(rows, columns) == pytest.approx(expected, rel=1e-5, abs=1e-6)


def frechet_difference(x, y, z, **options):
    one, two = (subsampled_frechet(x, method, **options) for method in (y, z))
    return one.minus(two).interval()


def test_the_difference_of_a_method_with_itself_is_nothing_and_turns_round():
    rng = np.random.default_rng(2)
    x, y = draw(rng, 40, 10)
    z = y + 0.3 * rng.standard_normal(y.shape)
    same = frechet_difference(x, y, y, subsamples=20)
    assert (same.low, same.estimate, same.high) == (0.0, 0.0, 0.0)
    one, two = frechet_difference(x, y, z, subsamples=20), frechet_difference(x, z, y, subsamples=20)
    assert one.estimate == pytest.approx(frechet_distance(x, y) - frechet_distance(x, z))
    assert (one.low, one.high) == pytest.approx((-two.high, -two.low))


def test_paired_differences_cover_a_known_order(record_property):
    rng, sims, right, wrong = np.random.default_rng(3), 100, 0, 0
    for seed in range(sims):
        x, y = draw(rng, 80, 8, shift=0.0)
        result = frechet_difference(x, y, y + 0.4, subsamples=60, seed=seed)
        right += result.high < 0
        wrong += result.low > 0
    record_property("right", float(right / sims))
    print(f"difference of Fréchet distances: right order shown in {right}, wrong in {wrong} of {sims}")
    assert right >= 90
    assert wrong == 0


@pytest.mark.parametrize(
    ("fraction", "message"), [(0.0, "between 0 and 1"), (1.0, "between 0 and 1"), (0.01, "leaves fewer than 2")]
)
def test_a_useless_fraction_is_named(fraction, message):
    with pytest.raises(MedfeError, match=message):
        frechet_interval(*draw(np.random.default_rng(4), 20, 3), fraction=fraction)
