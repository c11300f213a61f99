"""The norm of the intermediate term's gradient, and weights that match it."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from medfe.experiments.building import training
from medfe.experiments.entry import Workplace
from medfe.experiments.gradients import gradient_norm
from medfe.experiments.records import read_record
from medfe.experiments.runner import run_experiment
from medfe.inference import Inpainter

from .conftest import RUN, small_experiment


@pytest.fixture(scope="module")
def place(data, tmp_path_factory):
    """A finished experiment with a matched run."""
    folder = tmp_path_factory.mktemp("matched")
    small = small_experiment()
    matched = training(
        "tiny", "low_resolution", 0, arm="matched", evaluation=small.entries[1].evaluation, changes=RUN,
        matches=("autoencoder_seed0", "low_resolution_seed0"),
    )  # fmt: skip
    experiment = replace(small, entries=(*small.entries, matched))
    place = Workplace(experiment=experiment, data=data, out=folder / "out", results=folder / "results")
    run_experiment(place)
    return place


def norm(place, name):
    return gradient_norm(place.folder(place.experiment[name]), place.photographs("utkface/val"))


def test_of_an_l1_distance_of_all_channels_it_is_known_in_closed_form(place):
    """Each of the F·G² entries of a feature has gradient ± weight / (F·G²), in both features."""
    entries = 8 * 8 * 8
    assert norm(place, "autoencoder_seed0") == pytest.approx(32 * np.sqrt(2 / entries), rel=1e-5)


def test_of_a_read_out_it_is_that_of_the_chain_rule(place):
    folder = place.folder(place.experiment["low_resolution_seed0"])
    inpainter = Inpainter.from_pretrained(folder, "cpu")
    assert inpainter.target_config.weight == 4
    largest = 4 * np.sqrt(2 * 3 * 64) / (3 * 64)  # of the read colours, were tanh and W the identity
    with torch.no_grad():
        from medfe.analysis.trained import load_target

        gain = float(torch.linalg.matrix_norm(load_target(inpainter).readout.weight[:, :, 0, 0], 2))
    assert 0 < norm(place, "low_resolution_seed0") <= largest * gain * 1.0001


def test_a_matched_weight_is_the_ratio_of_both_norms_and_is_reported_with_what_it_reached(place):
    record = read_record(place.results, place.experiment, place.experiment["matched_seed0"])
    found = record["matching"]
    assert found["weight"] == pytest.approx(4 * found["reference_norm"] / found["own_norm"])
    assert record["weight"] == found["weight"]
    assert found["reference_norm"] == pytest.approx(norm(place, "autoencoder_seed0"))
    assert found["own_norm"] == pytest.approx(norm(place, "low_resolution_seed0"))
    assert found["achieved"] == pytest.approx(norm(place, "matched_seed0"))
    assert found["ratio"] == pytest.approx(found["achieved"] / found["reference_norm"])
