import importlib.util
import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from medfe import cli, import_published
from medfe.config import AutoencoderConfig, RunConfig, TargetConfig
from medfe.data.samples import scenes
from medfe.errors import MedfeError
from medfe.import_published import FEEDINGS
from medfe.inference import Inpainter
from medfe.models.autoencoder import build_autoencoder
from medfe.models.generator import build_generator
from medfe.published import encoder_state, generator_state, published_config
from medfe.targets import build_target
from medfe.targets.autoencoder import load_autoencoder
from medfe.training.checkpoint import load_config
from medfe.weightfiles import load_weights

GOLDEN = Path(__file__).parent / "golden"
KEYS = json.loads((GOLDEN / "reference_keys.json").read_text())
_spec = importlib.util.spec_from_file_location("golden_weights", GOLDEN / "weights.py")
weights = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(weights)

SHRINKING = 16
VARIANTS = ("medfe", "medfe_cae")
KINDS = ("texture", "structure")
PARTS = ("EN.pth", "DE.pth", "MEDFE.pth")


def small_config(variant):
    """The released network with a sixteenth of its channels, at its own 256 pixels: every kernel keeps its size."""
    full = published_config(variant)
    return full.replace(base_channels=full.base_channels // SHRINKING, feature_channels=16)


def shrunken(shape, divide):
    return [count if count in (3, 6) else divide(count) for count in shape[:2]] + shape[2:]


def released(part, divide=lambda count: count // SHRINKING, salt=""):
    entry = KEYS[part]
    return {
        key: torch.from_numpy(weights.golden_tensor(salt + entry["prefix"] + key, tuple(shape), entry["gain"]))
        for key, full in entry["tensors"].items()
        for shape in [shrunken(full, divide)]
    }


def released_autoencoders(redrawn=True):
    """Both auto-encoders as a bottleneck of MEDFE+CAE holds them, no wider than 16 channels."""
    tensors = {}
    for kind in KINDS:
        for key, tensor in released(f"cae_{kind}", lambda count: min(count, 16)).items():
            shift = key.startswith("model_encode") and key.endswith("bias")
            tensors[f"loss.0.down_model_{kind}s.{key}"] = torch.zeros_like(tensor) if shift and redrawn else tensor
    return tensors


def checkpoint(variant):
    autoencoders = released_autoencoders() if variant == "medfe_cae" else {}
    return [released("encoder"), released("decoder"), released(f"bottleneck.{variant}") | autoencoders]


def save(folder, parts, names=PARTS):
    paths = [folder / name for name in names]
    for path, part in zip(paths, parts, strict=True):
        torch.save({"net": part, "optimize": {"state": {}, "param_groups": []}}, path)
    return paths


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(import_published, "published_config", small_config)


@pytest.fixture
def quick(small, monkeypatch):
    """Small networks, and one feeding instead of eight forward passes."""
    monkeypatch.setattr(import_published, "FEEDINGS", FEEDINGS[:1])


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("variant", VARIANTS)
def test_the_run_folder_inpaints_with_the_released_weights(tmp_path, variant):
    parts, run = checkpoint(variant), tmp_path / "run"
    import_published.import_published(*save(tmp_path, parts), run)
    inpainter = Inpainter.from_pretrained(run, device="cpu")

    expected = build_generator(small_config(variant))
    expected.load_state_dict(generator_state(*parts, variant))
    assert inpainter.generator.state_dict().keys() == expected.state_dict().keys()
    for name, tensor in expected.state_dict().items():
        torch.testing.assert_close(inpainter.generator.state_dict()[name], tensor, rtol=1e-5, atol=1e-6, msg=name)

    picture = np.asarray(scenes()["astronaut"].resize((256, 256)))
    hole = np.zeros((256, 256), dtype=bool)
    hole[80:140, 60:200] = True
    filled = np.asarray(inpainter(picture, hole))
    assert (filled[~hole] == picture[~hole]).all()
    assert (filled[hole] != picture[hole]).any()


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(("variant", "arm"), [("medfe", "low_resolution"), ("medfe_cae", "random_encoder")])
def test_the_run_folder_says_what_was_imported(tmp_path, variant, arm):
    run = tmp_path / "run"
    text = import_published.import_published(*save(tmp_path, checkpoint(variant)), run)
    config = load_config(run, RunConfig)
    assert config.generator == small_config(variant)
    assert (config.target.arm, config.target.weight) == (arm, 4.0 if variant == "medfe" else 32.0)
    inpainter = Inpainter.from_pretrained(run, device="cpu")
    assert inpainter.arm == arm
    assert inpainter.metadata["released_code"] == {"variant": variant, "files": list(PARTS)}
    assert text.startswith(f"{run}: {'MEDFE' if variant == 'medfe' else 'MEDFE+CAE'} of the released code")
    files = {path.name for path in run.iterdir()}
    assert files - {"texture.safetensors", "structure.safetensors"} == {"config.json", "generator.safetensors"}
    assert len(files) == (2 if variant == "medfe" else 4)


@pytest.mark.usefixtures("quick")
def test_the_read_out_of_medfe_goes_along(tmp_path):
    parts = checkpoint("medfe")
    import_published.import_published(*save(tmp_path, parts), tmp_path / "run")
    config = load_config(tmp_path / "run", RunConfig)
    stored = load_weights(tmp_path / "run" / "generator.safetensors", "generator").tensors
    target = build_target(config.target, config.generator)
    target.load_state_dict({
        name.removeprefix("target."): tensor for name, tensor in stored.items() if name.startswith("target.")
    })  # fmt: skip
    feature = torch.randn(1, 16, 32, 32)
    weight, bias = (parts[2][f"loss.0.down_model.0.{name}"] for name in ("weight", "bias"))
    expected = torch.einsum("oc,nchw->nohw", weight[:, :, 0, 0], feature) + bias[:, None, None]
    torch.testing.assert_close(target.read(feature), expected.tanh(), rtol=1e-5, atol=1e-5)


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("redrawn", [True, False])
def test_auto_encoders_of_a_checkpoint_become_targets_as_they_are(tmp_path, redrawn):
    run, parts = tmp_path / "run", checkpoint("medfe_cae")
    parts[2] |= released_autoencoders(redrawn)
    text = import_published.import_published(*save(tmp_path, parts), run)
    assert load_config(run, RunConfig).target.arm == ("random_encoder" if redrawn else "autoencoder")
    image = torch.rand(1, 3, 256, 256) * 2 - 1
    target = build_target(TargetConfig(arm="autoencoder", autoencoders=run), small_config("medfe_cae"))
    for kind, goal in zip(("structure", "texture"), target.goals(image, image), strict=True):
        network = build_autoencoder(AutoencoderConfig.matching(small_config("medfe_cae"), kind)).eval()
        network.load_state_dict(encoder_state(parts[2], kind))
        torch.testing.assert_close(goal, network.encode(image), rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(load_autoencoder(run / f"{kind}.safetensors", kind)(image), network(image))
        origin = load_weights(run / f"{kind}.safetensors", kind).metadata["released_code"]["weights"]
        assert origin == ("re-drawn at random, as the released code does" if redrawn else "trained")
        assert f"{kind}.safetensors: {origin}" in text


@pytest.mark.usefixtures("quick")
def test_a_checkpoint_of_medfe_cae_without_auto_encoders_is_imported(tmp_path):
    parts = [released("encoder"), released("decoder"), released("bottleneck.medfe_cae")]
    import_published.import_published(*save(tmp_path, parts), tmp_path / "run")
    config = load_config(tmp_path / "run", RunConfig)
    assert (config.target.arm, config.target.autoencoders) == ("random_encoder", None)


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("form", ["bare", "DataParallel"])
def test_the_form_of_the_files_does_not_matter(tmp_path, form):
    parts, run = checkpoint("medfe"), tmp_path / "run"
    paths = save(tmp_path, parts)
    import_published.import_published(*paths, tmp_path / "reference")
    for path, part in zip(paths, parts, strict=True):
        content = part if form == "bare" else {"net": {f"module.{key}": value for key, value in part.items()}}
        torch.save(content, path)
    import_published.import_published(*paths, run)
    stored = [load_weights(folder / "generator.safetensors").tensors for folder in (run, tmp_path / "reference")]
    found, expected = stored
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)


@pytest.mark.usefixtures("quick")
def test_tensors_of_no_known_network_are_named(tmp_path):
    parts = checkpoint("medfe")
    parts[1]["Decoder_7.model.1.weight"] = torch.zeros(1)
    text = import_published.import_published(*save(tmp_path, parts), tmp_path / "run")
    assert "left out 1 tensors of no network of the released code: Decoder_7.model.1.weight" in text


def swap(parts):
    parts[0], parts[1] = parts[1], parts[0]


def give_critic(parts):
    parts[0] = {"model.0.weight_orig": torch.zeros(64, 3, 4, 4)}


def give_another_network(parts):
    parts[2] = {"conv1.weight": torch.zeros(64, 3, 7, 7)}


def lose_tensor(parts):
    del parts[1]["Decoder_2.model.1.bias"]


def cut_tensor(parts):
    parts[0]["Encoder_1.model.0.weight"] = parts[0]["Encoder_1.model.0.weight"][:, :4]


def flatten_mask_weights(parts):
    parts[2]["pc_block.cov_3.0.conv.mask_conv.weight"] = torch.ones(16)


def spoil_tensor(parts):
    parts[2]["pc_block.up.conv.weight"][0, 0] = float("nan")


def lose_read_out(parts):
    del parts[2]["loss.0.down_model.0.bias"]


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (swap, r"EN\.pth: expected the released code's encoder \(EN\.pth\), found its decoder$"),
        (give_critic, r"EN\.pth: expected the released code's encoder \(EN\.pth\), found its critic$"),
        (give_another_network, r"MEDFE\.pth: expected .* bottleneck .*, found 1 tensors of none of its networks$"),
        (lose_tensor, r"DE\.pth: found 21 of 22 tensors of the released code, missing Decoder_2\.model\.1\.bias$"),
        (cut_tensor, r"EN\.pth: Encoder_1\.model\.0\.weight is \(4, 4, 4, 4\), expected \(4, 6, 4, 4\)$"),
        (flatten_mask_weights, r"MEDFE\.pth: .*mask_conv\.weight is \(16,\), expected \(16, 16, 3, 3\)$"),
        (spoil_tensor, r"MEDFE\.pth: found values that are not finite in pc_block\.up\.conv\.weight, expected"),
        (lose_read_out, r"MEDFE\.pth: found 1 of 2 tensors .* missing loss\.0\.down_model\.0\.bias$"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_wrong_files_are_named_with_found_and_expected(tmp_path, damage, message):
    parts = checkpoint("medfe")
    damage(parts)
    refuses(tmp_path, save(tmp_path, parts), message)


@pytest.mark.usefixtures("quick")
def test_unreadable_files_are_named(tmp_path):
    paths = save(tmp_path, checkpoint("medfe"))
    whole = paths[1].read_bytes()
    paths[1].write_bytes(whole[: len(whole) // 2])
    refuses(tmp_path, paths, r"DE\.pth: not a readable file of tensors")
    paths[1].write_bytes(pickle.dumps({"net": print}, 2))
    refuses(tmp_path, paths, r"DE\.pth: not a readable file of tensors")
    paths[1].unlink()
    refuses(tmp_path, paths, r"DE\.pth: no such file, expected the released code's decoder \(DE\.pth\)$")


def refuses(folder, paths, message):
    """Check that importing raises one line and leaves no trace."""
    before = sorted(folder.rglob("*"))
    with pytest.raises(MedfeError, match=message) as error:
        import_published.import_published(*paths, folder / "run")
    assert "\n" not in str(error.value)
    assert sorted(folder.rglob("*")) == before


@pytest.mark.usefixtures("quick")
def test_a_folder_in_use_is_left_alone(tmp_path):
    paths, run = save(tmp_path, checkpoint("medfe")), tmp_path / "run"
    run.mkdir()
    (run / "state.ckpt").write_text("a training")
    refuses(tmp_path, paths, r"run: exists and is not empty, expected a new folder$")
    (run / "state.ckpt").unlink()
    import_published.import_published(*paths, run)  # an empty one will do
    assert Inpainter.from_pretrained(run, device="cpu").image_size == 256


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_nothing_stays_of_an_import_that_breaks_off_while_writing(tmp_path, monkeypatch, error):
    paths = save(tmp_path, checkpoint("medfe_cae"))
    before = sorted(tmp_path.rglob("*"))
    write = import_published.save_weights

    def break_off(path, *arguments):
        if path.stem == "structure":
            raise error
        write(path, *arguments)

    monkeypatch.setattr(import_published, "save_weights", break_off)
    with pytest.raises(type(error)):
        import_published.import_published(*paths, tmp_path / "run")
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.usefixtures("small")
def test_the_command_prints_a_row_for_each_of_eight_ways(tmp_path, capsys):
    paths = [str(path) for path in save(tmp_path, checkpoint("medfe"))]
    cli.main(["import-published", *paths, "--out", str(tmp_path / "run")])
    printed = capsys.readouterr().out
    rows = [line.split() for line in printed.splitlines() if line.startswith(("RGB", "BGR"))]
    assert len(rows) == 8
    assert len({tuple(row[:4]) for row in rows}) == 8
    assert printed.count("<- best") == 1
    assert "no way reproduces what the network is shown" in printed  # these weights are random

    with pytest.raises(SystemExit) as exit_info:
        cli.main(["import-published", paths[1], paths[0], paths[2], "--out", str(tmp_path / "other")])
    assert exit_info.value.code == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "DE.pth: expected the released code's encoder (EN.pth), found its decoder" in error


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("variant", VARIANTS)
def test_at_full_size_the_run_folder_gives_the_recorded_output(tmp_path, golden_dir, monkeypatch, variant):
    monkeypatch.setattr(import_published, "FEEDINGS", FEEDINGS[:1])  # seconds each in float64
    recorded = np.load(golden_dir / "golden_networks.npz")
    salt = str(recorded["salt"])
    parts = [released(part, lambda count: count, salt) for part in ("encoder", "decoder", f"bottleneck.{variant}")]
    paths = save(tmp_path, parts)
    del parts
    import_published.import_published(*paths, tmp_path / "run")
    generator = Inpainter.from_pretrained(tmp_path / "run", device="cpu").generator
    image = torch.from_numpy(weights.golden_image(salt + "image", 256))
    mask = nn.functional.pad(torch.ones(1, 1, 128, 128), (64, 64, 64, 64))
    output = generator(image, mask).image[:, :, ::4, ::4].double()
    expected = torch.from_numpy(recorded[f"{variant}.center.output.slice"]).double()
    assert float((output - expected).norm() / expected.norm()) <= 1e-4
