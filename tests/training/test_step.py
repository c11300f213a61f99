"""A training step against its formulas, written out once more in float64: terms, rates, optimizers, new weights."""

import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from lightning_fabric import Fabric

from medfe.config import AutoencoderRunConfig, RunConfig
from medfe.training import autoencoder as autoencoder_module
from medfe.training import run as run_module
from medfe.training.autoencoder import train_autoencoder
from medfe.training.loop import NonFiniteLossError
from medfe.training.run import Run

SCHEDULE, RATE, CRITIC_RATE, BETAS, DECAY = (0.5, 0.25), 4e-3, 1e-3, (0.4, 0.95), 0.15
L1_IMAGE, L1_HOLE, ADVERSARIAL, INTERMEDIATE = 1.5, 2.5, 0.3, 5.0
CHANGES = {
    "max_steps": 2, "seed": 3,
    "generator": {"base_channels": 2, "feature_channels": 8},
    "target": {"weight": INTERMEDIATE},
    "losses": {"l1_image": L1_IMAGE, "l1_hole": L1_HOLE, "adversarial": ADVERSARIAL, "perceptual": 0, "style": 0},
    "optimizer": {
        "learning_rate": RATE, "critic_learning_rate": CRITIC_RATE, "betas": BETAS, "schedule": SCHEDULE,
        "ema_decay": DECAY,
    },
}  # fmt: skip


@pytest.fixture(autouse=True)
def double_precision():
    """Fabric's 64-true turns outputs into the default type."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def build(**changes):
    config = RunConfig.create("tiny", "low_resolution", **{**CHANGES, **changes})
    return Run(config, Fabric(accelerator="cpu", devices=1, precision="64-true"))


def batch(size, seed):
    numbers = torch.Generator().manual_seed(seed)
    image, structure = (torch.rand(3, 3, size, size, generator=numbers, dtype=torch.float64) * 2 - 1 for _ in range(2))
    mask = torch.zeros(3, 1, size, size, dtype=torch.float64)
    for one, side in enumerate((8, 20, 32)):  # holes of different areas
        mask[one, :, 10 : 10 + side, 5 : 5 + side] = 1
    return {"image": image, "structure": structure, "mask": mask}


def relativistic(wanted, other):
    """½[mean((w − ō − 1)²) + mean((o − w̄ + 1)²)], summed over both critics."""
    return sum(
        0.5 * (((w - o.mean() - 1) ** 2).mean() + ((o - w.mean() + 1) ** 2).mean())
        for w, o in zip(wanted, other, strict=True)
    )


def expected(run, batches):
    """Return terms of every step, and the networks after all, from copies of a run's networks."""
    pair, critics = copy.deepcopy(run.raw_pair), copy.deepcopy(run.raw_critics)
    adam = [torch.optim.Adam(module.parameters(), betas=BETAS) for module in (pair, critics)]
    average = {name: parameter.detach().clone() for name, parameter in pair.named_parameters()}
    readout, terms = pair.target.readout, []
    size, grid, crop = (getattr(run.config.generator, name) for name in ("image_size", "grid_size", "local_crop"))
    for step, samples in enumerate(batches, start=1):
        for optimizer, rate in zip(adam, (RATE, CRITIC_RATE), strict=True):
            optimizer.param_groups[0]["lr"] = rate * SCHEDULE[step - 1]
        image, mask = samples["image"], samples["mask"]
        output = pair.generator(image, mask)
        fake, corner = output.image, np.random.default_rng((3, step, 2)).integers(size - crop, size=2)

        real_scores, fake_scores = zip(
            *(score.chunk(2) for score in critics(torch.cat([image, fake.detach()]), corner)), strict=True
        )
        critic = relativistic(real_scores, fake_scores)
        adam[1].zero_grad()
        critic.backward()
        adam[1].step()

        intermediate = sum(
            (
                torch.tanh(F.conv2d(feature, readout.weight, readout.bias))
                - F.interpolate(goal, size=(grid, grid), mode="bilinear", align_corners=False)
            ).abs().mean()
            for feature, goal in ((output.structure, samples["structure"]), (output.texture, image))
        )  # fmt: skip
        error = (fake - image).abs()
        hole = sum((error[i] * mask[i]).sum() / (3 * mask[i].sum()) for i in range(len(image))) / len(image)
        with torch.nn.utils.parametrize.cached():
            wanted = [score.detach() for score in critics(image, corner)]
            adversarial = relativistic(critics(fake, corner), wanted)
        total = L1_IMAGE * error.mean() + L1_HOLE * hole + ADVERSARIAL * adversarial + INTERMEDIATE * intermediate
        adam[0].zero_grad()
        total.backward()
        adam[0].step()
        decay = min(DECAY, (1 + step) / (10 + step))
        for name, parameter in pair.named_parameters():
            average[name] = decay * average[name] + (1 - decay) * parameter.detach()
        terms.append({
            "l1_image": error.mean().item(), "l1_hole": hole.item(), "intermediate": intermediate.item(),
            "adversarial": adversarial.item(), "critic": critic.item(), "total": total.item(),
            "learning_rate": RATE * SCHEDULE[step - 1],
        })  # fmt: skip
    return terms, pair, critics, average


