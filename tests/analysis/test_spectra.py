"""Ranks, effective dimensions, alignment: closed forms and invariances."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.linalg import subspace_angles

from medfe.analysis.spectra import (
    complement,
    component,
    linear_cka,
    numerical_rank,
    participation_ratio,
    random_subspace,
    rows_by_channel,
    singular_directions,
)

RNG = np.random.default_rng(0)
ROWS = RNG.standard_normal((500, 12)) @ RNG.standard_normal((12, 12))
OTHER = ROWS[:, :5] ** 2


def test_rows_are_positions_and_columns_channels():
    feature = torch.arange(2 * 3 * 2 * 2.0).reshape(2, 3, 2, 2)
    rows = rows_by_channel(feature)
    assert rows.shape == (8, 3)
    assert rows[5].tolist() == feature[1, :, 0, 1].tolist()


@given(rank=st.integers(1, 12), scale=st.floats(1e-12, 1e12), seed=st.integers(0, 1000))
def test_the_rank_of_a_product_is_its_inner_dimension_at_any_scale(rank, scale, seed):
    rng = np.random.default_rng(seed)
    product = rng.standard_normal((40, rank)) @ rng.standard_normal((rank, 12))
    assert numerical_rank(scale * product) == rank


def test_a_matrix_of_zeros_has_rank_zero():
    assert numerical_rank(np.zeros((30, 4))) == 0


def test_singular_directions_are_those_of_a_full_decomposition():
    values, directions = singular_directions(ROWS)
    _, expected, right = np.linalg.svd(ROWS, full_matrices=False)
    np.testing.assert_allclose(values, expected)
    np.testing.assert_allclose(np.abs(np.sum(directions * right, axis=1)), 1)


def test_participation_counts_equal_directions_exactly():
    cube = np.array([[sign if axis == column else 0 for column in range(6)] for axis in range(6) for sign in (1, -1)])
    assert participation_ratio(cube[:, :6].astype(float)) == pytest.approx(6)
    assert participation_ratio(np.outer(np.arange(9.0), [1, 2, -3])) == pytest.approx(1)
    two_to_one = np.array([[2.0, 0], [-2, 0], [0, 1], [0, -1]])  # eigenvalues 8 and 2
    assert participation_ratio(two_to_one) == pytest.approx(100 / 68)


def test_participation_is_the_same_in_every_basis_and_unit():
    rotation = np.linalg.qr(RNG.standard_normal((12, 12)))[0]
    assert participation_ratio(3e-5 * ROWS @ rotation + 7) == pytest.approx(participation_ratio(ROWS))


def test_without_centring_a_mean_is_a_direction():
    rows = np.array([[1.0, 1], [1, -1]])
    assert participation_ratio(rows) == pytest.approx(1)
    assert participation_ratio(rows, center=False) == pytest.approx(2)


def test_no_variance_has_no_participation_and_no_alignment():
    assert np.isnan(participation_ratio(np.ones((5, 3))))
    assert np.isnan(linear_cka(np.ones((500, 3)), ROWS))


def test_alignment_is_that_of_centred_gram_matrices():
    center = np.eye(len(ROWS)) - 1 / len(ROWS)
    x, y = center @ ROWS @ ROWS.T @ center, center @ OTHER @ OTHER.T @ center
    expected = np.trace(x @ y) / np.sqrt(np.trace(x @ x) * np.trace(y @ y))  # HSIC form of the paper
    assert linear_cka(ROWS, OTHER) == pytest.approx(expected)


def test_alignment_ignores_rotation_scale_and_offset_but_not_mixing():
    rotation = np.linalg.qr(RNG.standard_normal((12, 12)))[0]
    assert linear_cka(ROWS, 0.01 * ROWS @ rotation - 4) == pytest.approx(1)
    assert linear_cka(ROWS, ROWS @ RNG.standard_normal((12, 12))) < 0.99


def test_unrelated_rows_are_hardly_aligned():
    assert linear_cka(ROWS, RNG.standard_normal((500, 12))) < 0.1


def test_a_subspace_and_its_complement_make_up_the_whole():
    basis = random_subspace(12, 3, seed=1)
    rest = complement(basis)
    np.testing.assert_allclose(basis @ basis.T + rest @ rest.T, np.eye(12), atol=1e-12)
    feature = torch.randn(2, 12, 4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    torch.testing.assert_close(component(feature, basis) + component(feature, rest), feature)
    inside = rows_by_channel(component(feature, basis))
    assert numerical_rank(inside) == 3
    assert subspace_angles(inside.T, basis).max() < 1e-6


def test_random_subspaces_depend_on_the_seed_alone():
    np.testing.assert_array_equal(random_subspace(12, 3, seed=1), random_subspace(12, 3, seed=1))
    assert subspace_angles(random_subspace(12, 3, seed=1), random_subspace(12, 3, seed=2)).max() > 0.1
