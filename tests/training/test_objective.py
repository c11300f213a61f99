"""What a step's tensors are turned into: which terms, what the critics see, where the backbone looks."""

import numpy as np
import pytest
import torch

from medfe.config import GeneratorConfig, LossConfig
from medfe.losses import adversarial_loss, critic_loss
from medfe.models.critic import build_critics
from medfe.training.objective import (
    BackboneTerms,
    critics_loss,
    draw_corner,
    generator_adversarial_loss,
    reconstruction_terms,
)

CONFIG = GeneratorConfig(image_size=64, base_channels=2)


def images(seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(2, 3, 64, 64, generator=generator) * 2 - 1, torch.rand(2, 3, 64, 64, generator=generator) * 2 - 1


def backbone_terms(**settings):
    return BackboneTerms(LossConfig(backbone="efficientnet_lite0", **settings))


def test_only_terms_with_a_weight_are_computed():
    fake, real = images()
    mask = torch.ones(2, 1, 64, 64)
    assert set(reconstruction_terms(fake, real, mask, LossConfig(l1_hole=0))) == {"l1_image"}
    assert set(reconstruction_terms(fake, real, mask, LossConfig(l1_hole=1))) == {"l1_image", "l1_hole"}
    nothing = backbone_terms(perceptual=0, style=0)
    assert nothing.backbone is None
    assert nothing(fake, real, np.random.default_rng(0)) == {}
    for name in ("perceptual", "style"):
        other = {"perceptual": 0.0, "style": 0.0, name: 1.0}
        assert set(backbone_terms(**other)(fake, real, np.random.default_rng(0))) == {name}


def test_equal_images_have_no_distance_wherever_they_are_shifted():
    terms, (real, _) = backbone_terms(shift=3, upsample=2), images()
    for seed in range(3):
        found = terms(real, real, np.random.default_rng(seed))
        assert [float(value) for value in found.values()] == [0, 0]


def test_gradients_reach_the_generated_image_and_not_the_backbone():
    terms, (fake, real) = backbone_terms(), images()
    fake.requires_grad_()
    sum(terms(fake, real, np.random.default_rng(0)).values()).backward()
    assert (fake.grad != 0).float().mean() > 0.9
    assert all(parameter.grad is None for parameter in terms.parameters())


def test_a_view_is_enlarged_and_shifted_with_a_mirrored_border():
    terms = backbone_terms(upsample=2, shift=3)
    image = torch.linspace(-1, 1, 64).expand(1, 3, 64, 64)
    assert terms._view(image, 0, 0).shape == (1, 3, 128, 128)
    enlarged, shifted = terms._view(image, 0, 0), terms._view(image, 2, 3)
    assert torch.equal(shifted[..., 2:, 3:], enlarged[..., :-2, :-3])
    assert torch.equal(shifted[..., 2:, :3], enlarged[..., :-2, 1:4].flip(-1))


def test_corners_are_uniform_and_leave_the_crop_inside():
    rng = np.random.default_rng(0)
    corners = np.array([draw_corner(CONFIG, rng) for _ in range(4000)])
    assert corners.min() == 0
    assert corners.max() == 64 - CONFIG.local_crop - 1  # as published, the last place is never taken
    counts = np.bincount(corners.ravel())
    assert counts.min() > 0.7 * counts.mean()


def test_critics_loss_is_that_of_both_on_both_and_leaves_the_generator_alone():
    torch.manual_seed(0)
    critics, (fake, real) = build_critics(CONFIG).eval(), images()
    fake.requires_grad_()
    loss = critics_loss(critics, fake, real, (3, 8), torch.mean)
    expected = sum(critic_loss(r, f) for r, f in zip(critics(real, (3, 8)), critics(fake, (3, 8)), strict=True))
    torch.testing.assert_close(loss, expected)
    loss.backward()
    assert fake.grad is None
    assert all(parameter.grad is not None for parameter in critics.parameters())


def test_generators_side_moves_the_image_by_frozen_critics():
    torch.manual_seed(0)
    critics, (fake, real) = build_critics(CONFIG).eval().requires_grad_(False), images()
    fake.requires_grad_()
    loss = generator_adversarial_loss(critics, fake, real, (3, 8), torch.mean)
    pairs = zip(critics(real, (3, 8)), critics(fake, (3, 8)), strict=True)
    torch.testing.assert_close(loss, sum(adversarial_loss(r, f) for r, f in pairs))
    loss.backward()
    assert fake.grad.abs().max() > 0
    assert all(parameter.grad is None for parameter in critics.parameters())


@pytest.mark.parametrize("loss", [critics_loss, generator_adversarial_loss])
def test_each_side_takes_one_power_iteration(loss):
    torch.manual_seed(0)
    critics, (fake, real) = build_critics(CONFIG), images()
    layer = critics.whole.stages[1].parametrizations.weight
    weight = layer.original.detach().flatten(1)
    left = torch.nn.functional.normalize(weight @ layer[0]._v, dim=0, eps=1e-12)
    right = torch.nn.functional.normalize(weight.T @ left, dim=0, eps=1e-12)
    critics.requires_grad_(loss is critics_loss)
    loss(critics, fake, real, (0, 0), torch.mean)
    torch.testing.assert_close(layer[0]._v, right)
