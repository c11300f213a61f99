"""Interventions: what they replace, what they leave, and that the altered feature reaches the image."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from medfe.analysis.interventions import decode, derangement, intervene, intervention_effects
from medfe.analysis.spectra import component, random_subspace
from medfe.config import GeneratorConfig
from medfe.data.masks import center_mask, mask_to_tensor
from medfe.models.generator import build_generator

BASIS = random_subspace(12, 3, seed=0)
FEATURE = torch.randn(6, 12, 4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
PARTNERS = derangement(6, seed=0)


@pytest.fixture(scope="module")
def batch():
    torch.manual_seed(0)
    generator = build_generator(GeneratorConfig.preset("tiny")).eval()
    images = torch.rand(5, 3, 64, 64) * 2 - 1
    return generator, images, mask_to_tensor(center_mask(64))[None].expand(5, -1, -1, -1)


@given(count=st.integers(2, 50), seed=st.integers(0, 100))
def test_a_derangement_moves_everything_in_one_cycle(count, seed):
    partners = derangement(count, seed)
    assert sorted(partners) == list(range(count))
    place, steps = partners[0], 1
    while place != 0:
        place, steps = partners[place], steps + 1
    assert steps == count


@pytest.mark.parametrize("kind", ["permuted", "averaged"])
def test_only_the_chosen_component_is_replaced(kind):
    altered = intervene(FEATURE, BASIS, kind, PARTNERS)
    rest = FEATURE - component(FEATURE, BASIS)
    torch.testing.assert_close(altered - component(altered, BASIS), rest)
    own = component(FEATURE, BASIS)
    wanted = own[PARTNERS] if kind == "permuted" else own.mean(0).expand_as(own)
    torch.testing.assert_close(component(altered, BASIS), wanted)


def test_permuting_keeps_every_cells_statistics():
    altered = intervene(FEATURE, BASIS, "permuted", PARTNERS)
    before, after = component(FEATURE, BASIS), component(altered, BASIS)
    torch.testing.assert_close(before.norm(dim=1).sort(dim=0).values, after.norm(dim=1).sort(dim=0).values)


def test_decoding_untouched_features_is_the_generator(batch):
    generator, images, masks = batch
    with torch.no_grad():
        output, skips = generator(images, masks), generator.encoder(images, masks)
        torch.testing.assert_close(decode(generator, skips, generator.branches(skips, masks)), output.image)


def test_effects_are_the_change_of_the_hole_in_8_bit_levels(batch):
    generator, images, masks = batch
    basis = random_subspace(32, 3, seed=1)
    found = intervention_effects(generator, images, masks, {"texture": {"part": basis}}, seed=2, batch_size=2)
    with torch.no_grad():
        skips = generator.encoder(images, masks)
        features = generator.branches(skips, masks)
        altered = intervene(features.texture, basis, "permuted", derangement(5, 2))
        before, after = (decode(generator, skips, features._replace(texture=t)) for t in (features.texture, altered))
        expected = (after - before)[:, :, 16:48, 16:48].abs().mean() * 127.5
        size = (altered - features.texture).norm() / (features.texture - features.texture.mean(dim=0)).norm()
    effect = found["texture"]["part"]["permuted"]
    assert effect == pytest.approx((float(expected), float(size)), rel=1e-4)
    assert effect.change > 0


def test_averaging_everything_removes_all_deviation(batch):
    found = intervention_effects(*batch, {"structure": {"all": torch.eye(32, dtype=torch.float64).numpy()}})
    assert found["structure"]["all"]["averaged"].size == pytest.approx(1, abs=1e-5)
