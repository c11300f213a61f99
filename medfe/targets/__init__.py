"""What the texture and structure features are compared with: one small class per arm, one interface.

To add an arm, subclass `Target` anywhere and name it `module:Class`.
"""

import importlib
import inspect

from medfe.config import GeneratorConfig, TargetConfig
from medfe.errors import MedfeError
from medfe.models.branches import Features
from medfe.targets.autoencoder import AutoencoderCode, RandomEncoder
from medfe.targets.base import NoTarget, Target
from medfe.targets.block_dct import BlockDct
from medfe.targets.low_resolution import LowResolution

ARM_CLASSES: dict[str, type[Target]] = {
    "low_resolution": LowResolution,
    "autoencoder": AutoencoderCode,
    "random_encoder": RandomEncoder,
    "block_dct": BlockDct,
    "none": NoTarget,
}


def build_target(config: TargetConfig, generator: GeneratorConfig) -> Target:
    """Return the target of an arm.

    Args:
        config: the arm, or `module:Class` of a user's own `Target`, and its knobs.
        generator: the generator whose features it constrains.

    Raises:
        MedfeError: if a user's class cannot be found, or the arm lacks its files.
    """
    return target_class(config.arm)(config, generator)


def target_class(arm: str) -> type[Target]:
    """Return the class of an arm's name or of `module:Class`.

    Raises:
        MedfeError: if there is none.
    """
    if arm in ARM_CLASSES:
        return ARM_CLASSES[arm]
    module_name, _, class_name = arm.partition(":")
    if not all(part.isidentifier() for part in (*module_name.split("."), class_name)):
        raise MedfeError(f"target {arm!r}: expected module:Class, or one of: {', '.join(ARM_CLASSES)}")
    try:
        found = getattr(importlib.import_module(module_name), class_name)
    except (ImportError, AttributeError) as error:
        raise MedfeError(f"target {arm!r}: {error}; expected module:Class with the module importable") from None
    if not (isinstance(found, type) and issubclass(found, Target)):
        raise MedfeError(f"target {arm!r}: not a class derived from medfe.targets.Target")
    if inspect.isabstract(found):
        missing = ", ".join(sorted(found.__abstractmethods__))
        raise MedfeError(f"target {arm!r}: lacks {missing}, expected a class that defines it")
    return found


__all__ = ["ARM_CLASSES", "Features", "Target", "build_target", "target_class"]
