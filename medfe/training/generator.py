"""The training loop of the generator."""

from pathlib import Path

import torch
from lightning_fabric import Fabric
from torch import Tensor
from torch.utils.data import DataLoader

from medfe.backbones import VGG16_URL, build_backbone
from medfe.config import LossConfig, RunConfig
from medfe.data.folder import TrainingSamples
from medfe.data.images import composite
from medfe.errors import MedfeError
from medfe.models.critic import build_critics
from medfe.models.encoder import fill_hole
from medfe.models.generator import build_generator
from medfe.targets import build_target, target_class
from medfe.targets.rtv_cache import RtvCache
from medfe.targets.rtv_folder import available_cores
from medfe.training.checkpoint import STATE_FILE, check_same_run, load_state, refuse_finished, save_config
from medfe.training.exclusive import exclusive, state_stamp
from medfe.training.initial import history_line, read_initial_weights
from medfe.training.logging import RunLog
from medfe.training.loop import (
    StopRequest,
    anyone,
    build_loader,
    check_precision,
    count_parameters,
    describe_samples,
    is_missing,
    precision_begun,
    precision_of,
)
from medfe.training.objective import ConstrainedGenerator
from medfe.training.run import Advance, Run
from medfe.weightfiles import GENERATOR_FILE

SAMPLES = 6


def train_generator(config: RunConfig, out: Path, fabric: Fabric, *, max_minutes: float | None = None) -> int:
    """Train a generator and its critics against the arm's target; go on where the run in `out` stopped.

    Args:
        config: everything about the run.
        out: run folder; gets config.json, generator.safetensors (moving average), state.ckpt, metrics.jsonl,
            TensorBoard events and sample grids.
        fabric: launched Fabric.
        max_minutes: stop cleanly after so many minutes, those for structure images included.

    Returns:
        The number of steps done so far, `config.max_steps` when the run is complete.

    Raises:
        MedfeError: if the folder holds another run, or one in another precision, or another process trains there, or
            data or weights are missing.
        NonFiniteLossError: if a loss or weights are not finite; the last saved state stays.
    """
    stop = StopRequest(max_minutes)  # now: making structure images counts

    # What can be wrong is found before anything is written.
    check_same_run(out, config, out / GENERATOR_FILE)
    seen, state = state_stamp(out), load_state(out)
    refuse_finished(out, out / GENERATOR_FILE, config.max_steps)
    first_step = state["step"] if state else 0
    if state and (first_step < config.max_steps or not (out / GENERATOR_FILE).exists()):
        check_precision(precision_begun(state, fabric), precision_of(fabric), out)
    samples = build_samples(config)
    loader = build_loader(samples, first_step, config.max_steps, config.batch_size, config.workers, fabric)
    initial = None if state else read_initial_weights(config)
    run = Run(config, fabric)
    if state:
        run.restore(state, out)
    elif initial:
        run.start_from(initial)
    del state, initial  # hundreds of megabytes that nothing reads any more

    if not make_structure_images(samples, fabric, stop):
        return first_step
    with exclusive(out, seen, fabric):
        return _advance(run, samples, loader, out, first_step, stop)


def _advance(
    run: Run,
    samples: TrainingSamples,
    loader: DataLoader[dict[str, Tensor]],
    out: Path,
    first_step: int,
    stop: StopRequest,
) -> int:
    """Train from the step after `first_step` on, and log and save; return the last step that was done."""
    config, fabric = run.config, run.fabric
    if fabric.is_global_zero:
        save_config(out, config)
    log = RunLog(out, first_step, config.max_steps, config.batch_size) if fabric.is_global_zero else None
    if log and samples.unreadable:
        log.say(f"skipped {len(samples.unreadable)} unreadable files, first: {samples.unreadable[0]}")
    step = saved = first_step

    with stop:
        for step, batch in enumerate(stop.batches(loader), start=first_step + 1):
            done = run.advance(batch, step)

            stopping = bool(fabric.broadcast(bool(stop))) if fabric.world_size > 1 else bool(stop)
            last = step == config.max_steps or stopping
            if log:
                log.advance(step, done.values, row=step % config.log_every == 0 or last)
            if step % config.save_every == 0 or last:
                if log:  # before the state, which says that all of the run up to here is on disk
                    log.grid(step, sample_rows(done))
                run.save(out, step)
                saved = step
            if last:
                break
        if is_missing(out / GENERATOR_FILE, fabric) or saved < step:
            run.save(out, step)
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


def make_structure_images(samples: TrainingSamples, fabric: Fabric, stop: StopRequest) -> bool:
    """Compute the structure images ahead, on all cores; return False if that was interrupted.

    Every process makes its share: one that only waited for the others would be given up after half an hour.
    """
    if not isinstance(samples.structure, RtvCache):
        return True
    report = samples.structure.fill(
        samples.paths[fabric.global_rank :: fabric.world_size],
        samples.prepare,
        workers=max(1, available_cores() * getattr(fabric.strategy, "num_nodes", 1) // fabric.world_size),
        stop=lambda: bool(stop),
        quiet=not fabric.is_global_zero,
    )
    return not anyone(fabric, report.interrupted)


@torch.no_grad()
def sample_rows(done: Advance) -> list[Tensor]:
    """Return masked inputs, results and ground truth of the first samples of a step, as rows of a grid."""
    real, mask, fake = done.real[:SAMPLES].float(), done.mask[:SAMPLES].float(), done.fake[:SAMPLES].float()
    return [fill_hole(real, mask), composite(fake, real, mask), real]


def describe(config: RunConfig, out: Path) -> str:
    """Return what a run in `out` would do, having checked all but devices and precision.

    Raises:
        MedfeError: as `train_generator`.
    """
    check_same_run(out, config, out / GENERATOR_FILE)
    refuse_finished(out, out / GENERATOR_FILE, config.max_steps)
    samples = build_samples(config)
    initial = None if (out / STATE_FILE).exists() else read_initial_weights(config)
    generator, critics = build_generator(config.generator), build_critics(config.generator)
    target = build_target(config.target, config.generator)
    if initial:
        ConstrainedGenerator(generator, target).start_from(initial, config.target.arm)
    return "\n".join([
        describe_samples(samples, config.max_steps, config.batch_size),
        f"trained parameters: generator {count_parameters(generator) / 1e6:.1f} M, critics "
        f"{count_parameters(critics) / 1e6:.1f} M, target {count_parameters(target) / 1e6:.2f} M",
        f"backbone of the losses: {_describe_backbone(config.losses)}",
        *([f"starts from {initial.source}: {', then '.join(map(history_line, initial.history))}"] if initial else []),
    ])  # fmt: skip


def _describe_backbone(config: LossConfig) -> str:
    """Return its name, having read its weights; those that a run would download are only announced."""
    if not (config.perceptual or config.style):
        return "none"
    cached = Path(torch.hub.get_dir()) / "checkpoints" / Path(VGG16_URL).name
    if config.backbone == "vgg16" and config.backbone_weights is None and not cached.is_file():
        return f"vgg16, not in {cached.parent}, will be downloaded from {VGG16_URL}"
    build_backbone(config.backbone, config.backbone_weights)
    return config.backbone
