"""KID and Fréchet distance against closed forms, torch-fidelity and torchmetrics."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import sqrtm
from torch_fidelity.metric_kid import kernel_poly, mmd2
from torchmetrics.image.fid import FrechetInceptionDistance

from medfe.errors import MedfeError
from medfe.evaluation.distances import frechet_distance, kid, polynomial_kernel


def sample_with_moments(mean, covariance, n, rng):
    """Return n rows whose sample mean and sample covariance are exactly those given."""
    noise = rng.standard_normal((n, len(mean)))
    orthonormal, _ = np.linalg.qr(noise - noise.mean(axis=0))  # columns stay orthogonal to the constant one
    return orthonormal * np.sqrt(n - 1) @ np.linalg.cholesky(covariance).T + mean


def random_covariance(d, rng):
    factor = rng.standard_normal((d, d))
    return factor @ factor.T / d + 0.1 * np.eye(d)


def root(covariance):
    """Return L with L Lᵀ = covariance, singular or not."""
    values, vectors = np.linalg.eigh(covariance)
    return vectors * np.sqrt(values.clip(min=0))


def features(rng, n=60, d=12, shift=0.3):
    return rng.standard_normal((n, d)), rng.standard_normal((n, d)) * 1.2 + shift


def test_gaussians_with_commuting_covariances_have_the_textbook_distance():
    rng = np.random.default_rng(0)
    basis, _ = np.linalg.qr(rng.standard_normal((6, 6)))
    one, two = rng.uniform(0.1, 4, 6), rng.uniform(0.1, 4, 6)
    mean1, mean2 = rng.standard_normal((2, 6))
    x = sample_with_moments(mean1, basis * one @ basis.T, 50, rng)
    y = sample_with_moments(mean2, basis * two @ basis.T, 80, rng)
    expected = np.sum((mean1 - mean2) ** 2) + np.sum((np.sqrt(one) - np.sqrt(two)) ** 2)
    assert frechet_distance(x, y) == pytest.approx(expected, rel=1e-12)


def test_gaussians_with_any_covariances_have_the_distance_of_the_matrix_square_root():
    rng = np.random.default_rng(1)
    one, two = random_covariance(7, rng), random_covariance(7, rng)
    mean1, mean2 = rng.standard_normal((2, 7))
    x, y = sample_with_moments(mean1, one, 40, rng), sample_with_moments(mean2, two, 30, rng)
    expected = np.sum((mean1 - mean2) ** 2) + np.trace(one + two - 2 * np.real(sqrtm(one @ two)))
    assert frechet_distance(x, y) == pytest.approx(expected, rel=1e-10)


def test_a_shift_costs_its_square():
    x = np.random.default_rng(2).standard_normal((20, 50))
    assert frechet_distance(x, x + 0.5) == pytest.approx(50 * 0.25, rel=1e-10)
    assert frechet_distance(x, 3 * x - 2 * x.mean(axis=0)) == pytest.approx(4 * x.var(axis=0, ddof=1).sum(), rel=1e-10)


@pytest.mark.parametrize(("n", "d"), [(30, 200), (200, 200), (201, 200), (600, 200)])
def test_identical_sets_are_at_distance_zero(n, d):
    rng = np.random.default_rng(n)
    x = np.abs(rng.standard_normal((n, d))) @ rng.standard_normal((d, d)) / np.arange(1, d + 1)
    assert abs(frechet_distance(x, x[rng.permutation(n)])) <= 1e-6 * x.var(axis=0, ddof=1).sum()


@pytest.mark.parametrize(("n", "m", "d"), [(10, 14, 40), (39, 60, 40), (40, 41, 40), (100, 120, 40), (10, 100, 40)])
def test_the_distance_of_few_or_many_images_is_that_of_their_moments(n, m, d):
    rng = np.random.default_rng(n)
    x, y = rng.standard_normal((n, d)), rng.standard_normal((m, d)) @ rng.standard_normal((d, d)) / 6 + 0.2
    shift, one, two = x.mean(axis=0) - y.mean(axis=0), np.cov(x.T), np.cov(y.T)
    cross = np.linalg.svd(root(one).T @ root(two), compute_uv=False).sum()
    expected = shift @ shift + np.trace(one) + np.trace(two) - 2 * cross
    assert frechet_distance(x, y) == pytest.approx(expected, rel=1e-7)


@given(st.integers(0, 2**32 - 1), st.integers(2, 30), st.integers(2, 30), st.integers(1, 20))
@settings(max_examples=40, deadline=None)
def test_the_order_of_images_and_of_sets_is_irrelevant(seed, n, m, d):
    rng = np.random.default_rng(seed)
    x, y = rng.standard_normal((n, d)), rng.standard_normal((m, d)) + 0.5
    for distance in (frechet_distance, kid):
        value = distance(x, y)
        scale = 1 + abs(value) + 10 * polynomial_kernel(x, x).max()
        assert distance(x[rng.permutation(n)], y[rng.permutation(m)]) == pytest.approx(value, abs=1e-10 * scale)
        assert distance(y, x) == pytest.approx(value, abs=1e-10 * scale)
    assert frechet_distance(x, y) >= -1e-10


class Flatten(torch.nn.Module):
    """A stub backbone: the image is its own feature."""

    num_features = 12

    def forward(self, images):
        return images.flatten(1).double()


@pytest.mark.parametrize("n", [30, 8])
def test_frechet_distance_equals_torchmetrics_with_a_stub_backbone(n):
    x, y = features(np.random.default_rng(3), n=n)
    oracle = FrechetInceptionDistance(Flatten(), normalize=True).set_dtype(torch.float64)
    oracle.update(torch.from_numpy(x.reshape(n, 3, 2, 2)), real=True)
    oracle.update(torch.from_numpy(y.reshape(n, 3, 2, 2)), real=False)
    assert frechet_distance(x, y) == pytest.approx(oracle.compute().item(), rel=1e-6)


def test_kid_equals_torch_fidelitys_polynomial_mmd():
    x, y = features(np.random.default_rng(4))
    options = {"kid_kernel_poly_degree": 3, "kid_kernel_poly_gamma": None, "kid_kernel_poly_coef0": 1.0}
    expected = mmd2(kernel_poly(x, x, **options), kernel_poly(x, y, **options), kernel_poly(y, y, **options))
    assert kid(x, y) == pytest.approx(expected, rel=1e-12)


def test_kid_of_paired_sets_equals_torch_fidelitys_u_statistic():
    x, y = features(np.random.default_rng(5))
    kernels = polynomial_kernel(x, x), polynomial_kernel(x, y), polynomial_kernel(y, y)
    same = list(range(60))
    expected = mmd2(*kernels, mmd_est="u-statistic")
    assert kid(x, y, photographs=same, reference_photographs=same) == pytest.approx(expected, rel=1e-12)


def test_kid_in_blocks_equals_kid_at_once(monkeypatch):
    x, y = features(np.random.default_rng(6))
    labels = np.arange(60) // 4
    whole = kid(x, y, photographs=labels, reference_photographs=labels)
    monkeypatch.setattr("medfe.evaluation.distances._BLOCK", 7)
    assert kid(x, y, photographs=labels, reference_photographs=labels) == pytest.approx(whole, rel=1e-12)


def test_pairs_of_one_photograph_do_not_count():
    x, y = features(np.random.default_rng(7), n=8, d=5)
    labels = np.array([0, 0, 0, 1, 1, 2, 3, 3])
    apart = labels[:, None] != labels
    means = [polynomial_kernel(a, b)[apart].mean() for a, b in ((x, x), (y, y), (x, y))]
    expected = means[0] + means[1] - 2 * means[2]
    names = np.array(["d", "a", "b", "c"])[labels]
    assert kid(x, y, photographs=names, reference_photographs=names) == pytest.approx(expected, rel=1e-12)


def test_kid_of_a_set_with_originals_is_unbiased_only_without_pairs_of_one_photograph(record_property):
    rng = np.random.default_rng(8)
    own, mixed = [], []
    for _ in range(400):
        x = rng.standard_normal((30, 6))
        y = 0.9 * x + np.sqrt(1 - 0.81) * rng.standard_normal((30, 6))  # the same distribution, image by image close
        own.append(kid(x, y, photographs=np.arange(30), reference_photographs=np.arange(30)))
        mixed.append(kid(x, y))
    standard_error = np.std(own) / 20
    record_property("bias", f"pairs left out {np.mean(own):.4g}, kept {np.mean(mixed):.4g}, se {standard_error:.4g}")
    print(f"truth 0: pairs left out {np.mean(own):.4f}, kept {np.mean(mixed):.4f}, standard error {standard_error:.4f}")
    assert abs(np.mean(own)) < 3 * standard_error
    assert np.mean(mixed) < -10 * standard_error


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (np.zeros((5, 3)), np.zeros((5, 4)), "found 3 .* and 4 dimensions"),
        (np.zeros((1, 3)), np.zeros((5, 3)), r"reference features: found shape \(1, 3\)"),
        (np.zeros((5, 3)), np.full((5, 3), np.nan), "generated features: found infinities or NaN"),
        (np.zeros(5), np.zeros((5, 3)), r"found shape \(5,\)"),
    ],
)
def test_features_that_cannot_be_compared_are_named(x, y, message):
    for distance in (kid, frechet_distance):
        with pytest.raises(MedfeError, match=message):
            distance(x, y)


def test_labels_that_do_not_fit_are_named():
    x, y = features(np.random.default_rng(11))
    with pytest.raises(MedfeError, match="photographs: found 3 labels, expected 60"):
        kid(x, y, photographs=[1, 2, 3])
    with pytest.raises(MedfeError, match="reference_photographs: found 1 photograph"):
        kid(x, y, reference_photographs=np.zeros(60, dtype=int))
