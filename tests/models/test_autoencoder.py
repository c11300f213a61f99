"""Auto-encoders: shapes, widths, range, and what passes the bottleneck."""

import pytest
import torch
from torch import nn

from medfe.config import AutoencoderConfig, GeneratorConfig
from medfe.models.autoencoder import build_autoencoder

KINDS = ("texture", "structure")


def build(kind, size=64):
    torch.manual_seed(0)
    config = AutoencoderConfig(kind=kind, image_size=size, base_channels=2, max_channels=8, code_channels=12)
    return build_autoencoder(config).eval()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [64, 96, 160, 256])
def test_code_is_on_the_grid_of_the_features_and_the_image_comes_back_at_its_size(kind, size):
    network = build(kind, size)
    image = torch.rand(2, 3, size, size) * 2 - 1
    code = network.encode(image)
    assert code.shape == (2, 12, size // 8, size // 8)
    decoded = network.decode(code)
    assert decoded.shape == image.shape
    assert code.abs().max() <= 1
    assert decoded.abs().max() <= 1
    torch.testing.assert_close(network(image), decoded)


@pytest.mark.parametrize(("kind", "smallest"), [("texture", 8), ("structure", 2)])
def test_the_structure_code_passes_a_bottleneck_four_times_smaller(kind, smallest):
    network, sides = build(kind), []
    for module in network.encoder.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            module.register_forward_hook(lambda _, __, output: sides.append(output.shape[-1]))
    network.encode(torch.zeros(1, 3, 64, 64))
    assert min(sides) == smallest
    assert sides[-1] == 8


@pytest.mark.parametrize(("kind", "widths"), [
    ("texture", [32, 64, 128, 256, 128, 64, 32, 3]),
    ("structure", [32, 64, 128, 256, 256, 256, 256, 256, 128, 64, 32, 3]),
])  # fmt: skip
def test_widths_of_the_paper_double_up_to_256(kind, widths):
    network = build_autoencoder(AutoencoderConfig.matching(GeneratorConfig(), kind))
    layers = [module for module in network.modules() if isinstance(module, nn.Conv2d | nn.ConvTranspose2d)]
    assert [layer.out_channels for layer in layers] == widths


@pytest.mark.parametrize("preset", ["paper", "faces128", "faces64", "tiny"])
@pytest.mark.parametrize("kind", KINDS)
def test_codes_of_every_preset_have_the_shape_of_its_features(preset, kind):
    config = GeneratorConfig.preset(preset)
    matching = AutoencoderConfig.matching(config, kind)
    assert (matching.image_size, matching.code_channels) == (config.image_size, config.feature_channels)
    with torch.device("meta"):
        code = build_autoencoder(matching).eval().encode(torch.zeros(1, 3, config.image_size, config.image_size))
    assert code.shape == (1, config.feature_channels, config.grid_size, config.grid_size)


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_reach_every_parameter(kind):
    network = build(kind).train()
    (network(torch.rand(2, 3, 64, 64)) - 0.3).square().sum().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name
