"""The channel report: closed forms of what a loss sees, and whole reports of small runs."""

import shutil

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.linalg import subspace_angles

from medfe.analysis.channels import (
    PARTS,
    channel_report,
    component_bases,
    intermediate_gradient,
    measure_channels,
)
from medfe.analysis.spectra import numerical_rank, rows_by_channel
from medfe.analysis.trained import load_target, structure_images
from medfe.config import GeneratorConfig, TargetConfig
from medfe.data.files import find_images
from medfe.data.images import load_image, to_tensor
from medfe.errors import MedfeError
from medfe.inference import Inpainter
from medfe.models.branches import Features
from medfe.targets import build_target
from medfe.weightfiles import load_weights

CONFIG = GeneratorConfig.preset("tiny")


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def gradient_of(target, channels=32):
    features = Features(*(draw(3, 32, 8, 8, seed=seed).requires_grad_() for seed in (0, 1)))
    goals = Features(*(draw(3, channels, 8, 8, seed=seed) for seed in (2, 3)))
    return features, goals, intermediate_gradient(target, features, goals)


def test_the_read_outs_gradient_is_its_formula_and_spans_the_rows_of_its_matrix():
    target = build_target(TargetConfig(arm="low_resolution"), CONFIG).double()
    features, goals, gradients = gradient_of(target, channels=3)
    matrix = target.readout.weight.detach()[:, :, 0, 0]  # 3×32
    read = target.read(features.texture).detach()
    slope = (read - goals.texture).sign() * (1 - read**2) / (3 * 8 * 8)  # of one image's mean over 3·8·8 numbers
    torch.testing.assert_close(gradients.texture, torch.einsum("kc,nkhw->nchw", matrix, slope))
    rows = rows_by_channel(gradients.texture)
    assert numerical_rank(rows) == 3
    basis = component_bases(rows_by_channel(features.texture), rows, seed=0)["loss_inside"]
    assert subspace_angles(basis, matrix.T.numpy()).max() < 1e-6


def test_the_gradient_of_one_image_does_not_depend_on_the_batch():
    target = build_target(TargetConfig(arm="block_dct"), CONFIG).double()
    features, goals, gradients = gradient_of(target)
    alone = Features(*(feature.detach()[:1].requires_grad_() for feature in features))
    single = intermediate_gradient(target, alone, Features(*(goal[:1] for goal in goals)))
    torch.testing.assert_close(single.structure, gradients.structure[:1])


def test_a_loss_on_all_channels_has_full_rank_and_equal_shares():
    _, _, gradients = gradient_of(build_target(TargetConfig(arm="block_dct"), CONFIG).double())
    rows = rows_by_channel(gradients.structure)
    assert numerical_rank(rows) == 32
    np.testing.assert_allclose(np.abs(rows), 1 / (32 * 8 * 8))


def test_without_a_term_there_is_no_gradient_and_no_subspace_of_it():
    features, _, gradients = gradient_of(build_target(TargetConfig(arm="none"), CONFIG))
    assert not gradients.structure.any()
    rows = rows_by_channel(gradients.structure)
    assert not any(name.startswith("loss") for name in component_bases(rows_by_channel(features.structure), rows, 0))


@pytest.mark.parametrize("arm", ["low_resolution", "autoencoder", "random_encoder", "block_dct", "none"])
def test_a_report_has_the_same_columns_for_every_arm(arm, make_run, pictures):
    report = channel_report(make_run(arm), pictures, n=5)
    channels, summary = report["channels"], report["summary"]
    assert len(channels) == 2 * 32
    assert summary["feature"].tolist() == ["structure", "texture"]
    assert summary["arm"].eq(arm).all()
    assert summary["images"].eq(5).all()
    expected = {f"{kind}_{part}" for part in PARTS for kind in (
        "probe_hole", "probe_known", "permuted", "permuted_size", "averaged", "averaged_size",
    )}  # fmt: skip
    assert expected <= set(summary.columns)
    numbers = summary.drop(columns=["feature", "arm"])
    absent = {column for column in numbers if "loss" in column} | {"gradient_participation", "cka", "cka_hole"}
    assert set(numbers.columns[numbers.isna().all()]) == (absent if arm == "none" else set())
    if arm == "none":
        assert channels["gradient_share"].isna().all()
    else:
        assert channels.groupby("feature")["gradient_share"].sum().to_numpy() == pytest.approx([1, 1])
        assert summary["gradient_rank"].tolist() == [3 if arm == "low_resolution" else 32] * 2


