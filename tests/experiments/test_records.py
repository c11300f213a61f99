"""Records hold what tables need, count for every experiment with the same run, and are refused for another."""

import shutil
from dataclasses import replace

import pandas as pd
import pytest
import torch

from medfe.config import RunConfig
from medfe.errors import MedfeError
from medfe.experiments.records import read_record, write_table
from medfe.experiments.runfolder import trained_in
from medfe.experiments.runner import pending_entries, run_experiment
from medfe.experiments.summary import summarize
from medfe.weightfiles import save_weights, weights_digest

from .conftest import names, small_experiment


def test_a_record_holds_what_tables_need(finished):
    record = read_record(finished.results, finished.experiment, finished.experiment["autoencoder_seed0"])
    (metrics,) = record["metrics"]
    assert metrics["masks"] == "center"
    assert metrics["images"] == metrics["photographs"] == 6
    assert metrics["mask_area"] == 0.25
    assert metrics["small"]
    assert 0 < metrics["l1"] < metrics["l1_hole"] < 1
    assert {"kid_efficientnet_lite2", "fd_efficientnet_lite2", "psnr", "ssim_hole"} <= metrics.keys()
    assert record["training"]["images"] == 6
    assert record["training"]["terms"]["intermediate"] > 0
    assert 0 < record["autoencoders"]["texture_l1"] < 2
    weights = finished.folder(finished.experiment["autoencoders_seed0"]) / "structure.safetensors"
    assert record["autoencoders_weights"]["structure"] == {"digest": weights_digest(weights), "rounded": None}
    assert record["versions"]["torch"]
    assert record["status"] == "done"
    pair = read_record(finished.results, finished.experiment, finished.experiment["autoencoders_seed0"])
    assert pair["precision"] == record["precision"] == "32-true"
    assert pair["weights"]["structure"] == weights_digest(weights) != pair["weights"]["texture"]


def test_no_result_names_a_place_of_this_machine(finished):
    summarize(finished.experiment, finished.results)
    for path in finished.results.rglob("*"):
        if path.is_file():
            assert str(finished.data) not in path.read_text()
            assert str(finished.out) not in path.read_text()


def test_a_run_that_another_experiment_has_told_is_done(finished, tmp_path):
    results = tmp_path / "results"
    shutil.copytree(finished.results, results)
    told = results / "runs/small/autoencoder_seed0.channels.csv"
    write_table(told, pd.DataFrame({"channel": [0, 1], "effect": [0.5, 0.25]}))
    beside = replace(finished.experiment, name="beside")
    place = replace(finished, experiment=beside, out=tmp_path / "out", results=results)
    assert pending_entries(place) == []
    run_experiment(place)
    assert not (results / "runs/beside").exists()
    record = read_record(results, beside, beside["autoencoder_seed0"])
    assert record == read_record(results, finished.experiment, finished.experiment["autoencoder_seed0"])
    summarize(beside, results)
    assert len(pd.read_csv(results / "beside_metrics.csv")) == 2
    assert (results / "beside_channels.csv").read_text() == told.read_text()


def test_a_damaged_record_of_another_experiment_is_none(finished, tmp_path):
    results = tmp_path / "results"
    shutil.copytree(finished.results, results)
    (results / "runs/small/autoencoder_seed0.json").write_text("{}")
    beside = replace(finished.experiment, name="beside")
    assert names(pending_entries(replace(finished, experiment=beside, results=results))) == ["autoencoder_seed0"]
    with pytest.raises(MedfeError, match=r"small/autoencoder_seed0\.json: damaged"):
        pending_entries(replace(finished, results=results))


def test_a_run_of_the_same_name_but_other_settings_is_another(finished, tmp_path):
    beside = replace(small_experiment(losses={"perceptual": 0, "l1_hole": 5}), name="beside")
    place = replace(finished, experiment=beside, out=tmp_path / "out")
    assert names(pending_entries(place)) == ["autoencoders_seed0", "low_resolution_seed0", "autoencoder_seed0"]
    pair = read_record(finished.results, beside, beside["autoencoders_seed0"])
    assert pair["status"] == "done"  # which has the same settings; its weights alone are made again


def test_a_record_of_other_settings_is_refused_naming_them(finished):
    place = replace(finished, experiment=small_experiment(losses={"perceptual": 0, "l1_hole": 3.0}))
    with pytest.raises(MedfeError, match=r"training\.losses\.l1_hole 2\.0 there, 3\.0 asked for") as error:
        run_experiment(place)
    assert "\n" not in str(error.value)


def test_a_training_in_float64_leaves_the_default_type_to_those_who_judge_it(workplace):
    place = workplace(small_experiment(precision="64-true"))
    run_experiment(place, only=("low_resolution",))
    record = read_record(place.results, place.experiment, place.experiment["low_resolution_seed0"])
    assert record["precision"] == "64-true"
    assert torch.get_default_dtype() == torch.float32


def test_of_weights_that_do_not_say_it_the_precision_is_unknown(tmp_path):
    path = tmp_path / "generator.safetensors"
    save_weights(path, {}, {"kind": "generator"})
    assert trained_in(path, RunConfig.create("tiny", "none")) == "unknown"
    assert trained_in(path, RunConfig.create("tiny", "none", precision="32-true")) == "32-true"
    save_weights(path, {}, {"kind": "generator", "precision": "bf16-mixed"})
    assert trained_in(path, RunConfig.create("tiny", "none")) == "bf16-mixed"
