"""Every array recorded from the published code, compared with our networks in convention `published`.

The arrays come from the folder in MEDFE_GOLDEN; the names, shapes and the rule of the weights from tests/golden.
"""

import os
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from medfe.backbones import Vgg16
from medfe.config import AutoencoderConfig, GeneratorConfig, LossConfig, RtvConfig, TargetConfig
from medfe.losses import adversarial_loss, critic_loss, intermediate_loss, l1, perceptual_loss, style_loss, weigh
from medfe.models.autoencoder import build_autoencoder
from medfe.models.branches import Features
from medfe.models.critic import Critic
from medfe.models.equalization import Equalization
from medfe.models.generator import build_generator
from medfe.models.layers import leaky_relu
from medfe.models.partial_convolution import PublishedPartialConv2d
from medfe.published import autoencoder_keys, published_config, translate
from medfe.targets import build_target
from medfe.targets.rtv import smooth

from .released import GOLDEN, KEYS, VARIANTS, critic_keys, generator_state, readout_state, weights

FOLDER = Path(os.environ.get("MEDFE_GOLDEN") or GOLDEN)
NETWORKS = np.load(FOLDER / "golden_networks.npz")
RTV = np.load(FOLDER / "golden_rtv.npz")
SALT = str(NETWORKS["salt"])
TOLERANCE = 1e-4
MASKS = ("center", "irregular")
CROP = (slice(None), slice(None), slice(96, 160), slice(80, 144))

compared: set[str] = set()


def tensor(name, shape, gain=1.0):
    return torch.from_numpy(weights.golden_tensor(SALT + name, tuple(shape), gain))


def image(name):
    return torch.from_numpy(weights.golden_image(SALT + name, 256))


def published_state(part, only=""):
    entry = KEYS[part]
    return {
        key: tensor(entry["prefix"] + key, shape, entry["gain"])
        for key, shape in entry["tensors"].items()
        if key.startswith(only)
    }


def mask(name):
    if name == "irregular":
        return torch.from_numpy(NETWORKS["mask.irregular"]).float()
    square = torch.zeros(1, 1, 256, 256)
    square[:, :, 64:192, 64:192] = 1
    return square


def check(name, found):
    """Compare with the recorded array of that name, by relative L2 distance."""
    expected = torch.from_numpy(np.asarray(NETWORKS[name])).double()
    found = torch.as_tensor(found).detach().double()
    compared.add(name)
    assert found.shape == expected.shape, name
    distance = float((found - expected).norm() / expected.norm())
    assert distance <= TOLERANCE, f"{name}: relative distance {distance:.2e}"


def stats(x):
    return torch.stack([x.mean(), x.std(), x.abs().max()])


