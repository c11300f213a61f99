"""The generator at every size: shapes, ranges, independence of batch and hole, gradients, saved memory."""

import pytest
import torch
from torch import nn

from medfe.config import GeneratorConfig
from medfe.models.branches import StructureInput
from medfe.models.critic import build_critics
from medfe.models.decoder import Expansion, halvings
from medfe.models.encoder import fill_hole
from medfe.models.generator import build_generator
from medfe.models.layers import initialize, leaky_relu, resize

HEADS = ("norm_lrelu", "tanh", "linear")
FEATURES = 6


def build(size=64, **changes):
    torch.manual_seed(0)
    return build_generator(GeneratorConfig(image_size=size, base_channels=2, feature_channels=FEATURES, **changes))


def inputs(size=64, images=1):
    generator = torch.Generator().manual_seed(1)
    image = torch.rand(images, 3, size, size, generator=generator) * 2 - 1
    mask = torch.zeros(images, 1, size, size)
    for index in range(images):  # a hole of its own for each
        mask[index, :, size // 4 : size // 2 + 8 * index, size // 8 : 3 * size // 4] = 1
    return image, mask


@torch.no_grad()
def relative(a, b):
    return float((a - b).norm() / b.norm())


@pytest.mark.parametrize("size", [64, 96, 128, 160, 192, 224, 256, 320])
def test_any_multiple_of_32_gives_an_image_of_its_size_and_features_on_its_grid(size):
    with torch.inference_mode():
        output = build(size)(*inputs(size))
    assert output.image.shape == (1, 3, size, size)
    assert output.structure.shape == output.texture.shape == (1, FEATURES, size // 8, size // 8)
    assert all(torch.isfinite(part).all() for part in output)


@pytest.mark.parametrize("size", [64, 96, 128, 160, 224, 256])
def test_stages_have_the_sizes_that_the_configuration_says(size):
    generator = build(size)
    with torch.inference_mode():
        skips = generator.encoder(*inputs(size))
    assert tuple(skip.shape[-1] for skip in skips) == generator.config.stage_sizes
    assert tuple(skip.shape[1] for skip in skips) == generator.config.stage_channels
    assert min(generator.config.stage_sizes) >= 4


def test_stages_halve_as_the_design_says():
    sizes = {
        256: (128, 64, 32, 16, 8, 4),
        128: (64, 32, 16, 8, 4, 4),
        64: (32, 16, 8, 4, 4, 4),
        96: (48, 24, 12, 6, 6, 6),
    }
    for size, expected in sizes.items():
        config = GeneratorConfig(image_size=size)
        assert config.stage_sizes == expected
        assert sum(halvings(config)) == len({size, *expected}) - 1


@pytest.mark.parametrize("convention", ["paper", "published"])
@pytest.mark.parametrize("head", HEADS)
def test_a_batch_of_three_equals_three_singles(head, convention):
    generator = build(head=head, convention=convention).double()
    image, mask = (part.double() for part in inputs(images=3))
    together = generator(image, mask)
    for index in range(3):
        alone = generator(image[index : index + 1], mask[index : index + 1])
        for joint, single in zip(together, alone, strict=True):
            assert relative(joint[index : index + 1], single) < 1e-6


@pytest.mark.parametrize("convention", ["paper", "published"])
def test_what_the_hole_holds_does_not_matter(convention):
    generator = build(convention=convention)
    image, mask = inputs(images=2)
    hidden = torch.where(mask > 0, torch.nan, image)
    for first, second in zip(generator(image, mask), generator(hidden, mask), strict=True):
        assert torch.equal(first, second)


def test_the_hole_and_each_known_pixel_matter():
    generator = build()
    image, mask = inputs()
    original = generator(image, mask).image
    assert not torch.equal(original, generator(image, mask.flip(-1)).image)
    changed = image.clone()
    changed[..., -1, -1] += 0.5
    assert not torch.equal(original, generator(changed, mask).image)


def test_inputs_are_left_as_they_were():
    image, mask = inputs()
    before = image.clone(), mask.clone()
    build()(image, mask).image.sum().backward()
    assert torch.equal(image, before[0])
    assert torch.equal(mask, before[1])


def test_the_hole_is_filled_with_the_mean_colour():
    image, mask = inputs()
    filled = fill_hole(image, mask)
    inside = filled.masked_select(mask.bool()).reshape(3, -1)
    torch.testing.assert_close((inside + 1) * 127.5, torch.tensor([[123.0], [104.0], [117.0]]).expand_as(inside))
    assert torch.equal(filled.masked_select(mask == 0), image.masked_select(mask == 0))


@pytest.mark.parametrize(("head", "low", "high"), [("norm_lrelu", -100, 100), ("tanh", -1, 1), ("linear", -1e6, 1e6)])
@torch.no_grad()
def test_image_and_features_are_in_the_range_of_their_last_layer(head, low, high):
    generator = build(head=head)
    for parameter in generator.parameters():
        parameter.data.mul_(20)  # far beyond the range, were it not for the last layer
    output = generator(*inputs())
    assert output.image.abs().max() <= 1
    for feature in (output.structure, output.texture):
        assert low <= float(feature.min()) < float(feature.max()) <= high
    if head == "norm_lrelu":
        assert float(output.texture.min()) > 0.2 * -8  # of 64 cells none lies 8 deviations off


@pytest.mark.parametrize("convention", ["paper", "published"])
@pytest.mark.parametrize("head", HEADS)
def test_gradients_reach_every_trained_parameter(head, convention):
    """A bias before an instance normalisation alone has a gradient of zero, but for rounding."""
    generator = build(head=head, convention=convention).double()
    generator.equalization.excitation.gate[0].bias.data.fill_(1)  # at this width a unit or two, which could all be off
    output = generator(*(part.double() for part in inputs(images=2)))
    (output.image.square().sum() + output.structure.square().sum() + output.texture.pow(3).sum()).backward()
    cancelled = {f"encoder.stages.{stage}.1.bias" for stage in range(1, 5)}
    cancelled |= {f"decoder.stages.{stage}.1.bias" for stage in range(5)}
    dead = set()
    for name, parameter in generator.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        if float(parameter.grad.abs().max()) < 1e-12:
            dead.add(name)
    assert dead <= cancelled


def test_recomputing_changes_neither_output_nor_gradient():
    plain, lean = build(), build(checkpointing=True)
    outputs, gradients = [], []
    for generator in (plain, lean):
        output = generator(*inputs(images=2))
        output.image.square().mean().backward()
        outputs.append(output.image)
        gradients.append([parameter.grad for parameter in generator.parameters()])
    assert torch.equal(*outputs)
    assert all(torch.equal(a, b) for a, b in zip(*gradients, strict=True))


@pytest.mark.parametrize(("before", "after"), [(4, 8), (16, 8), (8, 8), (5, 20)])
def test_pointwise_convolution_and_bilinear_resize_commute(before, after):
    torch.manual_seed(0)
    convolution = nn.Conv2d(5, 3, 1, bias=False).double()
    x = torch.randn(2, 5, before, before, dtype=torch.float64)
    torch.testing.assert_close(resize(convolution(x), after), convolution(resize(x, after)), rtol=1e-12, atol=1e-12)


def test_paths_that_convolve_before_they_resize_equal_those_that_resize_first():
    torch.manual_seed(0)
    expansion = Expansion(5, 3, 16).double()
    x = torch.randn(2, 5, 8, 8, dtype=torch.float64)
    later = expansion.activate(expansion.convolution(resize(x, 16)))
    torch.testing.assert_close(expansion(x), later, rtol=1e-9, atol=1e-9)

    structure = StructureInput(GeneratorConfig(image_size=128, base_channels=2, feature_channels=6)).double()
    deep = [torch.randn(2, 16, side, side, dtype=torch.float64) for side in (16, 8, 4)]
    later = torch.cat([leaky_relu(structure.norm(structure.convolution(resize(y, 16)))) for y in deep], dim=1)
    torch.testing.assert_close(structure(deep), later, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("convention", ["paper", "published"])
def test_from_one_seed_heads_differ_in_their_own_weights_alone_and_critics_not_at_all(convention):
    def drawn(head, seed=5):
        torch.manual_seed(seed)
        config = GeneratorConfig.preset("tiny").replace(head=head, convention=convention)
        generator, critics = build_generator(config), build_critics(config)
        return {**generator.state_dict(), **{f"critics.{name}": value for name, value in critics.state_dict().items()}}

    plain, *others = (drawn(head) for head in ("norm_lrelu", "tanh", "linear"))
    for other in others:
        assert other.keys() - plain.keys() == {"branches.head.0.weight"}
        assert [name for name in plain if not plain[name].equal(other[name])] == []
        head = other["branches.head.0.weight"]
        assert float(head.std()) == pytest.approx(0.02, rel=0.05)
        assert not head.equal(drawn("tanh", seed=6)["branches.head.0.weight"])


def test_from_one_seed_both_conventions_start_from_the_same_weights_and_leave_the_same_random_numbers():
    def drawn(convention):
        torch.manual_seed(5)
        config = GeneratorConfig.preset("tiny").replace(convention=convention)
        generator, critics = build_generator(config), build_critics(config)
        return generator.state_dict(), critics.state_dict(), torch.rand(4)

    (paper, critics, rest), (published, other_critics, other_rest) = drawn("paper"), drawn("published")
    noise = [name for name in published if name.endswith("mask_weight")]
    assert published.keys() - paper.keys() == set(noise)
    assert [name for name in paper if not paper[name].equal(published[name])] == []
    assert [name for name in critics if not critics[name].equal(other_critics[name])] == []
    assert rest.equal(other_rest)
    assert len({float(published[name].sum()) for name in noise}) == len(noise)  # a noise of its own for each block


def test_weights_are_drawn_as_published_and_one_seed_draws_the_same():
    network = nn.ModuleList([nn.Conv2d(64, 64, 3), nn.ConvTranspose2d(64, 64, 3), nn.BatchNorm2d(4096)])
    network[2].running_mean.fill_(7)
    network.requires_grad_(False)
    initialize(network)
    for layer in network[:2]:
        assert abs(float(layer.weight.std()) - 0.02) < 1e-3
        assert abs(float(layer.weight.mean())) < 1e-3
        assert not layer.bias.any()
    assert abs(float(network[2].weight.mean()) - 1) < 2e-3
    assert abs(float(network[2].weight.std()) - 0.02) < 2e-3
    assert (network[2].running_mean == 7).all()
    for a, b in zip(build().parameters(), build().parameters(), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_other_number_formats_give_nearly_the_same_picture(dtype):
    generator, (image, mask) = build(head="tanh"), inputs()
    with torch.inference_mode():
        expected = generator(image, mask).image
        found = generator.to(dtype)(image.to(dtype), mask.to(dtype)).image
    assert found.dtype == dtype
    assert float((found.float() - expected).abs().mean()) < (1e-5 if dtype == torch.float64 else 0.02)
