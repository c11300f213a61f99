"""The training loop of the generator."""

from pathlib import Path

import torch
from lightning_fabric import Fabric
from torch import Tensor

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
from medfe.training.checkpoint import check_same_run, load_state, save_config
from medfe.training.logging import RunLog
from medfe.training.loop import StopRequest, build_loader
from medfe.training.run import Advance, Run

SAMPLES = 6


def train_generator(config: RunConfig, out: Path, fabric: Fabric, *, max_minutes: float | None = None) -> int:
    """Train a generator and its critics against the arm's target; go on where the run in `out` stopped.

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
    run = Run(config, fabric)
    if state:
        run.restore(state, out)

    # Structure images are computed ahead, on all cores.
    if isinstance(samples.structure, RtvCache) and fabric.is_global_zero:
        report = samples.structure.fill(samples.paths, samples.prepare)
        if report.interrupted:
            return first_step
    fabric.barrier()

    if fabric.is_global_zero:
        save_config(out, config)
    log = RunLog(out, first_step, config.max_steps, config.batch_size) if fabric.is_global_zero else None
    if log and samples.unreadable:
        log.say(f"skipped {len(samples.unreadable)} unreadable files, first: {samples.unreadable[0]}")
    loader = build_loader(samples, first_step, config.max_steps, config.batch_size, config.workers, fabric)
    step = saved = first_step

    with StopRequest(max_minutes) as stop:
        for step, batch in enumerate(stop.batches(loader), start=first_step + 1):
            done = run.advance(batch, step)

            stopping = bool(fabric.broadcast(bool(stop))) if fabric.world_size > 1 else bool(stop)
            last = step == config.max_steps or stopping
            if log and (step % config.log_every == 0 or last):
                log.row(step, done.values)
            if step % config.save_every == 0 or last:
                if log:  # before the state, which says that all of the run up to here is on disk
                    log.grid(step, sample_rows(done))
                run.save(out, step)
                saved = step
            if last:
                break
    if saved < step:
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


@torch.no_grad()
def sample_rows(done: Advance) -> list[Tensor]:
    """Return masked inputs, results and ground truth of the first samples of a step, as rows of a grid."""
    real, mask, fake = done.real[:SAMPLES].float(), done.mask[:SAMPLES].float(), done.fake[:SAMPLES].float()
    return [fill_hole(real, mask), composite(fake, real, mask), real]


def describe(config: RunConfig, out: Path) -> str:
    """Return what a run in `out` would do, having checked all that can be checked without starting it.

    Raises:
        MedfeError: as `train_generator`.
    """
    check_same_run(out, config)
    samples = build_samples(config)
    generator, critics = build_generator(config.generator), build_critics(config.generator)
    target = build_target(config.target, config.generator)
    images = config.max_steps * config.batch_size
    return "\n".join([
        f"photographs: {len(samples.paths)}, unreadable: {len(samples.unreadable)}",
        f"trained parameters: generator {count_parameters(generator) / 1e6:.1f} M, critics "
        f"{count_parameters(critics) / 1e6:.1f} M, target {count_parameters(target) / 1e6:.2f} M",
        f"backbone of the losses: {_describe_backbone(config.losses)}",
        f"{config.max_steps} steps of {config.batch_size} images: {images / len(samples.paths):.1f} passes over the "
        "photographs",
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


def count_parameters(module: torch.nn.Module) -> int:
    """Return the number of trained parameters."""
    return sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad)
