"""Finished runs and baselines on the same images."""

from dataclasses import replace

import pandas as pd
import pytest

from medfe.experiments.comparison import Comparison
from medfe.experiments.entry import Workplace
from medfe.experiments.measurement import Evaluation
from medfe.experiments.runner import run_experiment
from medfe.experiments.summary import summarize

from .conftest import small_experiment

RUNS = ("low_resolution_seed0", "autoencoder_seed0")


@pytest.fixture(scope="module")
def results(data, tmp_path_factory):
    """Results of both arms and their comparison with a baseline."""
    folder = tmp_path_factory.mktemp("comparison")
    small = small_experiment()
    comparison = Comparison(
        name="comparison", folder="comparison", arm="comparison", needs=RUNS, preset_size=64,
        evaluation=Evaluation("utkface/val", masks=("center",)), baselines=("mean_fill",),
        contrasts=((RUNS[1], RUNS[0]), (RUNS[0], "mean_fill")),
    )  # fmt: skip
    experiment = replace(small, entries=(*small.entries, comparison))
    place = Workplace(experiment=experiment, data=data, out=folder / "out", results=folder / "results")
    run_experiment(place)
    summarize(experiment, place.results)
    return place.results


def table(results, name):
    return pd.read_csv(results / f"small_{name}.csv")


def test_every_method_is_measured_on_the_images_of_the_runs_own_evaluation(results):
    means = table(results, "comparison_means")
    means = means[(means["by"] == "all") & (means["metric"] == "l1_hole")].set_index("method")["value"]
    own = table(results, "metrics").set_index("run")["l1_hole"]
    assert set(means.index) == {*RUNS, "mean_fill"}
    assert means[list(RUNS)].to_dict() == pytest.approx(own.to_dict())


def test_contrasts_are_the_pairs_that_were_asked_for_the_first_one_primary(results):
    contrasts = table(results, "comparison_contrasts")
    pairs = contrasts[["first", "second"]].drop_duplicates().to_numpy().tolist()
    assert sorted(pairs) == sorted([[RUNS[1], RUNS[0]], [RUNS[0], "mean_fill"]])
    assert contrasts.iloc[0][["first", "second", "metric"]].tolist() == [RUNS[1], RUNS[0], "kid_efficientnet_lite2"]
    assert not {"role", "p", "p_holm", "verdict", "margin", "equivalent"} & set(
        contrasts.columns
    )  # one training each gives none
    assert {"masks", "commit", "digest", "seed"} <= set(contrasts.columns)


def test_the_report_shows_them(results):
    text = (results / "small.md").read_text()
    assert "## Against each other and baselines" in text
    for metric in ("L1, hole ↓", "PSNR (dB) ↑", "SSIM ↑", "KID (efficientnet_lite2) ×10³ ↓"):
        assert f"| `low_resolution_seed0` − `mean_fill` | {metric} | center |" in text
    assert "4 of 4 runs are done." in text
