import numpy as np
import pytest
from scipy import stats

from medfe.errors import MedfeError
from medfe.preference.power import binomial_power, design_effect, votes_needed


def test_a_share_of_60_percent_takes_210_votes_at_80_percent_power():
    size = votes_needed(0.6, 0.8)
    assert (size.independent, size.votes) == (210, 210)
    assert size.power == pytest.approx(0.820, abs=5e-4)


@pytest.mark.parametrize(("n", "share"), [(10, 0.6), (59, 0.7), (210, 0.6), (333, 0.45)])
def test_power_is_the_probability_of_all_outcomes_that_the_exact_test_rejects(n, share):
    rejected = [k for k in range(n + 1) if stats.binomtest(k, n, 0.5).pvalue <= 0.05]
    assert binomial_power(n, share) == pytest.approx(stats.binom.pmf(rejected, n, share).sum(), abs=1e-12)


@pytest.mark.parametrize(
    ("share", "power", "alpha"), [(0.6, 0.8, 0.05), (0.75, 0.9, 0.05), (0.65, 0.8, 0.01), (0.3, 0.5, 0.05)]
)
def test_power_never_falls_below_the_one_asked_for_from_the_number_on(share, power, alpha):
    n = votes_needed(share, power, alpha).independent
    assert binomial_power(n - 1, share, alpha) < power
    assert min(binomial_power(m, share, alpha) for m in range(n, 2 * n + 50)) >= power


def test_the_number_grows_with_the_design_effect_and_is_the_same_for_either_direction():
    assert votes_needed(0.6, design_effect=1.5).votes == 315
    assert votes_needed(0.4).votes == votes_needed(0.6).votes


def test_the_design_effect_is_that_of_the_variance_of_a_mean_of_correlated_votes():
    # 4 raters × 5 images, variance 1; covariance a between votes of one rater, b between votes on one image.
    a, b = 0.2, 0.1
    rater, image = np.divmod(np.arange(20), 5)
    covariance = a * (rater[:, None] == rater) + b * (image[:, None] == image)
    np.fill_diagonal(covariance, 1)
    assert design_effect(5, 4, a, b) == pytest.approx(20 * covariance.mean())
    assert design_effect(5, 4, 0, 0) == 1


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"share": 0.5}, "share"), ({"share": 1.2}, "share"), ({"power": 1.0}, "power"), ({"alpha": 0.0}, "alpha"),
        ({"design_effect": 0.5}, "design_effect"), ({"design_effect": float("nan")}, "design_effect"),
        ({"share": 0.501}, "farther from 0.5"),
    ],
)  # fmt: skip
def test_a_value_out_of_its_range_is_told(changes, named):
    with pytest.raises(MedfeError, match=named):
        votes_needed(**{"share": 0.6, **changes})


@pytest.mark.parametrize("values", [(0.5, 1, 0, 0), (1, 0, 0, 0), (2, 2, -0.1, 0), (2, 2, 0, 1.5)])
def test_a_design_effect_of_impossible_values_is_refused(values):
    with pytest.raises(MedfeError, match="expected"):
        design_effect(*values)
