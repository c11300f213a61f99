"""Contrasts, verdicts and tables from fabricated records, against numbers computed by hand."""

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medfe.evaluation.statistics import TrainingsInterval
from medfe.experiments.building import KID
from medfe.experiments.contrasts import contrasts, registered_verdict
from medfe.experiments.entry import Contrast
from medfe.experiments.records import write_record
from medfe.experiments.registry import EXPERIMENTS
from medfe.experiments.summary import summarize

MAIN = EXPERIMENTS["main"]
DIFFERENCES = (1.0, 2.0, 3.0, 4.0, 5.0, 6.0)
HALF_WIDTH = 2.570582 * np.sqrt(3.5 / 6)  # t of 5 degrees of freedom; the variance of 1 … 6 is 3.5


def write(results, arm, seed, masks="center", experiment=MAIN, **metrics):
    """Write a fabricated record."""
    entry = experiment[f"{arm}_seed{seed}"]
    training = {"images": 20000, "steps": 1250, "seconds": 60.0, "terms": {"l1_image": 0.1}}
    rows = [{"masks": masks, "images": 2551, "photographs": 2551, "small": False, **metrics}]
    content = {"commit": "abc", "precision": "32-true", "training": training, "metrics": rows}
    write_record(results, experiment, entry, content)


def table(results, name):
    return pd.read_csv(results / f"main_{name}.csv")


def primary(results):
    return table(results, "contrasts").iloc[0]


def test_the_primary_contrast_is_the_paired_t_interval_over_seeds(tmp_path):
    for seed, difference in enumerate(DIFFERENCES):
        write(tmp_path, "low_resolution", seed, **{KID: 10.0 * seed})
        write(tmp_path, "autoencoder", seed, **{KID: 10.0 * seed + difference})
    summarize(MAIN, tmp_path)
    row = primary(tmp_path)
    assert (row["first"], row["second"], row["role"], row["n"]) == ("autoencoder", "low_resolution", "primary", 6)
    assert row["difference"] == 3.5
    assert [row["low"], row["high"]] == pytest.approx([3.5 - HALF_WIDTH, 3.5 + HALF_WIDTH], rel=1e-6)
    assert row["margin"] == pytest.approx(0.045 * 25)
    assert row["claim"] == "contradicted"
    assert row["verdict"].startswith("low_resolution is better than autoencoder")
    assert row["commits"] == "abc"
    assert len(row["digests"].split()) == 12
    report = (tmp_path / "main.md").read_text()
    assert "The claim is **contradicted** at this scale." in report
    assert "12 of 35 runs are done." in report
    assert "`none_seed0`" in report


def test_a_tested_contrast_waits_for_its_family(tmp_path):
    for seed in range(3):
        for arm in ("low_resolution", "none"):
            write(tmp_path, arm, seed, **{KID: float(seed)})
    summarize(MAIN, tmp_path)
    rows = table(tmp_path, "contrasts")
    verdicts = dict(
        zip(
            zip(rows["first"], rows["second"], rows["metric"], rows["masks"], strict=True), rows["verdict"], strict=True
        )
    )
    assert (
        verdicts["none", "low_resolution", KID, "center"]
        == "not yet: 3 of 3 seeds are done, others of the family are not"
    )
    assert verdicts["random_encoder", "low_resolution", KID, "center"] == "not yet: 0 of 3 seeds are done"


def test_no_verdict_before_all_registered_seeds_are_there(tmp_path):
    for seed, difference in enumerate(DIFFERENCES[:5]):
        write(tmp_path, "low_resolution", seed, **{KID: 10.0 * seed})
        write(tmp_path, "autoencoder", seed, **{KID: 10.0 * seed + difference})
    write(tmp_path, "autoencoder", 5, **{KID: 1.0})
    summarize(MAIN, tmp_path)
    row = primary(tmp_path)
    assert row["n"] == 5
    assert pd.isna(row["claim"])
    assert row["verdict"] == "not yet: 5 of 6 seeds are done"
    assert row[["difference", "low", "high", "p_value", "sd", "detectable"]].isna().all()


