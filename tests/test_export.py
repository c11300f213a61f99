"""Weights to ship: files, picture and card."""

import shutil
from pathlib import Path

import pandas as pd
import pytest
import skimage.data
import torch
from PIL import Image
from safetensors import safe_open

from medfe.card import error_section, losses_line, settings_line, weights_line
from medfe.config import AUTOENCODER_KINDS, AutoencoderRunConfig, RunConfig
from medfe.errors import MedfeError
from medfe.export import export_weights
from medfe.inference import Inpainter
from medfe.models.autoencoder import build_autoencoder
from medfe.models.generator import build_generator
from medfe.training.autoencoder import autoencoder_metadata
from medfe.training.checkpoint import load_config, save_config
from medfe.training.run import generator_metadata
from medfe.weightfiles import GENERATOR_FILE, load_weights, save_weights, weights_digest

RUNS = [Path("runs/one"), Path("runs/two")]


def row(method, by, name, value, masks="center", metric="l1_hole"):
    return {
        "method": method, "metric": metric, "value": value, "low": value - 0.001, "high": value + 0.002,
        "photographs": 30 if name in ("0-12", "male") else 20, "level": 0.95, "by": by, "class": name, "masks": masks,
    }  # fmt: skip


@pytest.fixture
def table(tmp_path):
    """Means of two methods by two ages and both sexes, beside others that do not belong into a card."""
    rows = [
        row(method, by, name, base + 0.01 * place)
        for method, base in (("two", 0.2), ("one", 0.1), ("telea", 0.9))
        for place, (by, name) in enumerate((("age", "0-12"), ("age", "60+"), ("sex", "male"), ("sex", "female")))
    ]
    rows += [row("one", "age", "0-12", 0.7, masks="irregular"), row("one", "age", "0-12", 0.8, metric="psnr")]
    rows += [row("one", "all", float("nan"), 0.6)]
    path = tmp_path / "means.csv"
    pd.DataFrame(rows).to_csv(path, index=False)
    return path


@pytest.fixture
def photographs(tmp_path):
    """Four held-out photographs."""
    folder = tmp_path / "val"
    folder.mkdir()
    for number in range(4):
        picture = Image.fromarray(skimage.data.astronaut()[100 * number : 100 * number + 80, 100:180])
        picture.save(folder / f"{number}.png")
    return folder


def finished_run(folder, arm="none", preset="tiny", step=2, autoencoders=None, digests=None, **metadata):
    """Write a run folder that says it has made two steps."""
    config = RunConfig.create(preset, arm, max_steps=2, target={"autoencoders": autoencoders})
    save_config(folder, config)
    tensors = {f"generator.{name}": value for name, value in build_generator(config.generator).state_dict().items()}
    said = generator_metadata(config, step, "0123456789ab", "32-true", weight_digests=digests)
    save_weights(folder / GENERATOR_FILE, tensors, said | metadata)
    (folder / "metrics.jsonl").write_text('{"step": 2, "images": 8, "l1_image": 0.25, "total": 1.5}\n')
    return folder


def test_a_card_tells_what_weights_started_from(tmp_path, photographs):
    first = {"arm": "low_resolution", "preset": "tiny", "seed": 4, "step": 3, "images": 12, "commit": "fedcba987654"}
    run = finished_run(tmp_path / "run", earlier=[first])
    (run / "metrics.jsonl").unlink()  # where the weights alone were kept
    text = export_weights([run], None, tmp_path / "out", data="pieces", val=photographs).read_text(encoding="utf-8")
    assert "; 20 images each" in text
    assert "earlier training: 3 steps, 12 images, arm `low_resolution`, seed 4, commit fedcba987654.\n" in text
    assert "Loss terms" not in text


def test_a_card_does_not_count_what_is_not_known(tmp_path, photographs):
    run = finished_run(tmp_path / "run", earlier=[{"arm": "", "seed": None, "step": None, "images": None}])
    text = export_weights([run], None, tmp_path / "out", data="pieces", val=photographs).read_text(encoding="utf-8")
    assert "; at least 8 images each" in text
    assert "earlier training: an unknown number of images, commit unknown.\n" in text


def test_finished_runs_become_half_precision_files_a_card_and_a_picture(tmp_path, photographs, monkeypatch):
    run = finished_run(tmp_path / "run")
    card = export_weights([run], None, tmp_path / "shipped", data="four pieces of a photograph", val=photographs)
    assert sorted(path.name for path in card.parent.iterdir()) == ["card.md", "none.safetensors", "samples.png"]
    assert "**Licence**: not chosen here" in card.read_text(encoding="utf-8")
    monkeypatch.setattr("medfe.export.WEIGHTS", tmp_path)
    again = export_weights([run], None, tmp_path / "shipped", data="four pieces of a photograph", val=photographs)
    assert "**Licence**: see LICENSE in the folder above" in again.read_text(encoding="utf-8")
    file = card.parent / "none.safetensors"
    with safe_open(file, framework="pt") as stored:
        assert {stored.get_tensor(name).dtype for name in stored.keys()} == {torch.float16}  # noqa: SIM118
    assert Inpainter.from_pretrained(file).arm == "none"
    text = card.read_text(encoding="utf-8")
    for words in (
        "four pieces of a photograph", "arms none.\n", "8 images each", "2 steps of 4, 8 images, seed 0",
        "commit 0123456789ab, precision 32-true. Moving average",
        "l1_image 0.25, total 1.5.", "centre hole, means, images in [0, 1], PSNR in dB: l1 0.",
    ):  # fmt: skip
        assert words in text
    with Image.open(card.parent / "samples.png") as picture:
        assert picture.size == (3 * 64, 4 * 64)  # truth, hole and one model; two portraits, two holes each


