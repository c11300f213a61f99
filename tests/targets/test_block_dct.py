"""Arm `block_dct`: the basis, the order of frequencies, the isometry, and what comes back."""

import numpy as np
import pytest
import torch
from scipy.fft import dctn

from medfe.config import GeneratorConfig, TargetConfig
from medfe.errors import MedfeError
from medfe.targets import build_target
from medfe.targets.block_dct import block_filters, dct_basis, random_isometry, zigzag

# Annex K of the JPEG standard (ITU-T T.81, figure A.6): place of each frequency in the zigzag, row by row.
JPEG_PLACES = [
    [0, 1, 5, 6, 14, 15, 27, 28], [2, 4, 7, 13, 16, 26, 29, 42], [3, 8, 12, 17, 25, 30, 41, 43],
    [9, 11, 18, 24, 31, 40, 44, 53], [10, 19, 23, 32, 39, 45, 52, 54], [20, 22, 33, 38, 46, 51, 55, 60],
    [21, 34, 37, 47, 50, 56, 59, 61], [35, 36, 48, 49, 57, 58, 62, 63],
]  # fmt: skip


@pytest.fixture
def _float64():
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


def build(channels=256, **knobs):
    generator = GeneratorConfig(image_size=64, base_channels=2, feature_channels=channels)
    return build_target(TargetConfig(arm="block_dct", **knobs), generator)


def images(count=2):
    return [torch.rand(count, 3, 64, 64, generator=torch.Generator().manual_seed(i)).double() * 2 - 1 for i in (0, 1)]


def block_means(image):
    return image.unfold(2, 8, 8).unfold(3, 8, 8).mean(dim=(4, 5))  # (N, 3, 8, 8)


def test_zigzag_is_that_of_jpeg():
    found = np.empty((8, 8), dtype=int)
    for place, (row, column) in enumerate(zigzag(8)):
        found[row, column] = place
    np.testing.assert_array_equal(found, JPEG_PLACES)


def test_basis_is_orthonormal():
    torch.testing.assert_close(dct_basis(8) @ dct_basis(8).T, torch.eye(8, dtype=torch.float64))


def test_filters_are_the_orthonormal_dct_of_scipy_in_that_order():
    block = np.random.default_rng(0).normal(size=(3, 8, 8))
    spectrum = dctn(block, axes=(1, 2), norm="ortho")
    expected = [spectrum[colour, row, column] for row, column in zigzag(8) for colour in range(3)]
    found = torch.einsum("kcij,cij->k", block_filters(192), torch.from_numpy(block))
    np.testing.assert_allclose(found, expected, atol=1e-12)


@pytest.mark.parametrize(("rows", "columns"), [(256, 192), (12, 12), (32, 3), (5, 1)])
def test_isometry_has_orthonormal_columns_and_is_drawn_by_its_seed(rows, columns):
    isometry = random_isometry(rows, columns, seed=4)
    torch.testing.assert_close(isometry.T @ isometry, torch.eye(columns, dtype=torch.float64))
    assert torch.equal(isometry, random_isometry(rows, columns, seed=4))
    assert not torch.equal(isometry, random_isometry(rows, columns, seed=5))


@pytest.mark.usefixtures("_float64")
def test_all_192_coefficients_in_256_channels_are_inverted():
    target = build(256)
    for image, goal in zip(images(), target.goals(*images()[::-1]), strict=True):
        assert goal.shape == (2, 256, 8, 8)
        assert (target.decode(goal) - image).abs().max() < 1e-6
        assert (target.picture(goal) - image).abs().max() < 1e-6


def test_in_float32_they_are_inverted_to_its_precision():
    target, image = build(256), images()[0].float()
    assert (target.decode(target.encode(image)) - image).abs().max() < 1e-5


@pytest.mark.usefixtures("_float64")
def test_three_coefficients_are_the_block_means():
    target, (image, structure) = build(256, coefficients=3), images()
    goals = target.goals(image, structure)
    for picture, goal in ((structure, goals.structure), (image, goals.texture)):
        expected = block_means(picture).repeat_interleave(8, 2).repeat_interleave(8, 3)
        assert (target.decode(goal) - expected).abs().max() < 1e-12


@pytest.mark.usefixtures("_float64")
@pytest.mark.parametrize("coefficients", [3, 10, 64, 192])
def test_distances_of_codes_are_distances_of_kept_coefficients(coefficients):
    target, (a, b) = build(256, coefficients=coefficients), images()
    kept = torch.nn.functional.conv2d(a - b, block_filters(coefficients), stride=8)
    torch.testing.assert_close((target.encode(a) - target.encode(b)).norm(dim=1), kept.norm(dim=1))


@pytest.mark.usefixtures("_float64")
def test_error_falls_with_every_coefficient_kept():
    image = images()[0]
    errors = [
        float((target.decode(target.encode(image)) - image).norm())
        for target in (build(256, coefficients=count) for count in (1, 3, 24, 96, 150, 192))
    ]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 1e-10 < errors[-2]


@pytest.mark.parametrize(("channels", "expected"), [(256, 192), (192, 192), (96, 96), (32, 32)])
def test_by_default_as_many_coefficients_are_kept_as_fit(channels, expected):
    encoder = build(channels).encoder.flatten(1)  # (F, 192)
    assert int(torch.linalg.matrix_rank(encoder)) == expected


def test_more_coefficients_than_channels_are_refused():
    with pytest.raises(MedfeError, match="33 coefficients do not fit into 32 feature channels"):
        build(32, coefficients=33)


def test_the_isometry_is_saved_with_a_run_and_not_trained():
    target = build(32)
    assert list(target.state_dict()) == ["encoder"]
    assert not list(target.parameters())
