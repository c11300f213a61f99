import os
import pickle
from itertools import pairwise

import pytest
import torch
from torch import nn
from torch.nn.utils import spectral_norm as old_spectral_norm
from torch.nn.utils.parametrizations import spectral_norm

from medfe.config import AutoencoderConfig
from medfe.errors import MedfeError
from medfe.models.autoencoder import build_autoencoder
from medfe.models.critic import Critic
from medfe.models.encoder import fill_hole
from medfe.models.generator import build_generator
from medfe.models.partial_convolution import PublishedPartialConv2d
from medfe.published import (
    ENCODERS,
    autoencoder_keys,
    bottleneck_keys,
    decoder_keys,
    detect_variant,
    encoder_keys,
    load_state,
    published_config,
    translate,
)

from .released import (
    KEYS,
    KINDS,
    VARIANTS,
    critic_keys,
    encoder_state,
    generator_state,
    readout_state,
    spectral_critic_keys,
)

READOUT = ["loss.0.down_model.0.weight", "loss.0.down_model.0.bias"]


def reference(part):
    """The tensors of a part of the released code: names and shapes, without values."""
    return {key: torch.empty(shape, device="meta") for key, shape in KEYS[part]["tensors"].items()}


def redrawn_encoders():
    """What a checkpoint of MEDFE+CAE holds beside the tensors that reference_keys.json lists for its bottleneck."""
    return {
        f"loss.0.down_model_{kind}s.{key}": tensor for kind in KINDS for key, tensor in reference(f"cae_{kind}").items()
    }


def shapes(tensors):
    return {key: tuple(tensor.shape) for key, tensor in tensors.items()}


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_tensor_of_the_released_generator_is_mapped_exactly_once(variant):
    for keys, part in ((encoder_keys(), "encoder"), (decoder_keys(), "decoder")):
        assert sorted(keys.values()) == sorted(reference(part))
    inner = list(bottleneck_keys(variant).values()) + (READOUT if variant == "medfe" else [])
    assert sorted(inner) == sorted(reference(f"bottleneck.{variant}"))


@pytest.mark.parametrize("variant", VARIANTS)
def test_released_tensors_have_the_shapes_of_the_full_size_generator(variant):
    with torch.device("meta"):
        network = build_generator(published_config(variant))
    state = generator_state(reference("encoder"), reference("decoder"), reference(f"bottleneck.{variant}"), variant)
    assert shapes(state) == shapes(network.state_dict())


def test_the_released_read_out_has_the_shape_of_ours():
    assert shapes(readout_state(reference("bottleneck.medfe"))) == {"weight": (3, 256, 1, 1), "bias": (3,)}


def test_all_102_tensors_of_the_redrawn_encoders_are_mapped_exactly_once():
    prefixes = {kind: ENCODERS.format(plural=f"{kind}s") for kind in KINDS}
    mapped = [prefixes[kind] + key for kind in KINDS for key in autoencoder_keys(kind).values()]
    assert len(mapped) == 102
    assert sorted(mapped) == sorted(redrawn_encoders())


@pytest.mark.parametrize("kind", KINDS)
def test_redrawn_encoders_have_the_shapes_of_the_full_size_auto_encoders(kind):
    bottleneck = reference("bottleneck.medfe_cae") | redrawn_encoders()
    with torch.device("meta"):
        network = build_autoencoder(AutoencoderConfig(kind=kind))
    assert shapes(encoder_state(bottleneck, kind)) == shapes(network.state_dict())


@pytest.mark.parametrize("name", ["global", "local"])
def test_every_tensor_of_the_released_critics_is_mapped_exactly_once(name):
    effective = reference(f"discriminator_{name}")
    assert sorted(critic_keys().values()) == sorted(effective)
    stored = [key for key in effective if key.endswith("bias")]
    stored += [f"{key}_{suffix}" for key in effective if key.endswith("weight") for suffix in ("orig", "u", "v")]
    assert sorted(spectral_critic_keys().values()) == sorted(stored)
    with torch.device("meta"):
        network = Critic(256 if name == "global" else 64, 64)
    assert shapes(translate(effective, critic_keys(), name)) == shapes(network.state_dict())


class ReleasedCritic(nn.Module):
    """A critic with the layer names and the spectral normalisation of the released checkpoints."""

    def __init__(self):
        super().__init__()
        widths = (3, 4, 8, 16, 32, 1)
        layers = []
        for inputs, outputs in pairwise(widths):
            layers += [old_spectral_norm(nn.Conv2d(inputs, outputs, 4, 2, 1)), nn.LeakyReLU(0.2)]
        self.model = nn.Sequential(*layers[:-1])

    def forward(self, image):
        return self.model(image)


def test_critics_with_old_spectral_normalisation_score_alike():
    torch.manual_seed(0)
    theirs, ours = ReleasedCritic(), Critic(64, 4)
    for stage in ours.stages:
        spectral_norm(stage)
    image, *others = torch.randn(3, 2, 3, 64, 64)
    for other in others:  # in training mode, so that the stored vectors are no longer those of the first draw
        theirs(other)
    state = theirs.state_dict()
    assert sorted(state) == sorted(spectral_critic_keys().values())
    ours.load_state_dict(translate(state, spectral_critic_keys(), "critic"))
    torch.testing.assert_close(ours.eval()(image), theirs.eval()(image))


