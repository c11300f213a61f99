"""One training of a generator: its networks, optimizers and moving average, and the step that changes them."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from medfe.config import RunConfig
from medfe.data.images import composite
from medfe.errors import MedfeError
from medfe.losses import Mean, weigh
from medfe.models.critic import build_critics
from medfe.models.generator import build_generator
from medfe.targets import build_target
from medfe.training.checkpoint import commits, save_state
from medfe.training.initial import InitialWeights
from medfe.training.loop import (
    check_finite,
    check_finite_weights,
    mean_of_processes,
    precision_begun,
    schedule_factor,
    seed_step,
    set_learning_rate,
)
from medfe.training.objective import (
    BackboneTerms,
    ConstrainedGenerator,
    critics_loss,
    draw_corner,
    generator_adversarial_loss,
    reconstruction_terms,
)
from medfe.weightfiles import GENERATOR_FILE, save_weights


class MovingAverage:
    """Exponential moving average of a module's trained parameters, with a shorter memory at the start."""

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.decay = decay
        self.names = [name for name, parameter in module.named_parameters() if parameter.requires_grad]
        self.source = [parameter for parameter in module.parameters() if parameter.requires_grad]
        self.average = [parameter.detach().clone() for parameter in self.source]

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the parameters after `step` steps."""
        decay = min(self.decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(self.average, [source.detach() for source in self.source], 1 - decay)

    def state(self) -> dict[str, Tensor]:
        """Return the average by parameter name."""
        return dict(zip(self.names, self.average, strict=True))

    @torch.no_grad()
    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Take over a saved average."""
        for name, tensor in zip(self.names, self.average, strict=True):
            tensor.copy_(state[name])


class Advance(NamedTuple):
    """What one step gives back."""

    values: dict[str, float]
    """Every term, unweighted, their weighted sum, and the learning rate."""
    real: Tensor
    """Ground truth, N×3×H×W in [-1, 1]."""
    mask: Tensor
    """N×1×H×W, 1 = hole."""
    fake: Tensor
    """The generator's output, N×3×H×W, before compositing and before this step's update."""


