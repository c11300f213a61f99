"""A trained model together with the target it was trained against."""

from __future__ import annotations

import torch
from torch import Tensor

from medfe.config import AUTOENCODER_ARMS, RunConfig
from medfe.data.images import to_tensor, to_uint8
from medfe.errors import MedfeError
from medfe.inference import Inpainter
from medfe.targets import Target, build_target
from medfe.targets.rtv_folder import smooth_photograph
from medfe.training.checkpoint import CONFIG_FILE, load_config
from medfe.weightfiles import load_weights

_PREFIX = "target."


def load_target(inpainter: Inpainter) -> Target:
    """Return the target a model was trained against, frozen, on the model's device.

    What was trained together with the generator is read from its weight file. The auto-encoders of `autoencoder` and
    `random_encoder` are looked for where the run's settings say, or beside a weight file without settings; those of an
    imported checkpoint of the released code are taken as they are.

    Raises:
        MedfeError: if files or tensors of the target are missing, or the auto-encoders are others than those that the
            model was trained against.
    """
    config, path = inpainter.target_config, inpainter.source
    if path is None:
        raise MedfeError("the model has no weight file, which its target would be read from")
    if config.arm in AUTOENCODER_ARMS:
        folder = path.parent
        if (folder / CONFIG_FILE).is_file():  # a run folder
            folder = load_config(folder, RunConfig).target.autoencoders or folder
        config = config.replace(autoencoders=folder)
    built = config
    if config.arm == "random_encoder" and "released_code" in inpainter.metadata:
        built = config.replace(arm="autoencoder")  # the released code re-drew the encoders, its files hold the result
    target = build_target(built, inpainter.generator.config)
    for kind, trained_against in inpainter.metadata.get("autoencoders", {}).items():
        if target.weight_digests.get(kind, trained_against) != trained_against:
            raise MedfeError(
                f"{config.autoencoders}: the {kind} auto-encoder is not the one {path} was trained against"
            )
    target.config = config
    tensors = load_weights(path, "generator").tensors
    own = {name.removeprefix(_PREFIX): tensor for name, tensor in tensors.items() if name.startswith(_PREFIX)}
    trained = {name for name, parameter in target.named_parameters() if parameter.requires_grad}
    if trained - own.keys():
        missing = ", ".join(sorted(trained - own.keys()))
        raise MedfeError(f"{path}: holds no {missing}, the trained part of its target")
    target.load_state_dict(own, strict=False)
    return target.eval().requires_grad_(False).to(inpainter.device)


def structure_images(images: Tensor, target: Target) -> Tensor:
    """Return what a target's structure goals are made of: the images smoothed by RTV, or the images themselves.

    Args:
        images: N×3×S×S in [-1, 1].
        target: its settings decide.
    """
    if not target.uses_structure_image or target.config.structure_image != "rtv":
        return images
    smoothed = [to_tensor(smooth_photograph(photograph, target.config.rtv)) for photograph in to_uint8(images)]
    return torch.stack(smoothed).to(images)
