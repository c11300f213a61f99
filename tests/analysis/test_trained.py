"""A model's target is the one it was trained against."""

import pytest
import torch

from medfe import Inpainter
from medfe.analysis.trained import load_target
from medfe.config import AutoencoderConfig, GeneratorConfig
from medfe.errors import MedfeError
from medfe.models.autoencoder import build_autoencoder
from medfe.models.generator import build_generator
from medfe.weightfiles import load_weights, save_weights, weights_digest


def save_model(folder, **metadata):
    config = GeneratorConfig(image_size=64, base_channels=2, feature_channels=8, head="tanh")
    tensors = {f"generator.{name}": tensor for name, tensor in build_generator(config).state_dict().items()}
    save_weights(folder / "generator.safetensors", tensors, {
        "kind": "generator", "config": config.model_dump(mode="json"), "target": {"arm": "random_encoder"}, **metadata,
    })  # fmt: skip
    networks = {}
    for kind in ("structure", "texture"):
        size = AutoencoderConfig(kind=kind, image_size=64, base_channels=2, max_channels=8, code_channels=8)
        networks[kind] = build_autoencoder(size)
        state = networks[kind].state_dict()
        save_weights(folder / f"{kind}.safetensors", state, {"kind": kind, "config": size.model_dump(mode="json")})
    return networks


def test_encoders_that_the_released_code_has_drawn_are_not_drawn_again(tmp_path):
    for name, metadata in (("own", {}), ("imported", {"released_code": {"variant": "medfe_cae"}})):
        networks = save_model(tmp_path / name, **metadata)
        target = load_target(Inpainter.from_pretrained(tmp_path / name, "cpu"))
        same = torch.equal(target.texture.encoder[0][0].weight, networks["texture"].encoder[0][0].weight)
        assert same == (name == "imported")
        assert target.config.arm == "random_encoder"


def test_auto_encoders_are_those_that_the_model_was_trained_against(tmp_path):
    save_model(tmp_path)
    own = {kind: weights_digest(tmp_path / f"{kind}.safetensors") for kind in ("structure", "texture")}
    save_model(tmp_path, autoencoders=own)  # draws other auto-encoders
    with pytest.raises(MedfeError, match="the structure auto-encoder is not the one"):
        load_target(Inpainter.from_pretrained(tmp_path, "cpu"))
    own = {kind: weights_digest(tmp_path / f"{kind}.safetensors") for kind in ("structure", "texture")}
    weights = load_weights(tmp_path / "generator.safetensors", "generator")
    save_weights(tmp_path / "generator.safetensors", weights.tensors, weights.metadata | {"autoencoders": own})
    load_target(Inpainter.from_pretrained(tmp_path, "cpu"))