def test_the_card_names_settings_that_are_not_the_presets(tmp_path, photographs):
    run = finished_run(tmp_path / "run")
    config = RunConfig.create(
        "tiny", "none", max_steps=2, seed=3, target={"seed": 7}, losses={"composite": True, "l1_hole": 3.0},
        data={"root": tmp_path, "color_jitter": 0.4, "mask_dir": tmp_path / "scribbles"},
    )  # fmt: skip
    save_config(run, config)
    text = export_weights([run], None, tmp_path / "out", data="pieces", val=photographs).read_text(encoding="utf-8")
    assert (
        "- Settings that differ from those of the preset: target.seed 7, losses.composite true, data.color_jitter 0.4, "
        'data.mask_dir "scribbles".\n'
    ) in text
    assert "l1_hole 3, adversarial" in text
    assert str(tmp_path) not in text
    save_config(
        run, RunConfig.create("tiny", "none", max_steps=2, seed=3)
    )  # a target's seed is then 0, as the preset's
    assert "differ" not in settings_line(load_config(run, RunConfig))


def test_where_there_is_a_card_there_is_all_that_it_names(tmp_path, photographs, monkeypatch):
    out, run, replaced = tmp_path / "out", finished_run(tmp_path / "run"), []
    export_weights([run], None, out, data="first", val=photographs)

    def killed(path, target):
        if target.parent == out:
            if replaced:
                raise KeyboardInterrupt
            replaced.append(path.name)
        return path.rename(target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", killed)
        with pytest.raises(KeyboardInterrupt):
            export_weights([run], None, out, data="second", val=photographs)
    assert replaced == ["none.safetensors"]
    assert not (out / "card.md").exists()
    export_weights([run], None, out, data="second", val=photographs)
    assert "second" in (out / "card.md").read_text(encoding="utf-8")


def test_what_cannot_be_shipped_together_is_refused_before_anything_is_written(tmp_path, photographs):
    good = finished_run(tmp_path / "good")
    other = finished_run(tmp_path / "other", arm="low_resolution")
    larger = RunConfig.create("tiny", "low_resolution", max_steps=2, generator={"image_size": 128})
    for runs, words in (
        ([], "found no run, expected one run folder for each arm"),
        ([good, finished_run(tmp_path / "twin")], "found runs of the arms none, none"),
        ([finished_run(tmp_path / "half", step=1)], "found 1 of 2 steps, expected a finished run"),
    ):
        with pytest.raises(MedfeError, match=words):
            export_weights(runs, None, tmp_path / "shipped", data="", val=photographs)
    save_config(other, larger)
    with pytest.raises(MedfeError, match="found runs of 64 and 128 pixels, expected one size"):
        export_weights([good, other], None, tmp_path / "shipped", data="", val=photographs)
    assert not (tmp_path / "shipped").exists()


def test_a_refused_export_changes_no_shipped_file(tmp_path, photographs):
    out, run = tmp_path / "shipped", finished_run(tmp_path / "run")
    export_weights([run], None, out, data="first", val=photographs)
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    for runs, autoencoders, val, words in (
        ([finished_run(tmp_path / "again")], None, tmp_path / "nowhere", "nowhere"),
        ([finished_run(tmp_path / "more")], tmp_path / "nopair", photographs, "nopair"),
        ([finished_run(tmp_path / "other", arm="low_resolution")], None, photographs, "none.safetensors: weights that"),
    ):
        with pytest.raises(MedfeError, match=words):
            export_weights(runs, autoencoders, out, data="second", val=val)
        assert {path.name: path.read_bytes() for path in out.iterdir()} == before


def test_weights_trained_against_auto_encoders_are_shipped_with_them(tmp_path, photographs):
    run = finished_run(tmp_path / "run", arm="autoencoder", autoencoders=tmp_path / "pair")
    with pytest.raises(MedfeError, match="arm autoencoder was trained against auto-encoders"):
        export_weights([run], None, tmp_path / "shipped", data="", val=photographs)
    for kind in AUTOENCODER_KINDS:
        config = AutoencoderRunConfig.create("tiny", kind, max_steps=2)
        save_config(tmp_path / "pair" / kind, config)
        network = build_autoencoder(config.autoencoder)
        metadata = autoencoder_metadata(config, 1, "c", "32-true")
        save_weights(tmp_path / "pair" / f"{kind}.safetensors", network.state_dict(), metadata)
    with pytest.raises(MedfeError, match=r"texture\.safetensors: found 1 of 2 steps"):
        export_weights([run], tmp_path / "pair", tmp_path / "shipped", data="", val=photographs)
    for kind in AUTOENCODER_KINDS:
        path = tmp_path / "pair" / f"{kind}.safetensors"
        file = load_weights(path)
        save_weights(path, file.tensors, file.metadata | {"step": 2})
    shutil.copytree(tmp_path / "pair", tmp_path / "swapped")
    shutil.copy(tmp_path / "pair" / "structure.safetensors", tmp_path / "swapped" / "texture.safetensors")
    for folder, words in (("swapped", "texture.safetensors: holds a 'structure'"), ("nowhere", "no such weight file")):
        with pytest.raises(MedfeError, match=words):  # before anything is measured
            export_weights([finished_run(tmp_path / f"run {folder}")], tmp_path / folder, tmp_path / "shipped", data="",
                           val=tmp_path / "no photographs")  # fmt: skip
    shutil.copytree(tmp_path / "pair", tmp_path / "other")
    other = tmp_path / "other" / "structure.safetensors"
    file = load_weights(other)
    save_weights(other, {name: 2 * tensor for name, tensor in file.tensors.items()}, file.metadata)
    used = {kind: weights_digest(tmp_path / "pair" / f"{kind}.safetensors") for kind in AUTOENCODER_KINDS}
    saying = finished_run(tmp_path / "saying", arm="autoencoder", autoencoders=tmp_path / "moved", digests=used)
    for one in (run, saying):  # by the folder it was trained with, or by what its weights say where that has moved
        with pytest.raises(MedfeError, match=r"structure\.safetensors: found other weights than .*arm autoencoder"):
            export_weights([one], tmp_path / "other", tmp_path / "shipped", data="", val=photographs)
    assert not (tmp_path / "shipped").exists()
    export_weights([saying], tmp_path / "pair", tmp_path / "shipped", data="", val=photographs)
    shipped = {path.stem for path in (tmp_path / "shipped").glob("*.safetensors")}
    assert shipped == {"autoencoder", *AUTOENCODER_KINDS}


def test_the_card_tells_errors_of_every_group_and_run(table):
    lines = error_section(table, RUNS).splitlines()
    assert lines[0] == "## Error by age and sex"
    assert lines[2].startswith(
        "Mean L1 in the centre hole, images in [0, 1], with 95 % intervals over 50 test photographs"
    )
    assert lines[4:] == [
        "| group | photographs | `one` | `two` |",
        "|---|---:|---:|---:|",
        "| age 0-12 | 30 | 0.1000 (0.0990 to 0.1020) | 0.2000 (0.1990 to 0.2020) |",
        "| age 60+ | 20 | 0.1100 (0.1090 to 0.1120) | 0.2100 (0.2090 to 0.2120) |",
        "| sex male | 30 | 0.1200 (0.1190 to 0.1220) | 0.2200 (0.2190 to 0.2220) |",
        "| sex female | 20 | 0.1300 (0.1290 to 0.1320) | 0.2300 (0.2290 to 0.2320) |",
        "",
    ]


def test_masks_and_level_are_those_of_the_table(table):
    rows = pd.read_csv(table)
    rows[rows["masks"] == "center"].drop(columns="masks").assign(level=0.9).to_csv(table, index=False)
    assert "Mean L1 in the hole, images in [0, 1], with 90 % intervals" in error_section(table, RUNS)


def test_a_table_without_them_is_refused_in_one_line(table, tmp_path):
    other = tmp_path / "other.csv"
    other.write_text("a,b\n1,2\n")
    for path, runs in ((other, RUNS), (table, [Path("three")]), (tmp_path / "missing.csv", RUNS)):
        with pytest.raises(MedfeError, match="found no errors by age and sex of") as error:
            error_section(path, runs)
        assert "\n" not in str(error.value)


def test_run_folders_of_one_name_are_refused_for_they_would_share_a_column(table):
    with pytest.raises(MedfeError, match="names that tell them apart"):
        error_section(table, [RUNS[0], Path("elsewhere") / RUNS[0].name])


def test_the_card_tells_weights_of_losses_and_where_the_released_codes_are_others():
    papers = "l1_image 1, l1_hole 0, adversarial 0.2, perceptual 0.2, style 250, on vgg16"
    assert weights_line(RunConfig.create("paper", "none").losses) == f"- Weights of the losses: {papers}.\n"
    told = weights_line(RunConfig.create("faces128", "none").losses)
    assert "l1_hole 2, adversarial 0.05" in told
    assert told.endswith(f"on efficientnet_lite0; the released code's: {papers}.\n")


def test_a_log_without_a_line_gives_no_losses_and_no_error(tmp_path):
    log = tmp_path / "metrics.jsonl"
    log.touch()
    assert losses_line(log) == ""
    log.write_text(
        "".join(f'{{"step": {step}, "images": 8, "l1_hole": {value}}}\n' for step, value in ((1, 0.5), (2, 0.25)))
    )
    assert losses_line(log) == (
        "- Loss terms, unweighted, images in [-1, 1], mean of the last 2 logged steps: l1_hole 0.375.\n"
    )
