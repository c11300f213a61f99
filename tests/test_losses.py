"""Loss terms against closed forms, numbers worked out by hand, and loops."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from medfe.config import LossConfig
from medfe.losses import (
    adversarial_loss,
    critic_loss,
    gram,
    hole_l1,
    intermediate_loss,
    l1,
    perceptual_loss,
    style_loss,
    weigh,
)


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_l1_is_the_mean_absolute_difference():
    assert l1(torch.tensor([1.0, -2.0]), torch.tensor([0.0, 2.0])) == 2.5


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**31), st.integers(1, 3))
def test_hole_l1_is_the_mean_over_images_of_the_mean_over_each_hole(seed, count):
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=(2, count, 3, 5, 5))
    mask = (rng.random((count, 1, 5, 5)) < rng.random()).astype(float)
    expected = np.mean([
        np.abs(x - y)[:, hole[0] > 0].mean() if hole.any() else 0.0 for x, y, hole in zip(a, b, mask, strict=True)
    ])  # fmt: skip
    found = hole_l1(*(torch.from_numpy(part) for part in (a, b, mask)))
    assert float(found) == pytest.approx(expected, abs=1e-12)


def test_hole_l1_neither_sees_nor_moves_known_pixels():
    a, b = random(2, 3, 4, 4).requires_grad_(), random(2, 3, 4, 4, seed=1)
    mask = torch.zeros(2, 1, 4, 4, dtype=torch.float64)
    mask[0, 0, 1, 1] = mask[1, 0, :2] = 1
    loss = hole_l1(a, b, mask)
    loss.backward()
    assert torch.equal(a.grad != 0, mask.bool().expand_as(a))
    torch.testing.assert_close(hole_l1(torch.where(mask > 0, a, 99), b, mask), loss)


def test_relativistic_losses_of_scores_worked_out_by_hand():
    """Means are 2 and 1: real − 1 − 1 = −1, 1; fake − 2 + 1 = −1, 1. Exchanged: −3, −1 and 1, 3."""
    real, fake = torch.tensor([1.0, 3.0]), torch.tensor([0.0, 2.0])
    assert critic_loss(real, fake) == 0.5 * (1 + 1)
    assert adversarial_loss(real, fake) == 0.5 * (5 + 5)


def test_a_critic_without_opinion_has_loss_one_and_a_perfect_one_none():
    same = torch.full((2, 1, 4, 4), 0.3)
    assert critic_loss(same, same) == 1
    assert adversarial_loss(same, same) == 1
    assert critic_loss(same + 1, same) == pytest.approx(0, abs=1e-6)
    assert adversarial_loss(same + 1, same) == pytest.approx(4)


def test_relativistic_loss_averages_over_map_and_batch_together():
    real, fake = random(3, 1, 2, 2), random(3, 1, 2, 2, seed=1)
    r, f = real.flatten().tolist(), fake.flatten().tolist()
    mean_r, mean_f = sum(r) / 12, sum(f) / 12
    expected = 0.5 * (sum((x - mean_f - 1) ** 2 for x in r) / 12 + sum((x - mean_r + 1) ** 2 for x in f) / 12)
    assert float(critic_loss(real, fake)) == pytest.approx(expected)


def test_the_mean_that_is_passed_is_the_one_that_is_used():
    assert critic_loss(torch.tensor([1.0, 3.0]), torch.tensor([0.0, 2.0]), torch.amax) == 0.5 * (4 + 4)


def test_perceptual_loss_sums_the_mean_distance_of_each_layer():
    a, b = [torch.zeros(1, 2, 4, 4), torch.zeros(1, 8, 2, 2)], [torch.ones(1, 2, 4, 4), torch.full((1, 8, 2, 2), 3.0)]
    assert perceptual_loss(a, b) == 4
    assert intermediate_loss(a, b) == 4
    with pytest.raises(ValueError, match="shorter"):
        perceptual_loss(a, b[:1])


def test_gram_is_the_matrix_of_products_of_channels_divided_by_their_size():
    x = random(2, 3, 4, 5)
    expected = np.einsum("nahw,nbhw->nab", x, x) / (3 * 4 * 5)
    np.testing.assert_allclose(gram(x), expected, atol=1e-12)
    torch.testing.assert_close(gram(torch.ones(1, 3, 4, 4)), torch.full((1, 3, 3), 1 / 3))


def test_style_is_computed_in_single_precision_under_autocast():
    x = random(1, 8, 16, 16).float()
    near = x * (1 + 2**-12)  # closer than bfloat16 tells apart
    expected = float(style_loss([x], [near]))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert float(style_loss([x], [near])) == expected > 0


def test_gram_of_large_features_stays_finite_in_half_precision():
    x = torch.full((1, 4, 64, 64), 200.0)  # the sum of products over the places is 1.6e8, float16 ends at 65504
    with torch.autocast("cpu", dtype=torch.float16):
        torch.testing.assert_close(gram(x.half()).float(), torch.full((1, 4, 4), 1e4), rtol=0.01, atol=0)


def test_style_loss_does_not_see_where_something_is():
    x = random(1, 3, 4, 4)
    moved = x.flatten(2)[..., torch.randperm(16)].reshape(x.shape)
    assert float(style_loss([x], [moved])) < 1e-12
    assert float(style_loss([x], [2 * x])) == pytest.approx(float(3 * gram(x).abs().mean()))


def test_objective_is_the_sum_of_weighted_terms():
    config = LossConfig(l1_image=2, l1_hole=3, adversarial=5, perceptual=7, style=11)
    terms = {
        "l1_image": 1.0,
        "l1_hole": 10.0,
        "adversarial": 100.0,
        "perceptual": 1e3,
        "style": 1e4,
        "intermediate": 1e5,
    }
    objective = weigh({name: torch.tensor(value) for name, value in terms.items()}, config, 13)
    assert objective.total == 1_417_532
    assert {name: float(value) for name, value in objective.terms.items()} == terms


def test_a_term_without_weight_in_the_settings_is_an_error():
    with pytest.raises(KeyError, match="unheard_of"):
        weigh({"unheard_of": torch.tensor(1.0)}, LossConfig(), 1)


def test_published_weights_are_the_default():
    config = LossConfig()
    assert (config.l1_image, config.adversarial, config.perceptual, config.style) == (1, 0.2, 0.2, 250)
