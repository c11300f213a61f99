"""Arms `autoencoder` and `random_encoder`: which weights are used, and what is refused."""

import pytest
import torch

from medfe.config import AutoencoderConfig, GeneratorConfig, TargetConfig
from medfe.errors import MedfeError
from medfe.models.autoencoder import build_autoencoder
from medfe.targets import build_target
from medfe.targets.autoencoder import load_autoencoder
from medfe.weightfiles import load_weights, save_weights

CHANNELS = 6
GENERATOR = GeneratorConfig(image_size=64, base_channels=2, feature_channels=CHANNELS)


def save(path, kind, *, named=None, **changes):
    """Write an auto-encoder whose statistics are not those of a fresh one; `named` is what the file calls itself."""
    sizes = {"image_size": 64, "base_channels": 2, "max_channels": 64, "code_channels": CHANNELS, **changes}
    config = AutoencoderConfig(kind=kind, **sizes)
    torch.manual_seed(3)
    network = build_autoencoder(config)
    for name, tensor in network.state_dict().items():
        if "running" in name:
            tensor.copy_(torch.rand_like(tensor) + 0.5)
        elif tensor.is_floating_point():
            tensor.copy_(torch.randn_like(tensor) / 4)  # no fresh draw looks like this
    metadata = {"kind": named or kind, "config": config.model_dump(mode="json")}
    save_weights(path / f"{kind}.safetensors", network.state_dict(), metadata)
    return network.eval()


@pytest.fixture
def trained(tmp_path):
    return {kind: save(tmp_path, kind) for kind in ("structure", "texture")}


def build(folder, arm, **knobs):
    return build_target(TargetConfig(arm=arm, autoencoders=folder, **knobs), GENERATOR)


def test_goals_are_the_codes_of_the_trained_auto_encoders(trained, tmp_path):
    image = torch.rand(2, 3, 64, 64) * 2 - 1
    goals = build(tmp_path, "autoencoder").goals(image, -image)
    for kind in ("structure", "texture"):
        torch.testing.assert_close(getattr(goals, kind), trained[kind].encode(image))


def test_a_code_does_not_depend_on_its_batch(trained, tmp_path):
    image = torch.rand(3, 3, 64, 64) * 2 - 1
    for arm in ("autoencoder", "random_encoder"):
        target = build(tmp_path, arm)
        torch.testing.assert_close(target.goals(image, image).texture[1:2], target.goals(image[1:2], image).texture)


def test_random_encoder_keeps_running_statistics_and_draws_all_else_again(trained, tmp_path):
    target = build(tmp_path, "random_encoder")
    for kind, network in trained.items():
        drawn, kept = getattr(target, kind).state_dict(), network.state_dict()
        for name, tensor in drawn.items():
            equal = torch.equal(tensor, kept[name])
            assert equal == ("running" in name or "num_batches" in name), name
        convolutions = torch.cat([
            tensor.flatten() for name, tensor in drawn.items() if tensor.ndim == 4
        ])  # fmt: skip
        assert float(convolutions.std()) == pytest.approx(0.02, rel=0.1)
        for name, tensor in drawn.items():
            if name.endswith("1.bias"):
                assert not tensor.any()
            elif name.endswith("1.weight"):
                assert (tensor - 1).abs().max() < 0.1


def test_random_encoder_is_drawn_by_its_own_seed_alone(trained, tmp_path):
    def weights(outside, seed):
        torch.manual_seed(outside)
        state = build(tmp_path, "random_encoder", seed=seed).state_dict()
        return torch.cat([tensor.flatten().float() for tensor in state.values()]), float(torch.rand(()))

    first, next_draw = weights(outside=0, seed=1)
    assert torch.equal(first, weights(outside=5, seed=1)[0])
    assert not torch.equal(first, weights(outside=0, seed=2)[0])
    torch.manual_seed(0)
    build(tmp_path, "autoencoder")
    assert next_draw == float(torch.rand(()))  # and the outer stream does not notice


@pytest.mark.parametrize(("changes", "complaint"), [
    ({"image_size": 96}, "96 pixels"), ({"code_channels": 9}, "9 channels"),
])  # fmt: skip
@pytest.mark.parametrize("arm", ["autoencoder", "random_encoder"])
def test_an_auto_encoder_of_another_size_is_refused(tmp_path, arm, changes, complaint):
    save(tmp_path, "structure")
    save(tmp_path, "texture", **changes)
    with pytest.raises(MedfeError, match=rf"texture\.safetensors.*{complaint}"):
        build(tmp_path, arm)


@pytest.mark.parametrize("arm", ["autoencoder", "random_encoder"])
def test_an_auto_encoder_whose_training_was_stopped_is_refused(trained, tmp_path, arm):
    path = tmp_path / "texture.safetensors"
    file = load_weights(path)
    save_weights(path, file.tensors, file.metadata | {"step": 15, "max_steps": 2000})
    with pytest.raises(MedfeError, match=r"texture\.safetensors: found 15 of 2000 steps, expected a finished training"):
        build(tmp_path, arm)
    save_weights(path, file.tensors, file.metadata | {"step": 2000, "max_steps": 2000})
    build(tmp_path, arm)


def test_a_missing_folder_or_file_is_named(tmp_path):
    with pytest.raises(MedfeError, match=r"target\.autoencoders is not set.*medfe train-autoencoder"):
        build(None, "autoencoder")
    save(tmp_path, "structure")
    with pytest.raises(MedfeError, match=r"texture\.safetensors: no such weight file"):
        build(tmp_path, "random_encoder")


def test_a_file_of_the_other_kind_or_without_settings_is_refused(tmp_path):
    save(tmp_path, "structure", named="texture")
    with pytest.raises(MedfeError, match="holds a 'texture', expected a 'structure'"):
        load_autoencoder(tmp_path / "structure.safetensors", "structure")
    save_weights(tmp_path / "texture.safetensors", {"a": torch.zeros(1)}, {"kind": "texture"})
    with pytest.raises(MedfeError, match=r"texture\.safetensors: kind"):
        load_autoencoder(tmp_path / "texture.safetensors", "texture")


def test_settings_that_do_not_fit_the_tensors_are_refused(tmp_path):
    save(tmp_path, "texture")
    network = build_autoencoder(AutoencoderConfig(kind="texture", base_channels=2, max_channels=64, code_channels=8))
    settings = AutoencoderConfig(kind="texture", base_channels=2, max_channels=64, code_channels=9)
    metadata = {"kind": "texture", "config": settings.model_dump(mode="json")}
    save_weights(tmp_path / "texture.safetensors", network.state_dict(), metadata)
    with pytest.raises(MedfeError, match=r"texture\.safetensors.*expected"):
        load_autoencoder(tmp_path / "texture.safetensors", "texture")
