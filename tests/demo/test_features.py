import numpy as np
import pytest
import torch

from demo.features import Observer
from demo.models import Contender
from medfe.config import AutoencoderConfig, GeneratorConfig, TargetConfig
from medfe.data.images import resize, to_tensor
from medfe.data.samples import portraits
from medfe.errors import MedfeError
from medfe.inference import Inpainter
from medfe.models.autoencoder import build_autoencoder
from medfe.models.generator import build_generator
from medfe.targets import build_target
from medfe.weightfiles import save_weights

PORTRAIT = portraits()["grace_hopper"]
CONFIG = GeneratorConfig.preset("tiny")
KINDS = ("structure", "texture")


@pytest.fixture(scope="module")
def autoencoders(tmp_path_factory):
    folder = tmp_path_factory.mktemp("autoencoders")
    for kind in KINDS:
        torch.manual_seed(len(kind))
        config = AutoencoderConfig.matching(CONFIG, kind)
        metadata = {"kind": kind, "config": config.model_dump(mode="json")}
        save_weights(folder / f"{kind}.safetensors", build_autoencoder(config).state_dict(), metadata)
    return folder


def contender(folder, with_target=True, **settings):
    """A model whose weights lie in `folder`, as the training leaves them."""
    torch.manual_seed(0)
    target = TargetConfig(**settings)
    tensors = {f"generator.{name}": value for name, value in build_generator(CONFIG).state_dict().items()}
    if with_target and target.arm == "low_resolution":
        tensors |= {f"target.{name}": value for name, value in build_target(target, CONFIG).state_dict().items()}
    metadata = {"kind": "generator", "config": CONFIG.model_dump(mode="json"), "target": target.model_dump(mode="json")}
    save_weights(folder / f"{target.arm}.safetensors", tensors, metadata)
    return Contender("Model", Inpainter.from_pretrained(folder / f"{target.arm}.safetensors", "cpu"))


def hole():
    mask = np.zeros((PORTRAIT.height, PORTRAIT.width), dtype=bool)
    mask[60:120, 60:120] = True
    return mask


def square():
    return to_tensor(resize(PORTRAIT, CONFIG.image_size))


def colors(picture, side):
    """Undo the enlargement and return values in [-1, 1]."""
    return np.asarray(picture.resize((side, side), 0)).transpose(2, 0, 1) / 127.5 - 1


def test_low_resolution_is_shown_beside_the_shrunken_picture(tmp_path):
    model = contender(tmp_path, arm="low_resolution", structure_image="image")
    views = Observer(model).views(PORTRAIT, hole())
    expected = torch.nn.functional.interpolate(square()[None], CONFIG.grid_size, mode="bilinear")[0]
    for picture in (views.structure_target, views.texture_target):
        assert np.abs(colors(picture, CONFIG.grid_size) - expected.numpy()).max() < 1 / 127
    assert np.asarray(views.structure).std() > 0


def test_the_structure_target_of_medfe_is_smoother_than_the_texture_target(tmp_path):
    views = Observer(contender(tmp_path, arm="low_resolution")).views(PORTRAIT, hole())
    structure, texture = (colors(view, CONFIG.grid_size) for view in (views.structure_target, views.texture_target))
    assert np.abs(np.diff(structure)).mean() < 0.95 * np.abs(np.diff(texture)).mean()


def test_codes_are_shown_decoded(autoencoders):
    views = Observer(contender(autoencoders, arm="autoencoder")).views(PORTRAIT, hole())
    target = build_target(TargetConfig(arm="autoencoder", autoencoders=autoencoders), CONFIG)
    for kind in KINDS:
        with torch.no_grad():
            expected = getattr(target, kind)(square()[None])[0]
        found = colors(getattr(views, f"{kind}_target"), CONFIG.image_size)
        assert np.abs(found - expected.numpy()).max() < 1 / 127


def test_block_dct_shows_its_target_and_loses_little_with_many_coefficients(tmp_path):
    few, many = (
        Observer(contender(tmp_path, arm="block_dct", structure_image="image", coefficients=count)) for count in (3, 32)
    )
    errors = [
        np.abs(colors(observer.views(PORTRAIT, hole()).texture_target, CONFIG.image_size) - square().numpy()).mean()
        for observer in (few, many)
    ]
    assert errors[1] < 0.6 * errors[0]


@pytest.mark.parametrize("arm", ["none", "random_encoder"])
def test_an_arm_without_a_picture_of_its_target_says_so(autoencoders, arm):
    with pytest.raises(MedfeError, match=arm):
        Observer(contender(autoencoders, arm=arm))


def test_missing_parts_of_a_target_are_named(tmp_path):
    with pytest.raises(MedfeError, match=r"readout\.weight"):
        Observer(contender(tmp_path, arm="low_resolution", with_target=False))
    with pytest.raises(MedfeError, match=r"structure\.safetensors"):
        Observer(contender(tmp_path, arm="autoencoder"))