def test_one_mask_channel_with_summed_weights_is_three_equal_copies():
    torch.manual_seed(1)
    image, mask = torch.rand(2, 3, 32, 32) * 2 - 1, (torch.rand(2, 1, 32, 32) > 0.5).float()
    theirs, ours = nn.Conv2d(6, 5, 4, 2, 1), nn.Conv2d(4, 5, 4, 2, 1)
    keys = {name: f"Encoder_1.model.0.{name}" for name in ("weight", "bias")}
    published = {f"Encoder_1.model.0.{name}": tensor for name, tensor in theirs.state_dict().items()}
    ours.load_state_dict(translate(published, keys, "encoder"))
    filled, known = fill_hole(image, mask), 1 - mask
    found = ours(torch.cat([filled, known], dim=1))
    torch.testing.assert_close(found, theirs(torch.cat([filled, known, known, known], dim=1)))


@pytest.mark.parametrize("kernel", [3, 5, 7])
def test_noise_summed_over_inputs_normalises_as_the_released_convolution_of_repeated_masks(kernel):
    torch.manual_seed(kernel)
    x = torch.randn(1, 6, 12, 12, dtype=torch.float64)
    known = torch.ones(1, 1, 12, 12, dtype=torch.float64)
    known[:, :, 2:11, 3:12] = 0
    main, noise = torch.randn(2, 6, 6, kernel, kernel, dtype=torch.float64) * 0.02
    ours = PublishedPartialConv2d(6, 6, kernel).double()
    keys = {"convolution.weight": "conv.input_conv.weight", "mask_weight": "conv.mask_conv.weight"}
    published = {"conv.input_conv.weight": main, "conv.mask_conv.weight": noise}
    ours.load_state_dict(translate(published, keys, "bottleneck"))

    padding = kernel // 2
    normaliser = nn.functional.conv2d(known.expand_as(x), noise, padding=padding)
    empty = nn.functional.conv2d(known, torch.ones_like(known[..., :kernel, :kernel]), padding=padding) == 0
    expected = nn.functional.conv2d(x * known, main, padding=padding) / normaliser
    expected = expected.masked_fill(empty, 0)
    assert bool(empty.any())
    torch.testing.assert_close(ours(x, ours.area(known)), expected, rtol=1e-9, atol=1e-12)


def test_the_variant_is_told_by_the_head():
    assert detect_variant(reference("bottleneck.medfe")) == "medfe"
    assert detect_variant(reference("bottleneck.medfe_cae")) == "medfe_cae"


def test_missing_tensors_are_counted_and_named():
    state = reference("decoder")
    del state["Decoder_3.model.1.bias"]
    with pytest.raises(MedfeError, match=r"^DE.pth: found 21 of 22 tensors .* Decoder_3.model.1.bias$"):
        translate(state, decoder_keys(), "DE.pth")


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "before torch 1.6"])
@pytest.mark.parametrize("parallel", [True, False], ids=["DataParallel", "one device"])
@pytest.mark.parametrize("bare", [True, False], ids=["bare", "with optimizer"])
def test_every_form_of_a_state_dict_is_read(tmp_path, bare, parallel, zipped):
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    optimizer = torch.optim.Adam(network.parameters())
    network(torch.randn(2, 3, 8, 8)).sum().backward()
    optimizer.step()
    stored = nn.DataParallel(network).state_dict() if parallel else network.state_dict()
    content = stored if bare else {"net": stored, "optimize": optimizer.state_dict()}
    torch.save(content, tmp_path / "EN.pth", _use_new_zipfile_serialization=zipped)
    found = load_state(tmp_path / "EN.pth")
    assert found.keys() == network.state_dict().keys()
    for name, tensor in network.state_dict().items():
        torch.testing.assert_close(found[name], tensor, rtol=0, atol=0)


class Trap:
    """Unpickling this makes a folder, if code is allowed to run."""

    def __init__(self, folder):
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (str(self.folder),)


@pytest.mark.parametrize("write", [torch.save, lambda content, path: path.write_bytes(pickle.dumps(content, 2))])
def test_code_in_a_file_is_refused_and_not_run(tmp_path, write):
    write({"net": Trap(tmp_path / "trapped")}, tmp_path / "EN.pth")
    with pytest.raises(MedfeError, match=r"EN\.pth: .*readable") as error:
        load_state(tmp_path / "EN.pth")
    assert "\n" not in str(error.value)
    assert not (tmp_path / "trapped").exists()


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "before torch 1.6"])
@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.99])
def test_truncated_files_are_refused(tmp_path, share, zipped):
    path = tmp_path / "EN.pth"
    torch.save({"net": {"weight": torch.randn(64, 64)}}, path, _use_new_zipfile_serialization=zipped)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(MedfeError, match=r"EN\.pth: not a readable file of tensors") as error:
        load_state(path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("content", [[1, 2], {"net": [torch.zeros(1)]}, {"epoch": 3}, torch.zeros(2)])
def test_files_without_a_state_dict_are_refused(tmp_path, content):
    torch.save(content, tmp_path / "EN.pth")
    with pytest.raises(MedfeError, match=r"EN\.pth: found no state dict, expected"):
        load_state(tmp_path / "EN.pth")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(MedfeError, match=r"EN\.pth: no such file, expected a checkpoint of the released code"):
        load_state(tmp_path / "EN.pth")
