"""Linear probes: they find what is there, wherever it lies, and nothing where there is nothing."""

import numpy as np
import pytest
import torch

from medfe.analysis.probe import patches, probe
from medfe.analysis.spectra import complement, random_subspace
from medfe.errors import MedfeError
from medfe.targets.block_dct import block_filters

CELLS = np.ones((4, 4), dtype=bool)
ALL = {"all": np.eye(12)}


def noise(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_a_patch_is_the_square_of_pixels_under_its_cell():
    images = torch.arange(2 * 3 * 16 * 16.0).reshape(2, 3, 16, 16)
    found = patches(images)
    assert found.shape == (2, 2, 2, 192)
    np.testing.assert_array_equal(found[1, 0, 1], images[1, :, 0:8, 8:16].flatten().numpy())


def test_a_linear_image_of_the_feature_is_read_exactly():
    feature = noise(20, 12, 4, 4)
    images = torch.nn.functional.conv_transpose2d(feature, noise(12, 3, 8, 8, seed=1), stride=8)
    assert probe(feature, images, CELLS, ALL)["all"] > 1 - 1e-6


def test_unrelated_features_explain_nothing():
    score = probe(noise(40, 12, 4, 4), noise(40, 3, 32, 32, seed=1), CELLS, ALL)["all"]
    assert -0.02 < score < 0.01


def test_only_the_subspace_that_holds_the_image_reads_it():
    basis = random_subspace(12, 3, seed=4)
    feature = noise(40, 12, 4, 4)
    coordinates = torch.einsum("ck,nchw->nkhw", torch.from_numpy(basis), feature)
    images = torch.nn.functional.conv_transpose2d(coordinates, noise(3, 3, 8, 8, seed=1), stride=8)
    scores = probe(feature, images, CELLS, {"inside": basis, "outside": complement(basis)})
    assert scores["inside"] > 1 - 1e-6
    assert abs(scores["outside"]) < 0.05


def test_what_all_photographs_share_is_not_counted():
    where = noise(1, 12, 4, 4)
    feature = where + 0.1 * noise(40, 12, 4, 4, seed=1)
    images = torch.nn.functional.conv_transpose2d(where, noise(12, 3, 8, 8, seed=2), stride=8)
    images = images + noise(40, 3, 32, 32, seed=3)
    assert probe(feature, images, CELLS, ALL)["all"] < 0.02


def test_the_scale_of_a_feature_does_not_matter():
    feature, images = noise(20, 12, 4, 4), noise(20, 3, 32, 32, seed=1)
    images[:, 0, ::8, ::8] += feature[:, 0]
    scores = [probe(scale * feature, images, CELLS, ALL)["all"] for scale in (1e-4, 1, 1e4)]
    assert scores == pytest.approx([scores[0]] * 3)


def test_the_coefficients_of_a_lossless_code_are_worth_their_energy():
    images = noise(300, 3, 32, 32)
    filters = block_filters(192)
    codes = torch.nn.functional.conv2d(images, filters, stride=8)
    half = probe(codes[:, :96], images, CELLS, {"all": np.eye(96)})["all"]
    energy = float(codes[:, :96].square().sum() / codes.square().sum())
    assert half == pytest.approx(energy, abs=0.03)


def test_it_agrees_with_least_squares_on_the_same_folds():
    feature, images = noise(40, 12, 4, 4), 0.3 * noise(40, 3, 32, 32, seed=1)
    images = images + torch.nn.functional.conv_transpose2d(feature, 0.2 * noise(12, 3, 8, 8, seed=2), stride=8)
    x = feature.movedim(1, -1).flatten(1, 2).numpy()
    y = patches(images).reshape(40, 16, 192)
    error = total = 0.0
    for held_out in np.array_split(np.random.default_rng(0).permutation(40), 4):
        known = np.setdiff1d(np.arange(40), held_out)
        means = x[known].mean(axis=0), y[known].mean(axis=0)
        weights = np.linalg.lstsq((x[known] - means[0]).reshape(-1, 12), (y[known] - means[1]).reshape(-1, 192))[0]
        truth = (y[held_out] - means[1]).reshape(-1, 192)
        error += np.sum((truth - (x[held_out] - means[0]).reshape(-1, 12) @ weights) ** 2)
        total += np.sum(truth**2)
    assert probe(feature, images, CELLS, ALL)["all"] == pytest.approx(1 - error / total, abs=1e-3)


def test_too_few_photographs_are_refused():
    with pytest.raises(MedfeError, match="found 3 photographs, expected at least 4"):
        probe(noise(3, 12, 4, 4), noise(3, 3, 32, 32), CELLS, ALL)
