"""The generator's objective: one object that holds the frozen backbone and turns a step's tensors into terms."""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrize

from medfe.backbones import Backbone, build_backbone
from medfe.config import GeneratorConfig, LossConfig
from medfe.losses import Mean, adversarial_loss, critic_loss, hole_l1, l1, perceptual_loss, style_loss
from medfe.models.branches import Features
from medfe.models.critic import Critics
from medfe.models.generator import Generator, GeneratorOutput
from medfe.targets import Target
from medfe.training.initial import InitialWeights
from medfe.weightfiles import fill


class ConstrainedGenerator(nn.Module):
    """Generator and target as one module: everything that one optimizer trains, and the intermediate term."""

    def __init__(self, generator: Generator, target: Target) -> None:
        super().__init__()
        self.generator = generator
        self.target = target

    def forward(self, image: Tensor, mask: Tensor, goals: Features) -> tuple[GeneratorOutput, Tensor]:
        """Return the generator's output and the unweighted intermediate term."""
        output = self.generator(image, mask)
        return output, self.target.loss(Features(output.structure, output.texture), goals)

    def inference_names(self) -> set[str]:
        """Return the names of all that is kept of a training: the generator, and what is trained of the target."""
        names = {name for name in self.state_dict() if name.startswith("generator.")}
        names |= {name for name, parameter in self.named_parameters() if parameter.requires_grad}
        parts = [("target", self.target, False), *(
            (f"target.{name}", module, True) for name, module in self.target.named_children()
        )]  # fmt: skip
        for prefix, module, recurse in parts:  # buffers, where there is something to train beside them
            if any(parameter.requires_grad for parameter in module.parameters(recurse)):
                names |= {f"{prefix}.{name}" for name, _ in module.named_buffers(recurse=recurse)}
        return names

    def start_from(self, initial: InitialWeights, arm: str) -> None:
        """Take over the weights of an earlier training, for a training in `arm`.

        Raises:
            MedfeError: if they are of other networks.
        """
        needed = self.inference_names()
        if initial.arm != arm:  # another arm's read-out of the features is no use
            needed = {name for name in needed if name.startswith("generator.")}
        given = {
            name: tensor
            for name, tensor in initial.tensors.items()
            if name in needed or name.startswith("generator.")  # one too many is refused
        }
        own = self.state_dict()
        fill(self, {name: own[name] for name in own.keys() - needed} | given, initial.source)


class BackboneTerms(nn.Module):
    """Perceptual and style terms on a frozen backbone, or none where both weights are 0."""

    def __init__(self, config: LossConfig, *, published: bool = False) -> None:
        super().__init__()
        self.config = config
        self.backbone: Backbone | None = None
        if config.perceptual or config.style:
            self.backbone = build_backbone(config.backbone, config.backbone_weights, published=published)

    def forward(self, fake: Tensor, real: Tensor, rng: np.random.Generator) -> dict[str, Tensor]:
        """Return the terms by name; `rng` draws the shift, the same for both images (N×3×H×W in [-1, 1])."""
        if self.backbone is None:
            return {}
        layers: Sequence[str] = ()
        if self.config.perceptual:
            layers = self.backbone.perceptual_layers
        if self.config.style:
            layers = (*layers, *self.backbone.style_layers)
        down, right = (int(pixels) for pixels in rng.integers(self.config.shift + 1, size=2))
        seen = self.backbone.features(self._view(fake, down, right), layers)
        with torch.no_grad():
            wanted = self.backbone.features(self._view(real, down, right), layers)
        terms = {}
        for name, distance, chosen in (
            ("perceptual", perceptual_loss, self.backbone.perceptual_layers),
            ("style", style_loss, self.backbone.style_layers),
        ):
            if getattr(self.config, name):
                terms[name] = distance([seen[layer] for layer in chosen], [wanted[layer] for layer in chosen])
        return terms

    def _view(self, image: Tensor, down: int, right: int) -> Tensor:
        """Enlarge, then shift down and right; what leaves the frame is lost, the border is mirrored."""
        if self.config.upsample > 1:
            image = F.interpolate(image, scale_factor=self.config.upsample, mode="bilinear", align_corners=False)
        if down or right:
            height, width = image.shape[-2:]
            image = F.pad(image, (right, 0, down, 0), mode="reflect")[..., :height, :width]
        return image


def reconstruction_terms(fake: Tensor, real: Tensor, mask: Tensor, config: LossConfig) -> dict[str, Tensor]:
    """Return the L1 terms that have a weight."""
    terms = {"l1_image": l1(fake, real)}
    if config.l1_hole:
        terms["l1_hole"] = hole_l1(fake, real, mask)
    return terms


def widen(x: Tensor) -> Tensor:
    """Return half precision as float32, and anything else as it is."""
    return x.float() if x.dtype in (torch.bfloat16, torch.float16) else x


def draw_corner(config: GeneratorConfig, rng: np.random.Generator) -> tuple[int, int]:
    """Return row and column of the local critic's crop.

    Uniform over 0 … image_size − crop − 1 as published, unrelated to the hole; one crop for all images of a step.
    """
    row, column = rng.integers(max(config.image_size - config.local_crop, 1), size=2)
    return int(row), int(column)


def critics_loss(critics: Critics, fake: Tensor, real: Tensor, corner: tuple[int, int], mean: Mean) -> Tensor:
    """Return the critics' loss, global plus local, on a generated and a real batch."""
    scores = critics(torch.cat([real, fake.detach()]), corner)  # one pass, one power iteration
    halves = [widen(score).chunk(2) for score in scores]
    return torch.stack([critic_loss(real, fake, mean) for real, fake in halves]).sum()


def generator_adversarial_loss(
    critics: Critics, fake: Tensor, real: Tensor, corner: tuple[int, int], mean: Mean
) -> Tensor:
    """Return the generator's adversarial term, global plus local, by critics whose weights take no gradients."""
    with parametrize.cached():  # one power iteration for both passes
        with torch.no_grad():
            wanted = critics(real, corner)
        scores = critics(fake, corner)
    pairs = zip(wanted, scores, strict=True)
    return torch.stack([adversarial_loss(widen(a), widen(b), mean) for a, b in pairs]).sum()