def test_a_report_is_repeatable_and_its_random_parts_follow_the_seed(make_run, pictures):
    run = make_run("none")
    first, again, other = (channel_report(run, pictures, n=6, seed=seed)["summary"] for seed in (0, 0, 1))
    pd.testing.assert_frame_equal(first, again)
    assert (first["permuted_random_inside"] != other["permuted_random_inside"]).all()
    assert (first["feature_participation"] == other["feature_participation"]).all()


def test_files_are_taken_in_order_and_folders_by_hash(make_run, pictures):
    run, paths = make_run("none"), find_images(pictures)
    by_file = channel_report(run, paths, n=5)
    inpainter = Inpainter.from_pretrained(run, "cpu")
    images = torch.stack([to_tensor(load_image(path)) for path in paths[:5]])
    direct = measure_channels(inpainter, load_target(inpainter), images)
    pd.testing.assert_frame_equal(by_file["summary"], direct["summary"])
    assert not by_file["channels"].equals(channel_report(run, pictures, n=5)["channels"])


def test_a_damaged_photograph_of_a_folder_is_left_out(make_run, pictures, tmp_path):
    run, folder = make_run("none"), tmp_path / "pictures"
    shutil.copytree(pictures, folder)
    sound = channel_report(run, folder)["summary"]
    for name in "abc":
        (folder / f"{name}.png").write_bytes(b"no picture")
    pd.testing.assert_frame_equal(channel_report(run, folder)["summary"], sound)


def test_a_trained_target_comes_back_as_it_was_saved(make_run):
    run = make_run("low_resolution")
    inpainter = Inpainter.from_pretrained(run, "cpu")
    target = load_target(inpainter)
    saved = load_weights(run / "generator.safetensors").tensors["target.readout.weight"]
    assert torch.equal(target.readout.weight, saved)
    assert not target.readout.weight.requires_grad


def test_structure_images_are_smoothed_only_where_the_target_wants_it(pictures):
    images = torch.stack([to_tensor(load_image(path)) for path in find_images(pictures)[:2]])
    smoothed = structure_images(images, build_target(TargetConfig(arm="low_resolution"), CONFIG))
    assert smoothed.diff(dim=-1).abs().mean() < 0.8 * images.diff(dim=-1).abs().mean()
    plain = TargetConfig(arm="low_resolution", structure_image="image")
    assert structure_images(images, build_target(plain, CONFIG)) is images
    assert structure_images(images, build_target(TargetConfig(arm="none"), CONFIG)) is images


def test_what_is_missing_is_named(make_run, pictures, tmp_path):
    with pytest.raises(MedfeError, match=r"generator.safetensors: holds no readout\.bias, readout\.weight"):
        channel_report(make_run("low_resolution", with_target=False), pictures)
    with pytest.raises(MedfeError, match=r"elsewhere/structure\.safetensors: no such weight file"):
        channel_report(make_run("autoencoder", autoencoders=str(tmp_path / "elsewhere")), pictures)
    with pytest.raises(MedfeError, match="found 3 photographs, expected at least 4"):
        channel_report(make_run("none"), pictures, n=3)


def test_trained_models_obey_the_rank_on_real_faces(photographs):
    report = channel_report("faces128/low_resolution", photographs / "utkface" / "val", n=8)
    assert report["summary"]["gradient_rank"].tolist() == [3, 3]
    assert (report["summary"]["probe_known_all"] > report["summary"]["probe_known_random_inside"]).all()
