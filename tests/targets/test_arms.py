"""What every arm's target owes to the others: goals, gradients, rank, and a user's own class."""

import sys

import pytest
import torch

from medfe.config import ARMS, AutoencoderConfig, GeneratorConfig, TargetConfig
from medfe.errors import MedfeError
from medfe.losses import intermediate_loss
from medfe.models.autoencoder import build_autoencoder
from medfe.models.branches import Features
from medfe.models.layers import resize
from medfe.targets import ARM_CLASSES, build_target, target_class
from medfe.weightfiles import save_weights

CHANNELS = 12
GENERATOR = GeneratorConfig(image_size=64, base_channels=2, feature_channels=CHANNELS)


@pytest.fixture(scope="module")
def autoencoders(tmp_path_factory):
    """Folder with both auto-encoders at this size."""
    folder = tmp_path_factory.mktemp("autoencoders")
    for seed, kind in enumerate(("structure", "texture")):
        torch.manual_seed(seed)
        config = AutoencoderConfig(
            kind=kind, image_size=64, base_channels=2, max_channels=8, code_channels=CHANNELS
        )  # fmt: skip
        metadata = {"kind": kind, "config": config.model_dump(mode="json")}
        save_weights(folder / f"{kind}.safetensors", build_autoencoder(config).state_dict(), metadata)
    return folder


@pytest.fixture
def build(autoencoders):
    def build(arm, **knobs):
        torch.manual_seed(0)
        return build_target(TargetConfig(arm=arm, autoencoders=autoencoders, **knobs), GENERATOR)

    return build


