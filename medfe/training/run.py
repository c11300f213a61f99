"""The changing state of a generator's training: networks, optimizers and moving average, saved and restored as one."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from medfe.config import RunConfig
from medfe.errors import MedfeError
from medfe.training.checkpoint import GENERATOR_FILE, commit, save_state
from medfe.training.objective import ConstrainedGenerator
from medfe.weightfiles import save_weights


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


class Run:
    """The changing state of a training, saved and restored as one."""

    def __init__(
        self,
        config: RunConfig,
        out: Path,
        fabric: Fabric,
        pair: ConstrainedGenerator,
        critics: nn.Module,
        ema: MovingAverage,
        optimizer: Any,
        critic_optimizer: Any,
    ) -> None:
        self.config, self.out, self.fabric = config, out, fabric
        self.pair, self.critics, self.ema = pair, critics, ema
        self.optimizers = {"optimizer": optimizer, "critic_optimizer": critic_optimizer}

    def save(self, step: int) -> None:
        """Write state and weights, once for all processes."""
        if self.fabric.is_global_zero:
            optimizers = {name: optimizer.state_dict() for name, optimizer in self.optimizers.items()}
            save_state(self.out, {
                "step": step, "pair": self.pair.state_dict(), "critics": self.critics.state_dict(),
                "ema": self.ema.state(), **optimizers,
            })  # fmt: skip
            save_weights(self.out / GENERATOR_FILE, self.inference_state(), generator_metadata(self.config, step))
        self.fabric.barrier()

    def inference_state(self) -> dict[str, Tensor]:
        """Return generator and trained parts of the target, averaged, with buffers; frozen networks stay out."""
        own = {name: tensor for name, tensor in self.pair.state_dict().items() if name.startswith("generator.")}
        return own | self.ema.state()

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take over a saved state.

        Raises:
            MedfeError: if it is of other networks.
        """
        try:
            self.pair.load_state_dict(state["pair"])
            self.critics.load_state_dict(state["critics"])
            self.ema.restore(state["ema"])
            for name, optimizer in self.optimizers.items():
                optimizer.load_state_dict(state[name])
        except (KeyError, RuntimeError, ValueError) as error:
            reason = str(error).splitlines()[0]
            raise MedfeError(f"{self.out}: the saved state does not fit this run's networks ({reason})") from None


def generator_metadata(config: RunConfig, step: int) -> dict[str, Any]:
    """Return what a generator's weight file says about itself."""
    return {
        "kind": "generator", "config": config.generator.model_dump(mode="json"),
        "target": config.target.model_dump(mode="json", exclude={"autoencoders"}), "preset": config.preset,
        "seed": config.seed, "step": step, "images": step * config.batch_size, "commit": commit(),
    }  # fmt: skip