def test_the_verdict_goes_without_an_excluded_seed(tmp_path):
    for seed, difference in enumerate(DIFFERENCES):
        write(tmp_path, "low_resolution", seed, **{KID: 10.0 * seed})
        if seed < 5:
            write(tmp_path, "autoencoder", seed, **{KID: 10.0 * seed + difference})
    write_record(tmp_path, MAIN, MAIN["autoencoder_seed5"], {"reason": "step 2: l1 = inf"}, "excluded")
    summarize(MAIN, tmp_path)
    row = primary(tmp_path)
    assert (row["n"], row["seeds"], row["difference"]) == (5, "0 1 2 3 4", 3.0)
    assert row["claim"] == "contradicted"
    report = (tmp_path / "main.md").read_text()
    assert "11 of 35 runs are done, 1 excluded." in report
    assert "**Excluded:** `autoencoder_seed5` (step 2: l1 = inf)." in report


@pytest.mark.parametrize("seeds", [1, 2])
def test_nothing_of_an_unfinished_contrast_is_told_tested_or_not(tmp_path, seeds):
    for seed in range(seeds):
        for arm, value in (("low_resolution", 1.0), ("autoencoder", 2.0 + seed)):
            write(tmp_path, arm, seed, **{KID: value, "l1": value})
    summarize(MAIN, tmp_path)
    rows = table(tmp_path, "contrasts")
    assert set(rows["role"]) == {"primary", "secondary"}
    assert rows[["difference", "low", "high", "p_value", "sd", "detectable"]].isna().all(axis=None)
    assert rows["verdict"].str.startswith("not yet: ").all()


def test_what_is_not_tested_is_told_when_all_its_seeds_are_there(tmp_path):
    for seed in range(6):
        for arm, value in (("low_resolution", 1.0), ("autoencoder", 2.0 + seed)):
            write(tmp_path, arm, seed, l1=value)
    summarize(MAIN, tmp_path)
    rows = table(tmp_path, "contrasts")
    (row,) = (row for _, row in rows[rows["role"] == "not tested"].iterrows())
    assert (row["metric"], row["n"], row["difference"]) == ("l1", 6, 3.5)


def test_seeds_that_are_excluded_do_not_hold_back_the_family():
    contrast = Contrast("autoencoder", "low_resolution", "l1_hole", "center")
    row = {"run": "", "seed": 0, "masks": "center", "digest": "d", "commit": "c"}
    metrics = pd.DataFrame(
        [{**row, "arm": "low_resolution", "l1_hole": 1}, {**row, "arm": "autoencoder", "l1_hole": 3}]
    )
    (found,) = contrasts(small((contrast,)), metrics, {("autoencoder", 1)}).to_dict("records")
    assert (found["difference"], found["verdict"]) == (2, "paired seeds: 1, no interval")


def small(secondary=()):
    return EXPERIMENTS["smoke"].__class__(
        name="smoke", question="?", entries=EXPERIMENTS["smoke"].entries, secondary=secondary
    )  # fmt: skip


def test_holm_covers_the_secondary_contrasts_together():
    """With two pairs the t distribution is Cauchy's: p = 1 − 2/π·atan(t), t = mean / half the range."""
    one, two = (Contrast("autoencoder", "low_resolution", name, "center") for name in ("l1_hole", "ssim_hole"))
    rows = [
        {"run": "", "arm": arm, "seed": seed, "masks": "center", "digest": "d", "commit": "c", "l1_hole": l1,
         "ssim_hole": ssim}
        for arm, seed, l1, ssim in (
            ("low_resolution", 0, 0, 0), ("low_resolution", 1, 0, 0),
            ("autoencoder", 0, 1.01, 2), ("autoencoder", 1, 0.99, 4),
        )
    ]  # fmt: skip
    found = contrasts(small((one, two)), pd.DataFrame(rows)).set_index("metric")
    expected = {name: 1 - 2 / np.pi * np.arctan(t) for name, t in (("l1_hole", 100), ("ssim_hole", 3))}
    assert found["p_value"].to_dict() == pytest.approx(expected)
    assert found["p_holm"].to_dict() == pytest.approx(
        {"l1_hole": 2 * expected["l1_hole"], "ssim_hole": expected["ssim_hole"]}
    )
    assert found.loc["l1_hole", "verdict"].startswith("low_resolution is better than autoencoder in L1, hole")
    assert found.loc["ssim_hole", "verdict"].startswith("no difference in SSIM, hole, center masks shown")


