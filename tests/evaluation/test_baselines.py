"""Baselines: what they fill holes with, and that they look at known pixels only."""

import numpy as np
import pytest
import torch

from medfe.data.masks import center_mask, make_mask, mask_to_tensor
from medfe.evaluation.methods import BASELINES, load_method


@pytest.mark.parametrize("name", BASELINES)
def test_a_picture_of_one_colour_is_restored(name):
    image = torch.tensor([[30, 200, 90], [7, 7, 250]], dtype=torch.uint8)[:, :, None, None].expand(2, 3, 32, 32)
    masks = torch.stack([mask_to_tensor(center_mask(32))] * 2)
    off = (load_method(name, name)(image, masks).int() - image.int()).abs().max()
    assert off <= (6 if name == "telea" else 0)  # Telea's march rounds at every pixel


def test_the_mean_is_that_of_the_known_pixels():
    rng = np.random.default_rng(0)
    picture = rng.integers(0, 256, (1, 3, 32, 32), dtype=np.uint8)
    mask = make_mask("irregular_thick", 32, rng)
    filled = load_method("mean_fill", "mean_fill")(torch.from_numpy(picture), mask_to_tensor(mask)[None])
    for colour in range(3):
        expected = picture[0, colour][~mask].mean()
        assert np.abs(filled[0, colour].numpy()[mask] - expected).max() <= 0.5


@pytest.mark.parametrize("name", ["telea", "navier_stokes"])
def test_a_gradient_is_continued_into_the_hole(name):
    ramp = torch.arange(64, dtype=torch.uint8).mul(3).expand(1, 3, 64, 64).contiguous()
    mask = torch.zeros(1, 1, 64, 64)
    mask[..., 28:36, 28:36] = 1
    filled = load_method(name, name)(ramp, mask)
    assert (filled.int() - ramp.int()).abs().max() < 15  # the mean of the picture is 100 grey levels off at the border


@pytest.mark.parametrize("name", BASELINES)
def test_the_content_of_the_hole_does_not_matter(name):
    rng = np.random.default_rng(1)
    one = torch.from_numpy(rng.integers(0, 256, (1, 3, 32, 32), dtype=np.uint8))
    mask = mask_to_tensor(center_mask(32))[None]
    other = torch.where(mask > 0.5, 255 - one, one)
    method = load_method(name, name)
    hole = (mask > 0.5).expand_as(one)
    torch.testing.assert_close(method(one, mask)[hole], method(other, mask)[hole])
