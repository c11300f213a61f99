"""The curve of code sizes at toy scale: trained, judged, recorded, resumed and reported."""

import math
from dataclasses import replace

import pandas as pd
import pytest
import torch
from PIL import Image, ImageOps

from medfe.analysis.reconstruction import bilinear_round_trip
from medfe.data.folder import EvaluationPhotographs
from medfe.data.images import resize
from medfe.data.samples import scenes
from medfe.evaluation.embeddings import Embedder
from medfe.experiments.autoencoders import (
    CHANNELS,
    Judgement,
    TextureCode,
    UntrainedCodes,
    autoencoders_experiment,
    judge,
)
from medfe.experiments.entry import Experiment, Workplace
from medfe.experiments.runner import pending_entries, run_experiment
from medfe.experiments.summary import summarize


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Two folders of photographs as the experiment expects them, small."""
    folder = tmp_path_factory.mktemp("data")
    for part, names in (("train", ("astronaut", "chelsea")), ("test", ("coffee", "rocket", "camera"))):
        (folder / "scenes" / part).mkdir(parents=True)
        for name in names:
            resize(scenes()[name], (96, 80)).save(folder / "scenes" / part / f"{name}.png")
    return folder


@pytest.fixture
def place(data, tmp_path):
    judgement = Judgement(photographs="scenes/test", image_size=64, crops=6)
    code = TextureCode(
        name="texture_4", folder="codes/texture_4", arm="texture_4", channels=4, photographs="scenes/train",
        judgement=judgement, images=8, batch_size=2, preset="tiny",
    )  # fmt: skip
    untrained = UntrainedCodes(name="untrained", folder="codes/untrained", arm="untrained", judgement=judgement)
    experiment = Experiment(name="toy", question="How near?", entries=(untrained, code))
    return Workplace(experiment=experiment, data=data, out=tmp_path / "out", results=tmp_path / "results")


def test_codes_are_trained_judged_recorded_and_reported(place):
    run_experiment(place)
    assert not pending_entries(place)
    paths = {path.name: path for path in summarize(place.experiment, place.results)}
    table = pd.read_csv(paths["toy_reconstruction.csv"]).set_index("code")
    assert table.loc["auto-encoder", ["channels", "images", "crops", "photographs"]].tolist() == [4, 8, 6, 3]
    assert table.loc["block DCT 192", "l1"] < 1e-5 < table.loc["block DCT 16", "l1"] < table.loc["bilinear", "l1"]
    assert (table["l1_low"] <= table["l1"]).all()
    assert (table["l1"] <= table["l1_high"]).all()
    assert table.loc["block DCT 192", "fd_efficientnet_lite2"] == pytest.approx(0, abs=1e-3)
    spectrum = pd.read_csv(paths["toy_spectrum.csv"])
    lost = spectrum[spectrum["code"] == "bilinear"].set_index("frequency")["lost"]
    assert lost[lost.index > 0.25].mean() > 0.5 > lost[lost.index < 0.03].mean()
    report = paths["toy.md"].read_text(encoding="utf-8")
    assert "| auto-encoder | 4 |" in report
    assert "6 crops of 3 photographs" in report


def test_other_photographs_under_the_same_name_are_judged_anew(place, tmp_path):
    def distance(photographs, out):
        way = {"bilinear": (3, bilinear_round_trip)}
        judgement = Judgement(photographs="scenes/test", image_size=64, crops=6)
        table = judgement.tables(way, replace(place, data=photographs, out=out))["reconstruction"]
        return table["fd_efficientnet_lite2"].item()

    other = tmp_path / "other"
    for path in (place.data / "scenes/test").iterdir():
        (other / "scenes/test").mkdir(parents=True, exist_ok=True)
        ImageOps.posterize(Image.open(path).convert("RGB"), 2).save(other / "scenes/test" / path.name)
    own = distance(place.data, tmp_path / "shared")
    assert distance(other, tmp_path / "shared") == distance(other, tmp_path / "fresh") != own


def test_figures_are_those_of_the_crops(data, place):
    crops = EvaluationPhotographs(data / "scenes/test", 64).random_crops(6)
    mean = Embedder("mean", lambda images: images.float().mean(dim=(2, 3)))
    images = torch.stack([crops[index]["image"] for index in range(6)])
    again = bilinear_round_trip(images)
    real = ((images + 1) * 127.5).round().mean(dim=(2, 3)).numpy()
    row, spectrum = judge(crops, bilinear_round_trip, mean, real, place)
    assert row["l1"] == pytest.approx(float((again - images).abs().mean()), rel=1e-6)
    grey = ((images + 1) * 127.5).round() - ((again + 1) * 127.5).round()
    decibel = 20 * math.log10(255) - 10 * grey.double().square().flatten(1).mean(dim=1).log10()
    assert row["psnr"] == pytest.approx(float(decibel.mean()), rel=1e-6)
    assert row["fd_mean"] > 0
    assert spectrum["lost"].to_numpy() == pytest.approx((spectrum["error"] / spectrum["image"]).to_numpy())


def test_the_registered_curve_is_at_the_papers_scale():
    experiment = autoencoders_experiment()
    codes = [entry for entry in experiment.entries if isinstance(entry, TextureCode)]
    assert [entry.channels for entry in codes] == list(CHANNELS)
    for entry in codes:
        network = entry.config().autoencoder
        assert (network.image_size, network.base_channels, network.code_channels) == (256, 32, entry.channels)
        assert network.kind == "texture"
        assert entry.judgement.crops >= 2048
    assert len({entry.digest(experiment) for entry in experiment.entries}) == len(experiment.entries)