def interval(low, high):
    return TrainingsInterval(
        estimate=(low + high) / 2, low=low, high=high, level=0.95, n=6, method="", p_value=0.5, detectable=1, power=0.8
    )


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [
        (-3, -0.1, "supported"), (0.1, 3, "contradicted"), (-0.9, 3, "contradicted in size"), (-1, 3, "not shown"),
        (-3, 0, "not shown"),
    ],
)  # fmt: skip
def test_the_verdict_is_the_registered_one(low, high, words):
    assert registered_verdict(interval(low, high), 1.0, smaller_is_better=True) == words
    assert registered_verdict(interval(-high, -low), 1.0, smaller_is_better=False) == words


@given(st.floats(-5, 5), st.floats(0, 5), st.floats(0.01, 3))
def test_nothing_is_called_supported_or_contradicted_while_the_interval_holds_zero(low, width, margin):
    found = registered_verdict(interval(low, low + width), margin, smaller_is_better=True)
    assert (found in ("supported", "contradicted")) == (not low <= 0 <= low + width)


def test_metrics_of_all_runs_and_long_tables_are_joined_with_their_origin(tmp_path):
    for seed in (0, 1):
        entry = MAIN[f"none_seed{seed}"]
        channels = pd.DataFrame({"channel": [0, 1], "variance": [0.5, seed]})
        content = {
            "commit": "abc",
            "metrics": [{"masks": "center", "photographs": 2551, "small": False, "l1": 0.1}],
            "tables": {"channels": channels},
        }
        write_record(tmp_path, MAIN, entry, content)
    paths = {path.name for path in summarize(MAIN, tmp_path)}
    assert {"main_runs.csv", "main_metrics.csv", "main_channels.csv", "main_arms.csv", "main.md"} <= paths
    joined = table(tmp_path, "channels")
    assert joined["seed"].tolist() == [0, 0, 1, 1]
    assert joined["variance"].tolist() == [0.5, 0, 0.5, 1]
    assert joined["digest"].tolist()[::2] == [MAIN[f"none_seed{seed}"].digest(MAIN) for seed in (0, 1)]
    for name in ("runs", "metrics", "channels", "arms"):
        assert {"commit", "digest"} <= set(table(tmp_path, name).columns)


def test_means_and_deviations_are_those_over_seeds(tmp_path):
    for seed, value in enumerate((1.0, 2.0, 6.0)):
        write(tmp_path, "none", seed, l1_hole=value)
    summarize(MAIN, tmp_path)
    row = table(tmp_path, "arms").set_index("metric").loc["l1_hole"]
    assert (row["n"], row["mean"], row["seeds"]) == (3, 3.0, "0 1 2")
    assert row["sd"] == pytest.approx(np.sqrt(7))


def test_a_table_of_runs_whose_records_are_gone_goes_too(tmp_path):
    for arm in ("low_resolution", "autoencoder"):
        write(tmp_path, arm, 0, **{KID: 1.0})
    for name in ("main_matching", "main_channels", "ship_comparison_means"):
        (tmp_path / f"{name}.csv").write_text("run\nlow_resolution_matched_seed0\n")
    summarize(MAIN, tmp_path)
    assert not (tmp_path / "main_matching.csv").exists()
    assert not (tmp_path / "main_channels.csv").exists()
    assert (tmp_path / "ship_comparison_means.csv").exists()  # of another experiment
    assert len(table(tmp_path, "metrics")) == 2


def test_a_damaged_record_is_named(tmp_path):
    write(tmp_path, "none", 0, l1=0.1)
    path = tmp_path / "runs" / "main" / "none_seed0.json"
    path.write_text(path.read_text()[:100])
    with pytest.raises(Exception, match=r"none_seed0\.json: damaged"):
        summarize(MAIN, tmp_path)


def test_a_record_is_json_without_nan_of_numpy(tmp_path):
    write(tmp_path, "none", 0, l1=np.float32(0.5))
    assert json.loads((tmp_path / "runs/main/none_seed0.json").read_text())["metrics"][0]["l1"] == 0.5
