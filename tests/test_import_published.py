"""A checkpoint of the released code as a run folder."""

import numpy as np
import pytest
import torch
from torch import nn

from medfe import cli, import_published
from medfe.config import AutoencoderConfig, RunConfig, TargetConfig
from medfe.data.samples import scenes
from medfe.import_published import FEEDINGS
from medfe.inference import Inpainter
from medfe.models.autoencoder import build_autoencoder
from medfe.models.generator import build_generator
from medfe.targets import build_target
from medfe.targets.autoencoder import load_autoencoder
from medfe.training.checkpoint import load_config
from medfe.weightfiles import load_weights

from .released import (
    PARTS,
    VARIANTS,
    checkpoint,
    encoder_state,
    generator_state,
    released,
    released_autoencoders,
    save,
    small_config,
    weights,
)


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
