"""Critics: shapes, the local crop, spectral normalisation, and the released checkpoints' format."""

import pytest
import torch
from torch import nn

from medfe.config import GeneratorConfig
from medfe.models.critic import Critic, build_critics
from medfe.published import translate

from ..released import spectral_critic_keys

CONFIG = GeneratorConfig(image_size=64, base_channels=4)


def effective_weights(critic):
    return [stage.weight.detach().flatten(1) for stage in critic.stages]


def largest_singular_values(critic):
    return [float(torch.linalg.matrix_norm(weight.double(), 2)) for weight in effective_weights(critic)]


@pytest.mark.parametrize(("size", "side"), [(32, 2), (40, 2), (48, 3), (64, 2), (96, 3), (128, 4), (256, 8)])
def test_scores_are_a_map_of_no_less_than_two_cells_a_side(size, side):
    scores = Critic(size, 2)(torch.zeros(3, 3, size, size))
    assert scores.shape == (3, 1, side, side)


@pytest.mark.parametrize("size", [64, 96, 128, 160, 192, 224, 256])
def test_both_critics_score_every_size(size):
    config = GeneratorConfig(image_size=size, base_channels=2)
    scores = build_critics(config)(torch.zeros(1, 3, size, size), (0, size - config.local_crop))
    assert all(torch.isfinite(score).all() for score in scores)


def test_the_local_critic_sees_its_crop_alone():
    critics = build_critics(CONFIG).eval()
    image = torch.randn(2, 3, 64, 64)
    whole, local = critics(image, (5, 9))
    torch.testing.assert_close(local, critics.local(image[:, :, 5:37, 9:41]))
    torch.testing.assert_close(whole, critics.whole(image))
    outside = image.clone()
    outside[:, :, :5] = outside[:, :, 37:] = outside[..., :9] = outside[..., 41:] = 0
    assert torch.equal(critics(outside, (5, 9)).local, local)


def test_all_five_layers_of_both_are_normalised():
    for critic in (build_critics(CONFIG).whole, build_critics(CONFIG).local):
        assert len(critic.stages) == 5
        for stage in critic.stages:
            assert nn.utils.parametrize.is_parametrized(stage, "weight")
            assert stage.bias is not None


def test_power_iteration_brings_the_largest_singular_value_to_one():
    torch.manual_seed(0)
    critics = build_critics(CONFIG)
    for stage in critics.whole.stages:  # far from 1, and from what the iteration started with
        original = stage.parametrizations.weight.original
        original.data = 5 * torch.randn_like(original)
    for _ in range(150):
        critics(torch.zeros(1, 3, 64, 64), (0, 0))
    assert largest_singular_values(critics.whole) == pytest.approx([1] * 5, abs=1e-3)


def test_one_iteration_a_training_pass_and_none_in_evaluation():
    critics = build_critics(CONFIG)
    layer = critics.whole.stages[2].parametrizations.weight
    weight = layer.original.detach().flatten(1)

    def stepped():
        left = nn.functional.normalize(weight @ layer[0]._v, dim=0, eps=1e-12)
        return left, nn.functional.normalize(weight.T @ left, dim=0, eps=1e-12)

    expected = stepped()
    critics(torch.zeros(1, 3, 64, 64), (0, 0))
    torch.testing.assert_close((layer[0]._u, layer[0]._v), expected)
    critics.eval()(torch.zeros(1, 3, 64, 64), (0, 0))
    torch.testing.assert_close((layer[0]._u, layer[0]._v), expected)


def old_style_critic(seed):
    """A critic as the released code builds it: `model.0`, `model.2`, … with torch's older spectral_norm."""
    torch.manual_seed(seed)
    layers = []
    for inputs, outputs in ((3, 4), (4, 8), (8, 16), (16, 32), (32, 1)):
        layers += [nn.utils.spectral_norm(nn.Conv2d(inputs, outputs, 4, 2, 1)), nn.LeakyReLU(0.2)]
    network = nn.Sequential()
    network.model = nn.Sequential(*layers[:-1])
    return network.model.train()


@pytest.mark.filterwarnings("ignore:.*spectral_norm.*:FutureWarning")
def test_released_checkpoints_with_spectral_normalisation_load_and_score_the_same():
    published = old_style_critic(0)
    image = torch.randn(2, 3, 64, 64)
    published(image)
    ours = build_critics(CONFIG).whole
    state = {f"model.{key}": value for key, value in published.state_dict().items()}
    ours.load_state_dict(translate(state, spectral_critic_keys(), "critic"))
    with torch.no_grad():
        torch.testing.assert_close(ours.eval()(image), published.eval()(image), rtol=1e-5, atol=1e-6)
        small = image[:, :, :32, :32]
        for _ in range(200):  # torch's two versions of an iteration begin at opposite ends, and meet
            ours.train()(small), published.train()(small)
        torch.testing.assert_close(ours(image), published(image), rtol=1e-4, atol=1e-5)
