"""Distance against number of images: the bias is there, and the extrapolation takes it away."""

import numpy as np
import pandas as pd
import pytest

from medfe.analysis.sample_size import distance_by_sample_size, fit_inverse_size
from medfe.errors import MedfeError
from medfe.evaluation.distances import frechet_distance, kid


@pytest.fixture(scope="module")
def gaussians():
    """Features of N(0, I) and N(0.1, 1.44 I) in 16 dimensions, whose Fréchet distance is known, and that distance."""
    rng = np.random.default_rng(0)
    true = 16 * (0.1**2 + 0.2**2)
    return rng.standard_normal((2000, 16)), 0.1 + 1.2 * rng.standard_normal((2000, 16)), true


def test_a_line_in_one_over_n_is_recovered_exactly():
    sizes = np.array([100, 200, 400, 800])
    fit = fit_inverse_size(sizes, 3.0 + 50.0 / sizes)
    assert (fit.limit, fit.slope, fit.r_squared) == pytest.approx((3.0, 50.0, 1.0))
    assert (fit.n_min, fit.n_max) == (100, 800)
    assert fit.at(500) == pytest.approx(3.1)


def test_extrapolation_takes_away_the_bias_of_few_images(gaussians):
    reference, generated, true = gaussians
    table, fit = distance_by_sample_size(reference[:600], generated[:600], repeats=10)
    smallest = table.loc[table["n"] == table["n"].min(), "distance"].mean()
    assert fit.slope > 0
    assert fit.r_squared > 0.8
    assert smallest - true > 5 * abs(fit.limit - true)
    assert fit.limit < frechet_distance(reference[:600], generated[:600])


def test_extrapolation_is_right_on_average(record_property):
    rng = np.random.default_rng(1)
    true = 8 * (0.1**2 + 0.2**2)
    limits, plain = [], []
    for seed in range(60):
        x, y = rng.standard_normal((300, 8)), 0.1 + 1.2 * rng.standard_normal((300, 8))
        limits.append(distance_by_sample_size(x, y, repeats=3, seed=seed)[1].limit)
        plain.append(frechet_distance(x, y))
    error = np.std(limits) / np.sqrt(60)
    record_property("limit", float(np.mean(limits)))
    print(f"true {true:.3f}: extrapolated {np.mean(limits):.3f} ± {error:.3f}, from 300 images {np.mean(plain):.3f}")
    assert abs(np.mean(limits) - true) < 3 * error + 0.02 * true
    assert np.mean(plain) - true > 5 * error


def test_kid_has_no_such_bias(gaussians):
    reference, generated, _ = gaussians
    table, fit = distance_by_sample_size(reference, generated, distance=kid, sizes=[100, 200, 400], repeats=30)
    spread = table.groupby("n")["distance"].std()[100] / np.sqrt(30)
    assert abs(fit.at(100) - kid(reference, generated)) < 4 * spread
    assert fit.r_squared < 0.2


def test_the_table_has_a_row_for_each_subset_and_is_repeatable(gaussians):
    reference, generated, _ = gaussians
    table, _ = distance_by_sample_size(reference[:100], generated[:90], repeats=2)
    again, _ = distance_by_sample_size(reference[:100], generated[:90], repeats=2)
    pd.testing.assert_frame_equal(table, again)
    assert list(table.columns) == ["n", "repeat", "distance"]
    assert (table["n"].min(), table["n"].max()) == (18, 90)
    assert table.groupby("n").size().eq(2).all()


def test_paired_subsets_take_the_same_rows_and_unpaired_ones_do_not(gaussians):
    reference = gaussians[0][:50]
    options = {"sizes": [10, 20], "repeats": 3}
    paired, _ = distance_by_sample_size(reference, reference + 1.0, paired=True, **options)
    np.testing.assert_allclose(paired["distance"], 16.0)
    unpaired, _ = distance_by_sample_size(reference, reference + 1.0, **options)
    assert (unpaired["distance"] > 16.5).any()


@pytest.mark.parametrize("sizes", [[10], [10, 10], [1, 10], [10, 51]])
def test_sizes_that_cannot_be_fitted_are_named(sizes, gaussians):
    with pytest.raises(MedfeError, match="expected at least two different ones from 2 to 50"):
        distance_by_sample_size(gaussians[0][:50], gaussians[1], sizes=sizes)


def test_paired_sets_of_different_sizes_are_named(gaussians):
    with pytest.raises(MedfeError, match="found 50 and 2000 images, expected equal numbers"):
        distance_by_sample_size(gaussians[0][:50], gaussians[1], paired=True)
