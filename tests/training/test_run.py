"""The moving average against its definition, what a step shows its judges, what is saved of 16-mixed precision."""

import pytest
import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins import MixedPrecision
from torch import nn

from medfe.config import RunConfig
from medfe.training.checkpoint import load_state
from medfe.training.run import MovingAverage, Run


def module(value):
    layer = nn.Linear(1, 1)
    nn.init.constant_(layer.weight, value)
    nn.init.constant_(layer.bias, -value)
    return layer


def test_average_equals_its_definition_with_a_short_memory_at_the_start():
    layer = module(1.0)
    average, expected = MovingAverage(layer, 0.9), 1.0
    for step in range(1, 200):
        layer.weight.data.fill_(float(step))
        average.update(step)
        decay = min(0.9, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * step
        torch.testing.assert_close(average.state()["weight"].item(), expected, rtol=1e-5, atol=0)
    torch.testing.assert_close(average.state()["bias"].item(), -1.0)


def test_frozen_parameters_stay_out():
    layer = module(1.0)
    layer.bias.requires_grad_(False)
    assert list(MovingAverage(layer, 0.9).state()) == ["weight"]


def test_a_restored_average_goes_on_as_if_nothing_had_happened():
    layer = module(2.0)
    first, second = MovingAverage(layer, 0.5), MovingAverage(module(7.0), 0.5)
    layer.weight.data.fill_(5.0)
    first.update(1)
    saved = {name: tensor.clone() for name, tensor in first.state().items()}
    second.restore(saved)
    assert all(torch.equal(second.state()[name], tensor) for name, tensor in saved.items())
    second.source[0].data.fill_(5.0)
    second.update(2)
    first.update(2)
    assert torch.equal(first.state()["weight"], second.state()["weight"])
    assert not torch.equal(saved["weight"], first.state()["weight"])


def test_the_average_shares_no_memory_with_the_weights():
    layer = module(1.0)
    average = MovingAverage(layer, 0.9)
    layer.weight.data.fill_(3.0)
    assert average.state()["weight"] == 1


def test_the_scale_of_the_gradients_in_half_precision_comes_back(tmp_path):
    changes = {"losses": {"perceptual": 0}, "generator": {"base_channels": 2, "feature_channels": 8}}
    config = RunConfig.create("tiny", "none", **changes)

    def run():
        scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
        plugin = MixedPrecision("16-mixed", "cpu", scaler)
        return Run(config, Fabric(accelerator="cpu", devices=1, plugins=plugin)), scaler

    first, scaler = run()
    scaler.scale(torch.ones(()))
    scaler.update(8.0)
    first.save(tmp_path, 1)
    second, scaler = run()
    second.restore(load_state(tmp_path), tmp_path)
    assert scaler.get_scale() == 8.0


@pytest.mark.parametrize("composite", [False, True])
def test_outside_the_hole_the_composite_shows_critics_and_backbone_the_photograph(composite):
    losses = {"backbone": "efficientnet_lite0", "perceptual": 1, "style": 1, "composite": composite}
    changes = {"losses": losses, "generator": {"base_channels": 2, "feature_channels": 8}, "precision": "32-true"}
    run = Run(RunConfig.create("tiny", "none", **changes), Fabric(accelerator="cpu", devices=1))
    size = run.config.generator.image_size
    image = torch.rand(1, 3, size, size, generator=torch.Generator().manual_seed(0)) * 2 - 1
    no_hole, all_hole = torch.zeros(1, 1, size, size), torch.ones(1, 1, size, size)

    seen = []
    run.raw_critics.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].detach()))
    found = run.advance({"image": image, "mask": no_hole}, 1)
    shown = image if composite else found.fake
    assert (found.fake - image).abs().mean() > 0.01
    assert [len(images) for images in seen] == [2, 1, 1]  # the critics' step, and the generator's two passes
    assert torch.equal(seen[0], torch.cat([image, shown]))
    assert torch.equal(seen[2], shown)
    for term in ("perceptual", "style"):
        assert (found.values[term] == 0) == composite
    assert found.values["l1_image"] > 0.01  # of the whole output, whatever the others see

    found = run.advance({"image": image, "mask": all_hole}, 2)
    assert torch.equal(seen[-1], found.fake)
    assert found.values["perceptual"] > 0

    half_hole = torch.zeros_like(all_hole)
    half_hole[..., : size // 2] = 1
    found = run.advance({"image": image, "mask": half_hole}, 3)
    assert torch.equal(seen[-1][..., : size // 2], found.fake[..., : size // 2])
    assert torch.equal(seen[-1][..., size // 2 :], (image if composite else found.fake)[..., size // 2 :])


@pytest.mark.parametrize("term", ["perceptual", "adversarial"])
def test_what_judges_the_composite_trains_the_generator(term):
    others = {"l1_image": 0, "l1_hole": 0, "perceptual": 0, "adversarial": 0, "style": 0}
    losses = {"backbone": "efficientnet_lite0", "composite": True, **others, term: 1}
    changes = {"losses": losses, "generator": {"base_channels": 2, "feature_channels": 8}, "precision": "32-true"}
    run = Run(RunConfig.create("tiny", "none", **changes), Fabric(accelerator="cpu", devices=1))
    size = run.config.generator.image_size
    image = torch.rand(2, 3, size, size, generator=torch.Generator().manual_seed(0)) * 2 - 1
    last = [p for name, p in run.raw_pair.named_parameters() if name.startswith("generator.decoder.")][-1]
    for hole, moved in ((torch.zeros, False), (torch.ones, True)):
        before = last.detach().clone()
        run.advance({"image": image, "mask": hole(2, 1, size, size)}, 1)
        assert bool((last != before).any()) == moved
