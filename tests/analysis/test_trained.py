"""A model's target is the one it was trained against."""

import torch

from medfe import Inpainter
from medfe.analysis.trained import load_target
from medfe.config import AutoencoderConfig, GeneratorConfig
from medfe.models.autoencoder import build_autoencoder
from medfe.models.generator import build_generator
from medfe.weightfiles import save_weights


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
