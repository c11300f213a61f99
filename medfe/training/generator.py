"""The training loop of the generator."""

from functools import partial
from pathlib import Path

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor

from medfe.config import RunConfig
from medfe.data.folder import TrainingSamples
from medfe.data.images import composite
from medfe.errors import MedfeError
from medfe.losses import Mean, weigh
from medfe.models.critic import build_critics
from medfe.models.encoder import fill_hole
from medfe.models.generator import build_generator
from medfe.targets import build_target, target_class
from medfe.targets.rtv_cache import RtvCache
from medfe.training.checkpoint import check_same_run, load_state, save_config
from medfe.training.logging import RunLog
from medfe.training.loop import (
    StopRequest,
    build_loader,
    check_finite,
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
from medfe.training.run import MovingAverage, Run

SAMPLES = 6


def train_generator(  # noqa: PLR0912, PLR0915 - one linear function, read from top to bottom
    config: RunConfig, out: Path, fabric: Fabric, *, max_minutes: float | None = None
) -> int:
    """Train a generator and its critics against the arm's target; go on where the run in `out` stopped.

    One step: both critics on the generator's output, then the generator on the same output with the updated critics.

    Args:
        config: everything about the run.
        out: run folder; gets config.json, generator.safetensors (moving average), state.ckpt, metrics.jsonl,
            TensorBoard events and sample grids.
        fabric: launched Fabric.
        max_minutes: stop cleanly after so many minutes.

    Returns:
        The number of steps done so far, `config.max_steps` when the run is complete.

    Raises:
        MedfeError: if the folder holds another run, or data or weights are missing.
        NonFiniteLossError: if a loss is not finite; the last saved state stays.
    """
    # What can be wrong is found before anything is written.
    check_same_run(out, config)
    state = load_state(out)
    first_step = state["step"] if state else 0
    samples = build_samples(config)
    if isinstance(samples.structure, RtvCache) and fabric.is_global_zero:
        samples.structure.fill(samples.paths, samples.prepare)

    # Networks: one seed for all arms.
    torch.manual_seed(config.seed)
    generator = build_generator(config.generator)
    raw_critics = build_critics(config.generator)
    raw_target = build_target(config.target, config.generator)
    raw_pair = ConstrainedGenerator(generator, raw_target)
    backbone_terms = BackboneTerms(config.losses, published=config.generator.convention == "published")
    raw_pair.to(memory_format=torch.channels_last)
    raw_critics.to(memory_format=torch.channels_last)

    # Optimizers, then the state of the run so far.
    trained = [parameter for parameter in raw_pair.parameters() if parameter.requires_grad]
    adam = partial(torch.optim.Adam, betas=config.optimizer.betas, fused=fabric.device.type in ("cpu", "cuda"))
    optimizer = adam(trained, lr=config.optimizer.learning_rate)
    critic_optimizer = adam(raw_critics.parameters(), lr=config.optimizer.critic_learning_rate)
    pair, optimizer = fabric.setup(raw_pair, optimizer)
    critics, critic_optimizer = fabric.setup(raw_critics, critic_optimizer)
    dtype = next(raw_pair.parameters()).dtype
    backbone_terms.to(fabric.device, dtype)
    ema = MovingAverage(raw_pair, config.optimizer.ema_decay)
    run = Run(config, out, fabric, raw_pair, raw_critics, ema, optimizer, critic_optimizer)
    if state:
        run.restore(state)
    if config.compile:
        raw_pair.generator.compile()

    if fabric.is_global_zero:
        save_config(out, config)
    fabric.barrier()
    log = RunLog(out, first_step, config.max_steps, config.batch_size) if fabric.is_global_zero else None
    if log and samples.unreadable:
        log.say(f"skipped {len(samples.unreadable)} unreadable files, first: {samples.unreadable[0]}")
    mean = distributed_mean(fabric)
    loader = build_loader(samples, first_step, config.max_steps, config.batch_size, config.workers, fabric)
    step = saved = first_step

    with StopRequest(max_minutes) as stop:
        for step, batch in enumerate(stop.batches(loader), start=first_step + 1):
            seed_step(config.seed, step)
            rng = np.random.default_rng((config.seed, step, 2))
            factor = schedule_factor(config.optimizer.schedule, step - 1, config.max_steps)
            set_learning_rate(optimizer, config.optimizer.learning_rate * factor)
            set_learning_rate(critic_optimizer, config.optimizer.critic_learning_rate * factor)
            real, mask = batch["image"].to(dtype), batch["mask"].to(dtype)
            corner = draw_corner(config.generator, rng)

            # Forward
            with fabric.autocast():
                goals = raw_target.goals(real, batch.get("structure", real).to(dtype))
            output, intermediate = pair(real, mask, goals)
            fake = output.image

            # Critics
            terms: dict[str, Tensor] = {}
            if config.losses.adversarial:
                raw_critics.requires_grad_(True)
                terms["critic"] = critics_loss(critics, fake, real, corner, mean)
                check_finite(terms, step)
                critic_optimizer.zero_grad()
                fabric.backward(terms["critic"])
                critic_optimizer.step()

            # Generator
            weighted = {**reconstruction_terms(fake, real, mask, config.losses), "intermediate": intermediate}
            with fabric.autocast():
                weighted |= backbone_terms(fake, real, rng)
            if config.losses.adversarial:
                raw_critics.requires_grad_(False)
                weighted["adversarial"] = generator_adversarial_loss(critics, fake, real, corner, mean)
            objective = weigh(weighted, config.losses, config.target.weight)
            values = check_finite({**objective.terms, **terms, "total": objective.total}, step)
            optimizer.zero_grad()
            fabric.backward(objective.total)
            optimizer.step()
            ema.update(step)

            # Log and save
            stopping = bool(fabric.broadcast(bool(stop))) if fabric.world_size > 1 else bool(stop)
            last = step == config.max_steps or stopping
            if log and (step % config.log_every == 0 or last):
                log.row(step, {**values, "learning_rate": config.optimizer.learning_rate * factor})
            if step % config.save_every == 0 or last:
                if log:  # before the state, which says that all of the run up to here is on disk
                    log.grid(step, sample_rows(real, mask, fake))
                run.save(step)
                saved = step
            if last:
                break
    if saved < step:
        run.save(step)
    if log:
        log.close()
    return step


def build_samples(config: RunConfig) -> TrainingSamples:
    """Return the training samples of a run; structure images are computed, or found in the cache, where needed."""
    needs_rtv = target_class(config.target.arm).uses_structure_image and config.target.structure_image == "rtv"
    if config.data.root is None:
        raise MedfeError("data.root is not set, expected a folder of photographs (--data DIR)")
    structure = RtvCache(config.target.rtv, config.data.cache) if needs_rtv else None
    length = config.max_steps * config.batch_size
    return TrainingSamples(config.data, config.generator.image_size, config.seed, length, structure=structure)


@torch.no_grad()
def sample_rows(real: Tensor, mask: Tensor, fake: Tensor) -> list[Tensor]:
    """Return masked inputs, results and ground truth of the first samples of a batch, as rows of a grid."""
    real, mask, fake = real[:SAMPLES].float(), mask[:SAMPLES], fake[:SAMPLES].float()
    return [fill_hole(real, mask), composite(fake, real, mask), real]


def distributed_mean(fabric: Fabric) -> Mean:
    """Return the mean over the batch of all processes, with gradients through all of them."""
    if fabric.world_size == 1:
        return torch.mean

    from torch.distributed.nn.functional import all_reduce  # noqa: PLC0415 - absent where torch has no distributed

    def mean(x: Tensor) -> Tensor:
        total: Tensor = all_reduce(x.mean())  # type: ignore[no-untyped-call]
        return total / fabric.world_size

    return mean


def describe(config: RunConfig) -> str:
    """Return what a run would do, having checked all that can be checked without starting it.

    Raises:
        MedfeError: as `train_generator`.
    """
    samples = build_samples(config)
    generator, critics = build_generator(config.generator), build_critics(config.generator)
    target = build_target(config.target, config.generator)
    images = config.max_steps * config.batch_size
    return "\n".join([
        f"photographs: {len(samples.paths)}, unreadable: {len(samples.unreadable)}",
        f"trained parameters: generator {count_parameters(generator) / 1e6:.1f} M, critics "
        f"{count_parameters(critics) / 1e6:.1f} M, target {count_parameters(target) / 1e6:.2f} M",
        f"{config.max_steps} steps of {config.batch_size} images: {images / len(samples.paths):.1f} passes over the "
        "photographs",
    ])  # fmt: skip


def count_parameters(module: torch.nn.Module) -> int:
    """Return the number of trained parameters."""
    return sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad)
