"""Partial convolution against a loop over windows, and the mask that shrinks with it."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import binary_dilation

from medfe.config import GeneratorConfig
from medfe.models.branches import KERNEL_SIZES, MultiScaleFilling
from medfe.models.partial_convolution import FillingStack, PartialConv2d, PublishedPartialConv2d, known_cells

SIDE = 9


def loop(x, known, weight):
    """Partial convolution of Liu et al. 2018, eq. 1 and 2, one window at a time; x C×H×W, known H×W."""
    size, (height, width) = weight.shape[-1], known.shape
    output, updated = np.zeros((len(weight), height, width)), np.zeros((height, width))
    for row in range(height):
        for column in range(width):
            total, count = np.zeros(len(weight)), 0
            for i in range(size):
                for j in range(size):
                    y, z = row + i - size // 2, column + j - size // 2
                    if 0 <= y < height and 0 <= z < width and known[y, z]:
                        total += weight[:, :, i, j] @ x[:, y, z]
                        count += 1
            if count:
                output[:, row, column] = total * size**2 / count
                updated[row, column] = 1
    return output, updated


def masks():
    corner, inside, row = (np.ones((SIDE, SIDE)) for _ in range(3))
    corner[:6, :5] = 0  # a hole at the border
    inside[1:8, 2:8] = 0
    row[3] = 0
    lonely = np.zeros((SIDE, SIDE))
    lonely[8, 0] = 1
    scattered = (np.random.default_rng(0).random((SIDE, SIDE)) < 0.2).astype(float)
    return {"corner": corner, "inside": inside, "row": row, "lonely": lonely, "scattered": scattered}


@pytest.mark.parametrize("size", KERNEL_SIZES)
@pytest.mark.parametrize("name", masks())
def test_partial_convolution_equals_a_loop_over_windows(name, size):
    torch.manual_seed(0)
    known = masks()[name]
    layer = PartialConv2d(3, 4, size).double()
    x = torch.randn(2, 3, SIDE, SIDE, dtype=torch.float64)
    area = layer.area(torch.from_numpy(known)[None, None])
    found = layer(x, area).detach().numpy()
    for image, output in zip(x.numpy(), found, strict=True):
        expected, updated = loop(image, known, layer.convolution.weight.detach().numpy())
        np.testing.assert_allclose(output, expected, atol=1e-12)
        np.testing.assert_array_equal(area.updated[0, 0], updated)


@pytest.mark.parametrize("size", KERNEL_SIZES)
def test_what_the_hole_holds_does_not_matter(size):
    torch.manual_seed(0)
    layer = PartialConv2d(2, 2, size)
    known = torch.from_numpy(masks()["corner"]).float()[None, None]
    x = torch.randn(1, 2, SIDE, SIDE)
    area = layer.area(known)
    assert torch.equal(layer(x, area), layer(torch.where(known > 0, x, 1e6), area))


@pytest.mark.parametrize("size", KERNEL_SIZES)
def test_a_constant_map_stays_constant_wherever_anything_is_known(size):
    layer = PartialConv2d(1, 1, size)
    layer.convolution.weight.data.fill_(1 / size**2)
    known = torch.from_numpy(masks()["inside"]).float()[None, None]
    area = layer.area(known)
    torch.testing.assert_close(layer(torch.full((1, 1, SIDE, SIDE), 5.0), area), 5 * area.updated)


def test_windows_without_a_known_cell_give_zero():
    layer = PartialConv2d(2, 3, 7)
    area = layer.area(torch.zeros(1, 1, SIDE, SIDE))
    output = layer(torch.randn(1, 2, SIDE, SIDE), area)
    assert not output.any()
    assert not area.updated.any()


def test_published_convolution_divides_by_the_convolved_mask():
    torch.manual_seed(0)
    layer = PublishedPartialConv2d(2, 3, 3).double()
    known = torch.from_numpy(masks()["corner"])[None, None]
    x = torch.randn(1, 2, SIDE, SIDE, dtype=torch.float64)
    area = layer.area(known)
    normaliser = torch.nn.functional.conv2d(known, layer.mask_weight, padding=1)
    expected = torch.where(normaliser == 0, 0.0, layer.convolution(x * known) / normaliser)
    torch.testing.assert_close(layer(x, area), expected)
    assert area.updated[0, 0, 0, 0] == 0  # four cells from anything known
    assert area.updated[0, 0, 8, 8] == 1


def test_published_divisors_nearly_cancel_and_are_exact_under_autocast_too():
    layer = PublishedPartialConv2d(64, 16, 3)
    known = (torch.rand(1, 1, 16, 16, generator=torch.Generator().manual_seed(0)) > 0.4).float()
    expected = layer.double().area(known.double()).scale
    layer.float()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.testing.assert_close(layer.area(known).scale, expected, rtol=1e-9, atol=0)
    assert expected.abs().max() > 100


def test_published_normaliser_is_noise_that_is_saved_and_not_trained():
    layer = PublishedPartialConv2d(64, 64, 3)
    assert "mask_weight" in layer.state_dict()
    assert [name for name, _ in layer.named_parameters()] == ["convolution.weight"]
    assert 0.14 < float(layer.mask_weight.std()) < 0.18  # a sum of 64 draws of N(0, 0.02)


@pytest.mark.parametrize("size", KERNEL_SIZES)
def test_the_hole_of_a_stack_shrinks_by_half_a_window_a_block(size):
    known = np.ones((1, 1, 33, 33))
    known[..., 4:29, 6:31] = 0
    areas = FillingStack(2, size).areas(torch.from_numpy(known))
    expected = known[0, 0] > 0
    for area in areas:
        np.testing.assert_array_equal(area.known[0, 0].numpy() > 0, expected)
        expected = binary_dilation(expected, np.ones((size, size)))
        np.testing.assert_array_equal(area.updated[0, 0].numpy() > 0, expected)
    assert len(areas) == 5


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**32 - 1), st.sampled_from([2, 4, 8]))
def test_a_cell_is_a_hole_when_more_than_half_of_it_is(seed, stride):
    rng = np.random.default_rng(seed)
    mask = (rng.random((2, 1, 3 * stride, 2 * stride)) < rng.choice([0.3, 0.5, 0.7])).astype(np.float32)
    cells = mask.reshape(2, 1, 3, stride, 2, stride).sum(axis=(3, 5))
    found = known_cells(torch.from_numpy(mask), stride).numpy()
    np.testing.assert_array_equal(found, cells <= stride**2 / 2)


def test_exactly_half_a_cell_is_known():
    mask = torch.zeros(1, 1, 8, 16)
    mask[..., :4, :8] = 1  # 32 of 64
    mask[..., :4, 8:] = 1
    mask[..., 4, 8] = 1  # 33 of 64
    assert known_cells(mask, 8).flatten().tolist() == [1, 0]


@pytest.mark.parametrize("convention", ["paper", "published"])
def test_recomputing_the_stacks_changes_no_gradient(convention):
    settings = GeneratorConfig(image_size=64, base_channels=2, feature_channels=6, convention=convention)
    torch.manual_seed(0)
    plain = MultiScaleFilling(settings)
    lean = MultiScaleFilling(settings.replace(checkpointing=True))
    lean.load_state_dict(plain.state_dict())
    known = torch.ones(2, 1, 8, 8)
    known[:, :, 2:6, 2:7] = 0
    gradients = []
    for network in (plain, lean):
        x = torch.linspace(-1, 1, 4 * 6 * 64).sin().reshape(4, 6, 8, 8).requires_grad_()
        network(x, known).square().sum().backward()
        gradients.append([x.grad, *(parameter.grad for parameter in network.parameters())])
    for a, b in zip(*gradients, strict=True):
        assert torch.equal(a, b)