class Run:
    """Networks, optimizers and moving average of one training: advanced step by step, saved and restored as one.

    Args:
        config: everything about the run.
        fabric: launched Fabric.

    Raises:
        MedfeError: if weights that the arm or the losses need are missing.
    """

    def __init__(self, config: RunConfig, fabric: Fabric) -> None:
        self.config, self.fabric = config, fabric
        self.commits = commits(None)
        self.earlier: list[dict[str, Any]] = []
        torch.manual_seed(config.seed)  # before the networks, whatever the arm
        generator = build_generator(config.generator)
        self.raw_critics = build_critics(config.generator)
        self.target = build_target(config.target, config.generator)
        self.weight_digests = self.target.weight_digests
        self.precision = precision_begun(None, fabric)
        self.raw_pair = ConstrainedGenerator(generator, self.target)
        self.raw_pair.to(memory_format=torch.channels_last)
        self.raw_critics.to(memory_format=torch.channels_last)

        trained = [parameter for parameter in self.raw_pair.parameters() if parameter.requires_grad]
        adam = partial(torch.optim.Adam, betas=config.optimizer.betas, fused=fabric.device.type in ("cpu", "cuda"))
        optimizer = adam(trained, lr=config.optimizer.learning_rate)
        critic_optimizer = adam(self.raw_critics.parameters(), lr=config.optimizer.critic_learning_rate)
        self.pair, self.optimizer = fabric.setup(self.raw_pair, optimizer)
        self.critics, self.critic_optimizer = fabric.setup(self.raw_critics, critic_optimizer)
        self.ema = MovingAverage(self.raw_pair, config.optimizer.ema_decay)

        self.dtype = next(self.raw_pair.parameters()).dtype
        published = config.generator.convention == "published"
        self.backbone_terms = BackboneTerms(config.losses, published=published).to(fabric.device, self.dtype)
        self.backbone_terms.to(memory_format=torch.channels_last)
        self.mean = distributed_mean(fabric)
        if config.compile:
            generator.compile()

    def advance(self, batch: Mapping[str, Tensor], step: int) -> Advance:
        """Train one step: both critics on the output (or its composite), then the generator with the updated critics.

        Args:
            batch: `image` N×3×H×W and, where the arm needs it, `structure`, in [-1, 1]; `mask` N×1×H×W, 1 = hole.
            step: number of the step, from 1; all that is drawn at random depends on it and the seed alone.

        Raises:
            NonFiniteLossError: naming step and term.
        """
        config, fabric = self.config, self.fabric
        seed_step(config.seed, step)
        rng = np.random.default_rng((config.seed, step, 2))
        factor = schedule_factor(config.optimizer.schedule, step - 1, config.max_steps)
        set_learning_rate(self.optimizer, config.optimizer.learning_rate * factor)
        set_learning_rate(self.critic_optimizer, config.optimizer.critic_learning_rate * factor)
        real, mask = batch["image"].to(self.dtype), batch["mask"].to(self.dtype)
        corner = draw_corner(config.generator, rng)

        # Forward
        with fabric.autocast():
            goals = self.target.goals(real, batch.get("structure", real).to(self.dtype))
        output, intermediate = self.pair(real, mask, goals)
        fake = output.image
        seen = composite(fake, real, mask) if config.losses.composite else fake

        # Critics
        terms: dict[str, Tensor] = {}
        if config.losses.adversarial:
            self.raw_critics.requires_grad_(True)
            terms["critic"] = critics_loss(self.critics, seen, real, corner, self.mean)
            check_finite(terms, step, fabric)
            self.critic_optimizer.zero_grad()
            fabric.backward(terms["critic"])
            self.critic_optimizer.step()

        # Generator
        weighted = {**reconstruction_terms(fake, real, mask, config.losses), "intermediate": intermediate}
        with fabric.autocast():
            weighted |= self.backbone_terms(seen, real, rng)
            if config.losses.adversarial:
                self.raw_critics.requires_grad_(False)  # unwrapped: nothing of theirs is to be synchronised here
                weighted["adversarial"] = generator_adversarial_loss(self.raw_critics, seen, real, corner, self.mean)
        objective = weigh(weighted, config.losses, config.target.weight)
        values = check_finite({**objective.terms, **terms, "total": objective.total}, step, fabric)
        self.optimizer.zero_grad()
        fabric.backward(objective.total)
        self.optimizer.step()
        self.ema.update(step)
        return Advance({**values, "learning_rate": config.optimizer.learning_rate * factor}, real, mask, fake)

    def save(self, out: Path, step: int) -> None:
        """Write weights and then the state, once for all processes; a kill between the two is made good by going on.

        Raises:
            NonFiniteLossError: in all processes, if weights are not finite; what was saved before stays.
        """
        check_finite_weights({**self.inference_state(), **self.raw_critics.state_dict(prefix="critics.")}, step)
        if self.fabric.is_global_zero:
            save_weights(
                out / GENERATOR_FILE,
                self.inference_state(),
                generator_metadata(self.config, step, self.commits, self.precision, self.earlier, self.weight_digests),
            )
            save_state(out, {
                "step": step, "pair": self.raw_pair.state_dict(), "critics": self.raw_critics.state_dict(),
                "ema": self.ema.state(), "optimizer": self.optimizer.state_dict(),
                "critic_optimizer": self.critic_optimizer.state_dict(),
                "precision": self.fabric.strategy.precision.state_dict(), "works_in": self.precision,
                "commits": self.commits, "earlier": self.earlier, "weight_digests": self.weight_digests,
            })  # fmt: skip
        self.fabric.barrier()

    def inference_state(self) -> dict[str, Tensor]:
        """Return generator and trained parts of the target, averaged, with buffers; frozen networks stay out."""
        names = self.raw_pair.inference_names()
        return {name: tensor for name, tensor in self.raw_pair.state_dict().items() if name in names} | self.ema.state()

    def start_from(self, initial: InitialWeights) -> None:
        """Take over the weights of an earlier training; critics and optimizers begin anew.

        Raises:
            MedfeError: if they are of other networks.
        """
        self.raw_pair.start_from(initial, self.config.target.arm)
        self.ema.restore(dict(self.raw_pair.named_parameters()))
        self.earlier = initial.history

    def restore(self, state: Mapping[str, Any], source: Path) -> None:
        """Take over a state that was saved in `source`.

        Raises:
            MedfeError: if it is of other networks.
        """
        try:
            self.raw_pair.load_state_dict(state["pair"])
            self.raw_critics.load_state_dict(state["critics"])
            self.ema.restore(state["ema"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.critic_optimizer.load_state_dict(state["critic_optimizer"])
            if state.get("precision"):  # how far 16-mixed scales the gradients
                self.fabric.strategy.precision.load_state_dict(state["precision"])
            self.commits, self.earlier = commits(state), state.get("earlier", [])
            self.precision = precision_begun(state, self.fabric)
            self.weight_digests = state.get("weight_digests", {})  # frozen networks come from the state too
        except (KeyError, RuntimeError, ValueError) as error:
            reason = str(error).splitlines()[0]
            raise MedfeError(f"{source}: the saved state does not fit this run's networks ({reason})") from None


def distributed_mean(fabric: Fabric) -> Mean:
    """Return the mean over the batch of all processes, with gradients through all of them."""
    if fabric.world_size == 1:
        return torch.mean

    def mean(x: Tensor) -> Tensor:
        return cast("Tensor", _MeanOfProcesses.apply(x.mean(), fabric))

    return mean


class _MeanOfProcesses(torch.autograd.Function):
    """Mean of a tensor over processes. All of them use it, so its gradient is the mean of their gradients."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, fabric: Fabric) -> Tensor:
        ctx.fabric = fabric
        return mean_of_processes(value.clone(), fabric)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return mean_of_processes(gradients[0].clone(), ctx.fabric), None


def generator_metadata(
    config: RunConfig,
    step: int,
    commits: str,
    precision: str,
    earlier: Sequence[Mapping[str, Any]] = (),
    weight_digests: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Return what a generator's weight file says about itself; images and steps are those of this training alone."""
    return {
        "kind": "generator", "config": config.generator.model_dump(mode="json"),
        "target": config.target.model_dump(mode="json", exclude={"autoencoders"}), "preset": config.preset,
        "seed": config.seed, "step": step, "images": step * config.batch_size, "commit": commits,
        "batch_size": config.batch_size, "optimizer": config.optimizer.model_dump(mode="json"),
        "losses": config.losses.model_dump(mode="json", exclude={"backbone_weights"}),
        "data": config.data.model_dump(mode="json", exclude={"root", "mask_dir", "cache"}),
        "precision": precision, **({"earlier": list(earlier)} if earlier else {}),
        **({"autoencoders": dict(weight_digests)} if weight_digests else {}),
    }  # fmt: skip