def check_feature(name, x):
    step = min(4, max(1, x.shape[-2] // 4))
    check(f"{name}.slice", x[:, ::8, ::step, ::step])
    check(f"{name}.stats", stats(x))


@cache
def generator(variant):
    network = build_generator(published_config(variant))
    parts = [published_state(part) for part in ("encoder", "decoder", f"bottleneck.{variant}")]
    network.load_state_dict(generator_state(*parts, variant))
    return network.eval()


@cache
def steps(variant, mask_name):
    """Run the generator, keeping what its parts return."""
    network, kept = generator(variant), {}
    hooks = [
        getattr(network, part).register_forward_hook(lambda _, __, output, part=part: kept.update({part: output}))
        for part in ("encoder", "paths")
    ]
    with torch.no_grad():
        output = network(image("image"), mask(mask_name))
    for hook in hooks:
        hook.remove()
    return kept, output


@cache
def autoencoder(kind):
    network = build_autoencoder(AutoencoderConfig(kind=kind))
    network.load_state_dict(translate(published_state(f"cae_{kind}"), autoencoder_keys(kind), kind))
    return network.eval()


@cache
def critic(name, size):
    network = Critic(size, 64)
    network.load_state_dict(translate(published_state(f"discriminator_{name}"), critic_keys(), name))
    return network.eval()


@cache
def vgg():
    network = Vgg16(published=True)
    network.steps.load_state_dict(published_state("vgg16.features"))
    return network.eval()


@cache
def low_resolution():
    target = build_target(TargetConfig(arm="low_resolution"), GeneratorConfig())
    target.readout.load_state_dict(readout_state(published_state("bottleneck.medfe", only="loss.")))
    return target


def intermediate(variant, output):
    if variant == "medfe":
        target = low_resolution()
        return target.loss(Features(output.structure, output.texture), target.goals(image("image"), image("other")))
    goals = [autoencoder(kind).encode(image("image")) for kind in ("structure", "texture")]
    return intermediate_loss((output.structure, output.texture), goals)


@pytest.mark.parametrize("mask_name", MASKS)
def test_encoder_matches(mask_name):
    for stage, feature in enumerate(steps("medfe", mask_name)[0]["encoder"], start=1):
        check_feature(f"{mask_name}.encoder.{stage}", feature)


@pytest.mark.parametrize("mask_name", MASKS)
@pytest.mark.parametrize("variant", VARIANTS)
def test_generator_matches(variant, mask_name):
    kept, output = steps(variant, mask_name)
    name = f"{variant}.{mask_name}"
    for stage, feature in enumerate(kept["paths"], start=1):
        check_feature(f"{name}.bottleneck.{stage}", feature)
    check_feature(f"{name}.structure", output.structure)
    check_feature(f"{name}.texture", output.texture)
    check(f"{name}.output.slice", output.image[:, :, ::4, ::4])
    check(f"{name}.output.stats", stats(output.image))
    with torch.no_grad():
        check(f"{name}.loss.intermediate", intermediate(variant, output))


@pytest.mark.parametrize("variant", VARIANTS)
def test_objective_matches(variant):
    output, real, name = steps(variant, "center")[1], image("image"), f"{variant}.objective"
    fake = output.image
    scores = [(critic("global", 256)(real), critic("global", 256)(fake))]
    scores.append((critic("local", 64)(real[CROP]), critic("local", 64)(fake[CROP])))
    weight = TargetConfig(arm="low_resolution" if variant == "medfe" else "autoencoder").default_weight
    with torch.no_grad():
        layers = vgg().perceptual_layers + vgg().style_layers
        seen, wanted = vgg().features(fake, layers), vgg().features(real, layers)
        terms = {
            "l1_image": l1(fake, real),
            "adversarial": sum(adversarial_loss(*pair) for pair in scores),
            "perceptual": perceptual_loss(*([x[layer] for layer in vgg().perceptual_layers] for x in (seen, wanted))),
            "style": style_loss(*([x[layer] for layer in vgg().style_layers] for x in (seen, wanted))),
            "intermediate": intermediate(variant, output),
        }
        objective = weigh(terms, LossConfig(), weight)
        check(f"{name}.d", sum(critic_loss(*pair) for pair in scores))
    check(f"{name}.g", terms["adversarial"])
    check(f"{name}.l1", terms["l1_image"])
    check(f"{name}.perceptual", terms["perceptual"])
    check(f"{name}.style", terms["style"])
    check(f"{name}.intermediate_weighted", weight * terms["intermediate"])
    check(f"{name}.total", objective.total)


@pytest.mark.parametrize("kind", ["texture", "structure"])
def test_autoencoders_match(kind):
    with torch.no_grad():
        code = autoencoder(kind).encode(image("image"))
        decoded = autoencoder(kind).decode(code)
    check_feature(f"cae_{kind}.encoded", code)
    check(f"cae_{kind}.decoded.slice", decoded[:, :, ::4, ::4])
    if f"cae_{kind}.decoded.stats" in NETWORKS:
        check(f"cae_{kind}.decoded.stats", stats(decoded))
    check(f"cae_{kind}.l1", l1(decoded, image("image")))


def test_equalization_matches():
    network = generator("medfe").equalization
    assert isinstance(network, Equalization)
    x = tensor("equalization.input", (1, 512, 32, 32), 1024.0)
    x = x / x.std()
    check("equalization.input.std", x.std())
    with torch.no_grad():
        excited = network.excitation(x)
        joined = network.propagate(excited)
        output = network(x)
    for name, value, step in (("se", excited, 8), ("concat", joined, 16), ("output", output, 8)):
        check(f"equalization.{name}.slice", value[:, ::step])
        check(f"equalization.{name}.stats", stats(value))


@pytest.mark.parametrize("kernel", [3, 5, 7])
def test_partial_convolution_matches(kernel):
    x = tensor("partialconv.input", (1, 8, 24, 24), 10.0)
    known = torch.ones(1, 1, 24, 24)
    known[:, :, 6:17, 4:20] = 0
    network = PublishedPartialConv2d(8, 8, kernel)
    network.convolution.weight.data = tensor(f"partialconv.{kernel}.weight", (8, 8, kernel, kernel))
    network.mask_weight = torch.full((8, 1, kernel, kernel), 8.0)  # ones, summed over eight inputs
    norm = nn.InstanceNorm2d(8, affine=True)
    norm.weight.data = tensor(f"partialconv.{kernel}.norm.weight", (8,))
    norm.bias.data = tensor(f"partialconv.{kernel}.norm.bias", (8,))
    area = network.area(known)
    output = network(x, area)
    check(f"partialconv.{kernel}.conv", output)
    check(f"partialconv.{kernel}.mask", area.updated)
    check(f"partialconv.{kernel}.activ", leaky_relu(norm(output)))


def test_critics_match():
    real, fake = (critic("global", 256)(image(name)) for name in ("image", "other"))
    check("discriminator.global", real)
    check("discriminator.local", critic("local", 64)(image("image")[CROP]))
    check("gan.d", critic_loss(real, fake))
    check("gan.g", adversarial_loss(real, fake))


def test_vgg_and_its_losses_match():
    names = sorted({key.split(".")[1] for key in NETWORKS.files if key.startswith("vgg16.")})
    layers = [name for name in names if name != "max_3"]
    with torch.no_grad():
        features = vgg().features(image("image"), layers)
        features["max_3"] = nn.functional.max_pool2d(features["relu3_3"], 2)
        wanted = vgg().perceptual_layers + vgg().style_layers
        both = [vgg().features(image(name), wanted) for name in ("other", "image")]
    for name in names:
        check_feature(f"vgg16.{name}", features[name])
    check("loss.perceptual", perceptual_loss(*([x[layer] for layer in vgg().perceptual_layers] for x in both)))
    check("loss.style", style_loss(*([x[layer] for layer in vgg().style_layers] for x in both)))


RTV_NAMES = sorted(key.removesuffix(".input") for key in RTV.files if key.endswith(".input"))


@pytest.mark.parametrize("name", RTV_NAMES)
def test_rtv_matches(name):
    picture = torch.from_numpy(RTV[f"{name}.input"]).permute(2, 0, 1)[None].float() / 255
    for row, (smoothness, sigma, sharpness, iterations) in enumerate(RTV["parameters"], start=1):
        config = RtvConfig(smoothness=smoothness, sigma=sigma, sharpness=sharpness, iterations=int(iterations))
        found = smooth(picture, **config.model_dump())[0].permute(1, 2, 0)
        assert np.abs(found.numpy() - RTV[f"{name}.output.{row}"]).max() <= 1e-3


def test_every_recorded_array_was_compared():
    """Runs last in this file: whatever was recorded and not compared above is named."""
    if len(compared) == 0:
        pytest.skip("run the whole file: this test looks at what the others compared")
    assert set(NETWORKS.files) - compared - {"salt", "mask.irregular"} == set()
