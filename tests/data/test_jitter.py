"""Colours drawn at random: the same for image and structure image, and nothing else of a sample changes."""

import numpy as np
import pytest
import skimage.data
import torch
from PIL import Image

from medfe.config import DataConfig
from medfe.data.folder import TrainingSamples
from medfe.data.jitter import jitter_colors


class Fixed:
    """A generator whose numbers are given, for a strength of 0.5."""

    def __init__(self, *factors, hue=0.0):
        self.factors, self.hue = np.array(factors), hue

    def uniform(self, low, high, size=None):
        assert (low, high) == ((0.5, 1.5) if size else (-0.05, 0.05))
        return self.factors if size else self.hue


def test_each_factor_does_what_its_name_says():
    grey = torch.full((3, 4, 4), 0.2)  # 0.6 in [0, 1]
    (darker,) = jitter_colors([grey], 0.5, Fixed(0.5, 1.0, 1.0))
    torch.testing.assert_close(darker, torch.full((3, 4, 4), -0.4))  # 0.3
    halves = torch.tensor([-0.5, 0.5]).expand(3, 4, 2)
    (softer,) = jitter_colors([halves], 0.5, Fixed(1.0, 0.5, 1.0))
    torch.testing.assert_close(softer, halves / 2, rtol=0, atol=1e-3)  # about their mean, 0
    red = torch.tensor([1.0, -1.0, -1.0])[:, None, None].expand(3, 4, 4)
    (pale,) = jitter_colors([red], 0.5, Fixed(1.0, 1.0, 0.0))
    torch.testing.assert_close(pale, pale[:1].expand(3, 4, 4))
    (yellow,) = jitter_colors([red], 0.5, Fixed(1.0, 1.0, 1.0, hue=1 / 6))
    torch.testing.assert_close(yellow, torch.tensor([1.0, 1.0, -1.0])[:, None, None].expand(3, 4, 4))


def test_a_structure_image_gets_the_colours_of_its_image():
    image = torch.rand(3, 8, 8, generator=torch.Generator().manual_seed(0)) * 2 - 1
    first, second = jitter_colors([image, image.clone()], 0.4, np.random.default_rng(0))
    assert torch.equal(first, second)
    assert not torch.allclose(first, image, atol=0.02)
    assert first.abs().max() <= 1


@pytest.fixture
def samples(tmp_path):
    Image.fromarray(skimage.data.astronaut()[:96, 180:276]).save(tmp_path / "face.png")

    def samples(strength):
        config = DataConfig(root=tmp_path, color_jitter=strength, crop="random", resize=1.2)
        return TrainingSamples(config, 64, 5, 8, structure=lambda _, photograph: photograph)

    return samples


def test_crop_flip_and_mask_are_those_without_jitter(samples):
    plain, coloured = samples(0.0), samples(0.4)
    changes = []
    for position in range(8):
        one, two = plain[position], coloured[position]
        assert torch.equal(one["mask"], two["mask"])
        assert torch.equal(two["image"], two["structure"])
        grey = [image["image"].mean(dim=0).flatten() for image in (one, two)]
        assert torch.corrcoef(torch.stack(grey))[0, 1] > 0.9  # the same pixels, in other tones
        changes.append(float(two["image"].mean() - one["image"].mean()))
    assert len({round(change, 3) for change in changes}) == 8
    assert torch.equal(coloured[3]["image"], samples(0.4)[3]["image"])
