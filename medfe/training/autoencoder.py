"""The training loop of an auto-encoder."""

from pathlib import Path
from typing import Any, cast

import torch
from lightning_fabric import Fabric
from torch import Tensor
from torch.utils.data import DataLoader

from medfe.config import AutoencoderRunConfig
from medfe.data.folder import EvaluationPhotographs, TrainingSamples
from medfe.errors import MedfeError
from medfe.losses import l1
from medfe.models.autoencoder import Autoencoder, build_autoencoder
from medfe.training.checkpoint import (
    check_same_run,
    commits,
    load_state,
    refuse_finished,
    save_config,
    save_state,
)
from medfe.training.exclusive import exclusive, state_stamp
from medfe.training.logging import RunLog
from medfe.training.loop import (
    StopRequest,
    build_loader,
    check_finite,
    check_finite_weights,
    check_precision,
    count_parameters,
    describe_samples,
    is_missing,
    precision_begun,
    precision_of,
    schedule_factor,
    seed_step,
    set_learning_rate,
)
from medfe.weightfiles import save_weights

SAMPLES = 6


def train_autoencoder(  # noqa: PLR0915 - one linear function, read from top to bottom
    config: AutoencoderRunConfig, out: Path, fabric: Fabric, *, max_minutes: float | None = None
) -> int:
    """Train one auto-encoder by reconstruction; go on where the run stopped.

    Args:
        config: everything about the run.
        out: folder of the pair; the weights go to `out`/KIND.safetensors, all else to `out`/KIND/.
        fabric: launched Fabric.
        max_minutes: stop cleanly after so many minutes.

    Returns:
        The number of steps done so far, `config.max_steps` when the run is complete.

    Raises:
        MedfeError: if the folder holds another run, or one in another precision, or another process trains there, or
            photographs are missing.
        NonFiniteLossError: if the loss or weights are not finite; the last saved state stays.
    """
    stop = StopRequest(max_minutes)
    folder, weights = out / config.autoencoder.kind, out / f"{config.autoencoder.kind}.safetensors"
    check_same_run(folder, config, weights)
    seen, state = state_stamp(folder), load_state(folder)
    refuse_finished(folder, weights, config.max_steps)
    started_by = commits(state)
    first_step = state["step"] if state else 0
    samples = build_samples(config)
    loader = build_loader(samples, first_step, config.max_steps, config.batch_size, config.workers, fabric)
    precision = precision_begun(state, fabric)
    if first_step < config.max_steps or not weights.exists():
        check_precision(precision, precision_of(fabric), folder)

    torch.manual_seed(config.seed)
    network = over_devices(build_autoencoder(config.autoencoder), fabric).to(memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(
        network.parameters(), lr=config.optimizer.learning_rate, betas=config.optimizer.betas,
        fused=fabric.device.type in ("cpu", "cuda"),
    )  # fmt: skip
    model, optimizer = fabric.setup(network, optimizer)
    if state:  # after the set-up, which moves the network but not what an optimizer holds
        try:
            network.load_state_dict(state["network"])
            optimizer.load_state_dict(state["optimizer"])
            if state.get("precision"):  # how far 16-mixed scales the gradients
                fabric.strategy.precision.load_state_dict(state["precision"])
        except (KeyError, RuntimeError, ValueError) as error:
            raise MedfeError(f"{folder}: the saved state does not fit ({str(error).splitlines()[0]})") from None
    del state  # its weights and moments are copies by now

    with exclusive(folder, seen, fabric):
        if fabric.is_global_zero:
            save_config(folder, config)
        log = RunLog(folder, first_step, config.max_steps, config.batch_size) if fabric.is_global_zero else None
        step = saved = first_step

        def save() -> None:
            check_finite_weights(network.state_dict(), step)
            if fabric.is_global_zero:
                save_weights(weights, network.state_dict(), autoencoder_metadata(config, step, started_by, precision))
                save_state(folder, {
                    "step": step, "network": network.state_dict(), "optimizer": optimizer.state_dict(),
                    "precision": fabric.strategy.precision.state_dict(), "works_in": precision,
                    "commits": started_by,
                })  # fmt: skip
            fabric.barrier()

        with stop:
            for step, batch in enumerate(stop.batches(loader), start=first_step + 1):
                seed_step(config.seed, step)
                factor = schedule_factor(config.optimizer.schedule, step - 1, config.max_steps)
                set_learning_rate(optimizer, config.optimizer.learning_rate * factor)
                real = batch["image"]
                decoded = model(real)
                loss = l1(decoded, real)
                values = check_finite({"l1": loss}, step, fabric)
                optimizer.zero_grad()
                fabric.backward(config.l1 * loss)
                optimizer.step()

                stopping = bool(fabric.broadcast(bool(stop))) if fabric.world_size > 1 else bool(stop)
                last = step == config.max_steps or stopping
                if log:
                    values["learning_rate"] = config.optimizer.learning_rate * factor
                    log.advance(step, values, row=step % config.log_every == 0 or last)
                if step % config.save_every == 0 or last:
                    if log:  # before the state, which says that all of the run up to here is on disk
                        log.grid(step, [real[:SAMPLES], decoded[:SAMPLES].detach()])
                    save()
                    saved = step
                if last:
                    break
            if is_missing(weights, fabric) or saved < step:
                save()
            if log:
                log.close()
        return step


def over_devices(network: Autoencoder, fabric: Fabric) -> Autoencoder:
    """Return the network with batch normalisation over the whole batch, whatever the number of devices.

    Raises:
        MedfeError: for several devices other than CUDA's.
    """
    if fabric.world_size == 1:
        return network
    if fabric.device.type != "cuda":
        raise MedfeError(
            f"devices: found {fabric.world_size} of {fabric.device.type}, expected 1: batch normalisation over several "
            "devices needs CUDA"
        )
    convert: Any = torch.nn.SyncBatchNorm.convert_sync_batchnorm
    return cast("Autoencoder", convert(network))


def build_samples(config: AutoencoderRunConfig) -> TrainingSamples:
    """Return the training samples of a run."""
    if config.data.root is None:
        raise MedfeError("data.root is not set, expected a folder of photographs (--data DIR)")
    length = config.max_steps * config.batch_size
    return TrainingSamples(config.data, config.autoencoder.image_size, config.seed, length, with_masks=False)


def describe(config: AutoencoderRunConfig, out: Path) -> str:
    """Return what a run in `out` would do, having checked all but devices and precision.

    Raises:
        MedfeError: as `train_autoencoder`.
    """
    kind = config.autoencoder.kind
    check_same_run(out / kind, config, out / f"{kind}.safetensors")
    refuse_finished(out / kind, out / f"{kind}.safetensors", config.max_steps)
    samples = build_samples(config)
    network = build_autoencoder(config.autoencoder)
    return "\n".join([
        describe_samples(samples, config.max_steps, config.batch_size),
        f"trained parameters: {kind} auto-encoder {count_parameters(network) / 1e6:.2f} M",
    ])  # fmt: skip


@torch.no_grad()
def reconstruction_l1(autoencoder: Autoencoder, photographs: EvaluationPhotographs, batch_size: int = 32) -> float:
    """Return the mean absolute reconstruction error over photographs, images in [-1, 1], evaluation mode."""
    autoencoder.eval()
    total, count = 0.0, 0
    for batch in DataLoader(photographs, batch_size=batch_size):
        real: Tensor = batch["image"]
        total += float((autoencoder(real) - real).abs().mean()) * len(real)
        count += len(real)
    return total / count


def autoencoder_metadata(config: AutoencoderRunConfig, step: int, commits: str, precision: str) -> dict[str, object]:
    """Return what an auto-encoder's weight file says about itself."""
    return {
        "kind": config.autoencoder.kind, "config": config.autoencoder.model_dump(mode="json"), "seed": config.seed,
        "step": step, "max_steps": config.max_steps, "images": step * config.batch_size, "commit": commits,
        "precision": precision,
    }  # fmt: skip
