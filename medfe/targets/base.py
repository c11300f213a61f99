"""The seam of the project: what the texture and structure features are compared with.

An arm is a small class. It says what the goals are (`goals`, from the ground truth, once a step) and what of the
features is compared with them (`read`, with gradients). All else is shared by every arm.
"""

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import Tensor, nn

from medfe.config import GeneratorConfig, TargetConfig
from medfe.losses import intermediate_loss
from medfe.models.branches import Features


class Target(nn.Module, ABC):
    """Intermediate ground truth of one arm.

    A subclass is built as `Subclass(config, generator)`. Its parameters with `requires_grad` are trained together with
    the generator; whatever is frozen must be set so.
    """

    uses_structure_image: ClassVar[bool] = True
    """Whether `goals` needs the structure image. Where not, none is computed."""

    def __init__(self, config: TargetConfig, generator: GeneratorConfig) -> None:
        super().__init__()
        self.config = config
        self.generator = generator
        self.weight_digests: dict[str, str] = {}
        """Digests of the weight files that it was made from, by kind; a generator's weight file repeats them."""

    @abstractmethod
    def goals(self, image: Tensor, structure_image: Tensor) -> Features:
        """Return what structure and texture are compared with, without gradients.

        Args:
            image: ground truth, N×3×H×W in [-1, 1].
            structure_image: ground truth without texture (RTV, or the image itself), N×3×H×W in [-1, 1].
        """

    def read(self, feature: Tensor) -> Tensor:
        """Return what is compared of a feature N×F×G×G; by default all of it."""
        return feature

    def loss(self, features: Features, goals: Features) -> Tensor:
        """Return the intermediate term, unweighted: L1 of structure plus L1 of texture."""
        return intermediate_loss([self.read(feature) for feature in features], goals)

    @torch.no_grad()
    def picture(self, feature: Tensor) -> Tensor | None:
        """Return a feature, or a goal's `read` counterpart, as an image N×3×h×w in [-1, 1], if the arm has a way to."""
        del feature
        return None


class NoTarget(Target):
    """Arm `none`: no intermediate term."""

    uses_structure_image = False

    def goals(self, image: Tensor, structure_image: Tensor) -> Features:
        """Return empty goals."""
        del structure_image
        return Features(image.new_empty(0), image.new_empty(0))

    def loss(self, features: Features, goals: Features) -> Tensor:
        """Return zero."""
        del goals
        return features.structure.new_zeros(())
