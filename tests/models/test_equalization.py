"""Equalization against its dense definition, and how much memory it takes."""

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten

from medfe.config import GeneratorConfig
from medfe.models.equalization import (
    Equalization,
    SqueezeExcitation,
    gaussian_weights,
    published_layout,
    published_range_mean,
    range_mean,
    spatial_mean,
)

CHANNELS, SIDE = 6, 7


@pytest.fixture
def x():
    torch.manual_seed(0)
    return torch.randn(2, CHANNELS, SIDE, SIDE, dtype=torch.float64)


def positions():
    return [(row, column) for row in range(SIDE) for column in range(SIDE)]


def dense_gaussian(sigma):
    """Weights of every position for every other, HW×HW, rows summing to 1."""
    grid = np.array(positions(), dtype=float)
    distances = ((grid[:, None] - grid) ** 2).sum(axis=2)
    weights = np.exp(-distances / (2 * sigma**2))
    return torch.from_numpy(weights / weights.sum(axis=1, keepdims=True))


@pytest.mark.parametrize("sigma", [0.5, 1.5, 4.0])
def test_spatial_mean_equals_its_dense_definition(x, sigma):
    expected = (x.flatten(2) @ dense_gaussian(sigma).T).reshape(x.shape)
    torch.testing.assert_close(spatial_mean(x, gaussian_weights(SIDE, sigma)), expected, rtol=1e-12, atol=1e-12)


def test_range_mean_equals_its_dense_definition(x):
    """Softmax over the neighbours inside the map alone, of x_i·x_j / √C."""
    expected = torch.zeros_like(x)
    for image, filled in zip(x, expected, strict=True):
        for row, column in positions():
            near = [(r, c) for r, c in positions() if max(abs(r - row), abs(c - column)) <= 1]
            others = torch.stack([image[:, r, c] for r, c in near])  # (4, 6 or 9, C)
            weights = (others @ image[:, row, column] / CHANNELS**0.5).softmax(dim=0)
            filled[:, row, column] = weights @ others
    assert len(near) == 4  # the last position is a corner
    torch.testing.assert_close(range_mean(x), expected, rtol=1e-12, atol=1e-12)


def test_published_range_mean_equals_its_dense_definition(x):
    """Nine neighbours everywhere: outside, a neighbour has affinity 0 and value 0."""
    expected = torch.zeros_like(x)
    for image, filled in zip(x, expected, strict=True):
        for row, column in positions():
            affinities, values = [], []
            for r in range(row - 1, row + 2):
                for c in range(column - 1, column + 2):
                    inside = (r, c) in positions()
                    other = image[:, r, c] if inside else torch.zeros(CHANNELS, dtype=x.dtype)
                    gates = image[:, row, column].sigmoid() * other.sigmoid()
                    affinities.append(gates.mean() if inside else torch.zeros((), dtype=x.dtype))
                    values.append(other)
            filled[:, row, column] = torch.stack(affinities).softmax(dim=0) @ torch.stack(values)
    torch.testing.assert_close(published_range_mean(x), expected, rtol=1e-12, atol=1e-12)


def test_means_keep_a_constant_map_up_to_its_border():
    constant = torch.full((1, CHANNELS, SIDE, SIDE), 3.0, dtype=torch.float64)
    torch.testing.assert_close(spatial_mean(constant, gaussian_weights(SIDE, 1.5)), constant)
    torch.testing.assert_close(range_mean(constant), constant)
    assert published_range_mean(constant)[0, 0, 0, 0] < 3  # the released code loses some at the border


def test_published_layout_reads_a_table_of_positions_as_one_of_channels(x):
    table = x.numpy().reshape(2, CHANNELS, SIDE * SIDE).transpose(0, 2, 1)  # (N, HW, C)
    np.testing.assert_array_equal(published_layout(x).numpy().ravel(), table.ravel())


def test_excitation_scales_each_channel_by_one_gate(x):
    excitation = SqueezeExcitation(CHANNELS).double()
    ratio = (excitation(x) / x).flatten(2)
    first, last = excitation.gate[0], excitation.gate[2]
    hidden = torch.relu(x.mean(dim=(2, 3)) @ first.weight[:, :, 0, 0].T + first.bias)
    gate = torch.sigmoid(hidden @ last.weight[:, :, 0, 0].T + last.bias)  # (N, C)
    torch.testing.assert_close(ratio, gate[:, :, None].expand_as(ratio))


@pytest.mark.parametrize("convention", ["paper", "published"])
def test_equalization_does_what_its_steps_do(convention):
    torch.manual_seed(0)
    config = GeneratorConfig(image_size=64, base_channels=2, convention=convention)
    network = Equalization(config).double()
    x = torch.randn(2, 16, 8, 8, dtype=torch.float64)
    excited = network.excitation(x)
    space, near = spatial_mean(excited, network.spatial_weights.double()), range_mean(excited)
    if convention == "published":
        space, near = published_layout(space), published_layout(published_range_mean(excited))
    mixed = torch.einsum("oc,nchw->nohw", network.mix.weight[:, :, 0, 0], torch.cat([space, near], dim=1))
    mean, variance = mixed.mean(dim=(2, 3), keepdim=True), mixed.var(dim=(2, 3), keepdim=True, correction=0)
    normalised = (mixed - mean) / (variance + 1e-5).sqrt()
    torch.testing.assert_close(network(x), torch.where(normalised > 0, normalised, 0.2 * normalised))


class LargestTensor(TorchDispatchMode):
    """Records the number of elements of the largest tensor that an operation returns."""

    elements = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        for value in tree_flatten(result)[0]:
            if isinstance(value, torch.Tensor):
                self.elements = max(self.elements, value.untyped_storage().nbytes() // value.element_size())
        return result


@pytest.mark.parametrize("convention", ["paper", "published"])
def test_no_tensor_is_larger_than_what_is_returned_before_the_mix(convention):
    """A neighbourhood unfolded would take 9·C·H·W elements, a dense affinity (HW)²."""
    config = GeneratorConfig(image_size=256, base_channels=8, convention=convention)
    network, (channels, side) = Equalization(config), (64, 32)
    with torch.no_grad(), LargestTensor() as largest:
        network(torch.randn(1, channels, side, side))
    assert 0 < largest.elements <= 2 * channels * side**2 < side**4