def test_two_steps_are_those_of_the_formulas():
    run = build()
    batches = [batch(run.config.generator.image_size, seed) for seed in (0, 1)]
    terms, pair, critics, average = expected(run, batches)
    for step, samples in enumerate(batches, start=1):
        assert run.advance(samples, step).values == pytest.approx(terms[step - 1], rel=1e-6)
        for optimizer, rate in ((run.optimizer, RATE), (run.critic_optimizer, CRITIC_RATE)):
            (group,) = optimizer.param_groups
            assert (group["lr"], tuple(group["betas"])) == (rate * SCHEDULE[step - 1], BETAS)
    for found, wanted in ((run.raw_pair, pair), (run.raw_critics, critics)):
        torch.testing.assert_close(found.state_dict(), wanted.state_dict(), rtol=1e-6, atol=1e-8)
    torch.testing.assert_close(run.ema.state(), average, rtol=1e-6, atol=1e-8)


def test_what_is_drawn_in_a_step_depends_on_seed_and_step_alone():
    drawn = []
    for start, step in ((1, 1), (2, 1), (2, 2)):
        run = build()
        torch.manual_seed(start)
        run.advance(batch(run.config.generator.image_size, 0), step)
        drawn.append(torch.rand(3))
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])


@pytest.mark.parametrize("convention", ["paper", "published"])
def test_the_losses_network_is_that_of_the_convention(convention, monkeypatch):
    asked = []

    class Terms(run_module.BackboneTerms):
        def __init__(self, config, *, published):
            super().__init__(config)
            asked.append(published)

    monkeypatch.setattr(run_module, "BackboneTerms", Terms)
    build(generator={**CHANGES["generator"], "convention": convention})
    assert asked == [convention == "published"]


def test_weights_that_are_not_finite_are_not_saved_though_the_losses_are(tmp_path):
    """A gradient can be infinite where its term is not."""
    run = build()
    run.save(tmp_path, 1)
    saved = {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    for module in (run.raw_critics, run.raw_pair):
        parameter = next(module.parameters())
        kept = parameter.detach().clone()
        parameter.data.fill_(float("nan"))
        run.ema.update(2)
        with pytest.raises(NonFiniteLossError, match=r"step 2: .* is not finite; stopped, the last good state is kept"):
            run.save(tmp_path, 2)
        assert {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()} == saved
        parameter.data.copy_(kept)


def test_an_auto_encoder_is_trained_at_the_rates_of_its_schedule(pictures, tmp_path, monkeypatch):
    seen = []

    class Adam(torch.optim.Adam):
        def step(self, *arguments, **options):
            seen.extend((group["lr"], tuple(group["betas"])) for group in self.param_groups)
            return super().step(*arguments, **options)

    monkeypatch.setattr(autoencoder_module.torch.optim, "Adam", Adam)
    torch.set_default_dtype(torch.float32)
    config = AutoencoderRunConfig.create(
        "tiny", "texture", max_steps=4, batch_size=2, workers=0, autoencoder={"base_channels": 2},
        data={"root": pictures}, optimizer={"learning_rate": RATE, "schedule": SCHEDULE, "betas": BETAS},
    )  # fmt: skip
    train_autoencoder(config, tmp_path, Fabric(accelerator="cpu", devices=1))
    assert seen == [(RATE * factor, BETAS) for factor in (0.5, 0.5, 0.25, 0.25)]