def images(count=1, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [torch.rand(count, 3, 64, 64, generator=generator) * 2 - 1 for _ in range(2)]


def gradient_rank(target, seed=0):
    """Rank of ∂L/∂F, positions × channels; 64 positions, more than 2 · 12 channels."""
    goals = Features(*(goal.double() for goal in target.goals(*images(seed=seed))))
    ranks = []
    generator = torch.Generator().manual_seed(seed)
    features = [
        torch.randn(1, CHANNELS, 8, 8, generator=generator, dtype=torch.float64).requires_grad_() for _ in range(2)
    ]
    loss = target.double().loss(Features(*features), goals)
    gradients = torch.autograd.grad(loss, features, allow_unused=True) if loss.requires_grad else (None, None)
    for gradient in gradients:
        stacked = torch.zeros(64, CHANNELS) if gradient is None else gradient[0].flatten(1).T  # (HW, C)
        assert len(stacked) >= 2 * CHANNELS
        ranks.append(int(torch.linalg.matrix_rank(stacked)))
    return ranks


RANKS = {"low_resolution": 3, "autoencoder": CHANNELS, "random_encoder": CHANNELS, "block_dct": CHANNELS, "none": 0}


@pytest.mark.parametrize("arm", ARMS)
@pytest.mark.parametrize("seed", [0, 1])
def test_the_loss_pulls_at_as_many_directions_of_a_feature_as_the_arm_says(build, arm, seed):
    assert gradient_rank(build(arm), seed) == [RANKS[arm]] * 2


@pytest.mark.parametrize("coefficients", [1, 3, 7, 12])
def test_block_dct_pulls_at_all_channels_whatever_it_keeps(build, coefficients):
    """Its distance is that of all channels: what the image does not fill is pulled to zero."""
    assert gradient_rank(build("block_dct", coefficients=coefficients)) == [CHANNELS] * 2


@pytest.mark.parametrize("arm", ARMS)
def test_goals_have_no_gradient_and_only_the_read_out_is_trained(build, arm):
    target = build(arm)
    image, structure = (part.requires_grad_() for part in images())
    assert not any(goal.requires_grad for goal in target.goals(image, structure))
    trained = [name for name, parameter in target.named_parameters() if parameter.requires_grad]
    assert trained == (["readout.weight", "readout.bias"] if arm == "low_resolution" else [])


@pytest.mark.parametrize("arm", ARMS)
def test_goals_and_state_stay_the_same_in_training_mode(build, arm):
    target = build(arm)
    first = target.goals(*images(2))
    before = {name: tensor.clone() for name, tensor in target.state_dict().items()}
    target.train()
    for seed in range(3):
        target.goals(*images(2, seed))
    for a, b in zip(first, target.goals(*images(2)), strict=True):
        assert torch.equal(a, b)
    for name, tensor in target.state_dict().items():
        assert torch.equal(tensor, before[name]), name


@pytest.mark.parametrize("arm", ARMS)
def test_structure_image_matters_where_the_class_says_so(build, arm):
    target = build(arm)
    image, structure = images()
    changed = target.goals(image, -structure)
    same = [torch.equal(a, b) for a, b in zip(target.goals(image, structure), changed, strict=True)]
    assert same == [not target.uses_structure_image, True]


@pytest.mark.parametrize("arm", ["autoencoder", "random_encoder", "block_dct"])
def test_loss_is_the_sum_of_both_mean_distances_in_all_channels(build, arm):
    target = build(arm)
    goals, features = target.goals(*images(2)), Features(*(torch.randn(2, CHANNELS, 8, 8) for _ in range(2)))
    expected = (features.structure - goals.structure).abs().mean() + (features.texture - goals.texture).abs().mean()
    torch.testing.assert_close(target.loss(features, goals), expected)
    assert target.loss(goals, goals) == 0


def test_low_resolution_compares_one_read_out_of_both_features_with_shrunken_images(build):
    target = build("low_resolution")
    image, structure = images(2)
    features = Features(*(torch.randn(2, CHANNELS, 8, 8) for _ in range(2)))
    goals = target.goals(image, structure)
    torch.testing.assert_close(
        goals.texture, torch.nn.functional.interpolate(image, scale_factor=1 / 8, mode="bilinear")
    )
    assert torch.equal(goals.structure, resize(structure, 8))
    weight, bias = target.readout.weight[:, :, 0, 0], target.readout.bias[:, None, None]
    read = [torch.tanh(torch.einsum("oc,nchw->nohw", weight, feature) + bias) for feature in features]
    torch.testing.assert_close(target.loss(features, goals), intermediate_loss(read, goals))
    assert target.picture(features.texture).shape == (2, 3, 8, 8)


def test_without_a_target_the_loss_is_zero_and_has_no_gradient(build):
    target = build("none")
    features = Features(*(torch.randn(2, CHANNELS, 8, 8, requires_grad=True) for _ in range(2)))
    loss = target.loss(features, target.goals(*images(2)))
    assert loss == 0
    assert loss.shape == ()
    assert target.picture(features.texture) is None


def test_every_arm_of_the_settings_has_a_class():
    assert tuple(ARM_CLASSES) == ARMS


PLUG_IN = """
import torch
from medfe.models.branches import Features
from medfe.targets import Target

class Grey(Target):
    uses_structure_image = False

    def goals(self, image, structure_image):
        grey = torch.nn.functional.avg_pool2d(image.mean(dim=1, keepdim=True), 8)
        return Features(grey, grey)

    def read(self, feature):
        return feature[:, :1]

def function(config, generator):
    return None
"""


@pytest.fixture
def plug_in(tmp_path, monkeypatch):
    (tmp_path / "my_targets.py").write_text(PLUG_IN)
    monkeypatch.syspath_prepend(tmp_path)
    yield
    sys.modules.pop("my_targets", None)


@pytest.mark.usefixtures("plug_in")
def test_a_class_of_ones_own_is_a_target(build):
    target = build("my_targets:Grey")
    assert gradient_rank(target) == [1, 1]
    assert target_class("my_targets:Grey") is type(target)


@pytest.mark.usefixtures("plug_in")
@pytest.mark.parametrize("arm", [
    "my_targets:Missing", "no_such_module:Grey", "my_targets:function", "my_targets:torch", ":Grey", "my_targets:",
    ".my_targets:Grey",
])  # fmt: skip
def test_anything_else_is_named_in_one_line(arm):
    with pytest.raises(MedfeError, match=arm) as error:
        target_class(arm)
    assert "\n" not in str(error.value)
