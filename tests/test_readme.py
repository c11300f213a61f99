"""What the README says can be done can be done."""

import json
import re
import shlex
import sys
import types
from pathlib import Path

import pandas as pd
import pytest
import torch
import tyro

from medfe.cli import COMMANDS
from medfe.config import ARMS, PRESETS, GeneratorConfig, TargetConfig
from medfe.evaluation.names import number
from medfe.evaluation.statistics import paired_t
from medfe.experiments.autoencoders import NEAR_LOSSLESS
from medfe.experiments.comparison import method_values
from medfe.models.generator import build_generator
from medfe.targets import Features, build_target

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(\w*)\n(.*?)```", README, flags=re.DOTALL)


def commands():
    for _, block in BLOCKS:
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            if words and words[0] == "medfe":
                yield words[1:]


@pytest.mark.parametrize("words", list(commands()), ids=" ".join)
def test_command_is_understood(words):
    tyro.extras.subcommand_cli_from_dict(COMMANDS, prog="medfe", args=words)


def test_own_target_of_the_readme_gives_a_loss(monkeypatch):
    source = next(block for language, block in BLOCKS if language == "python" and "class Edges" in block)
    module = types.ModuleType("mytargets")
    monkeypatch.setitem(sys.modules, "mytargets", module)
    exec(source, module.__dict__)
    config = GeneratorConfig.preset("tiny")
    target = build_target(TargetConfig(arm="mytargets:Edges", weight=8.0), config)
    image, mask = torch.rand(2, 3, 64, 64) * 2 - 1, torch.zeros(2, 1, 64, 64)
    mask[:, :, 16:48, 16:48] = 1
    output = build_generator(config)(image, mask)
    goals = target.goals(image, image)
    flat = target.goals(torch.ones_like(image), image)
    loss = target.loss(Features(output.structure, output.texture), goals)
    loss.backward()
    assert goals.texture.shape == (2, 6, 8, 8)
    assert goals.texture.abs().max() > 0
    assert flat.texture[:, :, :-1, :-1].abs().max() == 0


def images_of(experiment, run):
    record = json.loads((ROOT / f"notebooks/results/runs/{experiment}/{run}.json").read_text(encoding="utf-8"))
    return record["training"]["images"]


def test_what_was_found_is_what_the_table_says():
    table = pd.read_csv(ROOT / "notebooks/results/main_contrasts.csv")
    (row,) = table[table["role"] == "primary"].to_dict("records")
    told = {name: number(row[name], row["metric"], difference=True) for name in ("difference", "low", "high")}
    text = " ".join(README.split())
    own = pd.read_csv(ROOT / "notebooks/results/main_arms.csv").set_index(["metric", "masks", "arm"])["mean"]
    sets = pd.read_csv(ROOT / "notebooks/results/main_comparison_sets.csv").set_index(["metric", "masks", "method"])
    tested = table[(table["first"] == "autoencoder") & table["role"].isin(("primary", "secondary"))]
    tested = tested.set_index(["metric", "masks"])
    for masks, name in (("center", "centre"), ("irregular", "irregular")):
        gap = tested.loc[(row["metric"], masks)]
        means = [number(own[row["metric"], masks, arm], row["metric"]) for arm in ("low_resolution", "autoencoder")]
        difference, low, high = (number(gap[part], row["metric"], difference=True) for part in told)
        solved = number(sets["value"][row["metric"], masks, "navier_stokes"], row["metric"])
        assert f"| {name} holes | {' | '.join(means)} | {difference} ({low} to {high}) | {solved} |" in README
    filled = pd.read_csv(ROOT / "notebooks/results/main_comparison_means.csv").query(
        "by == 'all' and masks == 'irregular'"
    )
    closer = filled.set_index(["metric", "method"])["value"]["l1_hole", "navier_stokes"]
    means = [own["l1_hole", "irregular", arm] for arm in ("low_resolution", "autoencoder")]
    closer, medfe, cae = (number(value, "l1_hole") for value in (closer, *means))
    assert f"({closer} in the hole; MEDFE {medfe}, MEDFE+CAE {cae})" in text
    frechet = tested.loc[("fd_efficientnet_lite2", "center")]
    difference, low, high = (number(frechet[part], "fd_efficientnet_lite2", difference=True) for part in told)
    assert frechet["p_holm"] > 0.05
    assert f"differs by {difference} ({low} to {high}; not shown after correction for all tests made)" in text
    assert f"(here {number(-row['margin'], row['metric'], difference=True)})" in text
    assert row["claim"] == "contradicted in size"
    metrics = pd.read_csv(ROOT / "notebooks/results/main_metrics.csv")
    values = metrics[metrics["masks"] == "center"].pivot(index="seed", columns="arm", values=row["metric"])
    pairs = values.loc[range(6), ["autoencoder", "low_resolution"]]
    left_out = {seed: pairs.drop(seed) for seed in pairs.index}
    lows = {seed: paired_t(rest["autoencoder"], rest["low_resolution"]).low for seed, rest in left_out.items()}
    margins = {seed: 0.045 * rest["low_resolution"].mean() for seed, rest in left_out.items()}
    assert [seed for seed, low in lows.items() if low < -margins[seed]] == [0, 2, 3, 5]
    assert "leave out any one of seeds 0, 2, 3 and 5, and it no longer does" in text
    kid = table[(table["metric"] == row["metric"]) & (table["second"] == row["second"])].set_index(["first", "masks"])
    values = kid.loc[[("none", "center")], ["difference", "low", "high"]].to_numpy()[0]
    words = "(centre holes, three trainings, without − with: {}, {} to {})"
    assert words.format(*(number(value, row["metric"], difference=True) for value in values)) in text
    lost = pd.read_csv(ROOT / "notebooks/results/main_runs.csv")["texture_l1"].mean()
    assert f"(an L1 below {NEAR_LOSSLESS:g}, images in [-1, 1], would be): theirs is {lost:.2f}." in text
    codes = pd.read_csv(ROOT / "notebooks/results/autoencoders_reconstruction.csv").set_index(["code", "channels"])[
        "l1"
    ]
    large, transform = codes["auto-encoder", 256], codes["block DCT 128", 128]
    assert f"of the papers' images: {large:.3f}; 128 numbers of a block DCT reach {transform:.3f}" in text


def test_what_is_said_of_weights_and_baselines_is_what_the_tables_say():
    results, text = ROOT / "notebooks/results", " ".join(README.split())
    kid = "kid_efficientnet_lite2"
    table = pd.read_csv(results / "weight_metrics.csv")
    of = 1e3 * table[table["masks"] == "irregular"].set_index("arm")[kid]
    gaps = [
        of[f"autoencoder_weight{one}"] - of[f"low_resolution_weight{two}"]
        for one, two in ((32, 4), (8, 4), (8, 8), (32, 32))
    ]
    words = (
        "the gap is {} at these weights, {} with 4 and 8, {} with 8 and 8, and {} with 32 and 32; over the six seeds "
        "of the table such a gap has a standard deviation of {:.1f}."
    )
    own = (
        pd.read_csv(results / "main_metrics.csv")
        .query("masks == 'irregular'")
        .pivot(index="seed", columns="arm", values=kid)
    )
    spread = 1e3 * (own["autoencoder"] - own["low_resolution"]).std()
    assert words.format(*(f"{gap:+.3f}".replace("-", "−") for gap in gaps), spread) in text
    seen = 0
    for name, runs in (
        ("ship", ("first_half_seed0", "seed1")), ("finetune", ("finetuned_seed2",)), ("longer", ("longer_seed3",)),
    ):  # fmt: skip
        each = [[images_of(name, f"{arm}_{run}") for run in runs] for arm in ARMS[:2]]
        assert each[0] == each[1]
        seen, seed = seen + sum(each[0]), runs[-1]
        images = f"{seen:,} images" if name == "ship" else f"{seen:,}"
        pairs = pd.read_csv(results / f"{name}_comparison_contrasts.csv").set_index(["first", "second"])
        pair = pairs.loc[(f"autoencoder_{seed}", f"low_resolution_{seed}")].set_index(["metric", "masks"])
        gaps = pair.loc[[(kid, "center"), (kid, "irregular")], ["difference", "low", "high"]].to_numpy().ravel()
        between = "{} with centre and {} with irregular holes" if name == "ship" else "{} and {}"
        words = f"after [{images}](notebooks/results/{name}.md) " + between.replace("{}", "{} ({} to {})")
        assert words.format(*(number(value, kid, difference=True) for value in gaps)) in text
        closer = pair.drop(index=[kid, "fd_efficientnet_lite2"], level="metric")
        assert set(closer.index.get_level_values("metric")) == {"l1", "l1_hole", "psnr", "ssim", "ssim_hole"}
        assert ((closer["difference"] < 0) == closer["lower_is_better"]).all()
        if name == "longer":
            own = pairs.loc[("low_resolution_longer_seed3", "low_resolution_seed1")].set_index(["metric", "masks"])
            risen = (
                number(own[part][kid, "irregular"], kid, difference=True) for part in ("difference", "low", "high")
            )
            assert "but for MEDFE with irregular holes ({}, {} to {})".format(*risen) in text
    assert "In L1, PSNR and SSIM MEDFE+CAE is the closer one each time." in text
    assert f"trained on two CPU cores with this code, {seen:,} images each" in text
    assert f"one training each of {seen:,} images" in text
    means = pd.read_csv(results / "rate_arms.csv").set_index(["metric", "masks", "arm"])["mean"]
    rates = pd.read_csv(results / "rate_contrasts.csv").set_index(["metric", "masks"])
    words = (
        "(KID ×10³ {} and {} with centre, {} and {} with irregular holes), and the difference is {} ({} to {}) and {} "
        "({} to {})"
    )
    places = [(kid, masks) for masks in ("center", "irregular")]
    reached = [number(means[(*place, f"{arm}_rate_x4")], kid) for place in places for arm in ARMS[:2]]
    gaps = rates.loc[places, ["difference", "low", "high"]].to_numpy().ravel()
    assert words.format(*reached, *(number(value, kid, difference=True) for value in gaps)) in text
    sets = pd.read_csv(results / "scenes_comparison_sets.csv")
    sets = sets[(sets["masks"] == "irregular") & (sets["metric"] == kid)].set_index("method")["value"] * 1e3
    networks = sets[sets.index.str.contains("seed")]
    assert (
        f"has a KID of {sets['navier_stokes']:.1f}, the four trainings {networks.min():.1f} to {networks.max():.1f}"
        in text
    )


def test_the_table_of_the_shipped_models_is_that_of_their_comparison():
    results = ROOT / "notebooks/results"
    metrics = ("kid_efficientnet_lite2", "fd_efficientnet_lite2", "psnr", "ssim", "l1_hole")
    both = [
        pd.read_csv(results / f"longer_comparison_{name}.csv").query("masks == 'center'") for name in ("sets", "means")
    ]
    values = method_values(*both).set_index(["method", "metric"])
    names = {f"faces128/{arm}": f"{arm}_longer_seed3" for arm in ARMS[:2]}
    for name in (*names, "mean_fill", "telea", "navier_stokes"):
        rows = (values.loc[(names.get(name, name), metric), ["value", "low", "high"]] for metric in metrics)
        told = (
            "{} ({} to {})".format(*(number(one, metric) for one in row))
            for metric, row in zip(metrics, rows, strict=True)
        )
        assert f"| `{name}` | {' | '.join(told)} |" in README
    assert set(values["photographs"]) == {2551}
    copies = pd.read_csv(results / "photographs/utkface_test_copies_in_train.csv")
    assert f"{copies['name'].nunique()} of them with [a copy]" in README
    pairs = pd.read_csv(results / "longer_comparison_contrasts.csv").query("masks == 'center'")
    gap = pairs.set_index(["first", "second", "metric"]).loc[(*reversed(names.values()), metrics[0])]
    told = (number(gap[part], metrics[0], difference=True) for part in ("difference", "low", "high"))
    assert "(second − first {}, {} to {})".format(*told) in " ".join(README.split())


def test_what_the_released_convention_costs_is_what_the_tables_say():
    kid, masks = "kid_efficientnet_lite2", ["center", "irregular"]
    table = pd.read_csv(ROOT / "notebooks/results/published_contrasts.csv")
    told = table[table["metric"] == kid].set_index(["first", "masks"])["difference"]
    own = pd.read_csv(ROOT / "notebooks/results/main_metrics.csv").groupby(["arm", "masks"])[kid].std()
    first, second = ([number(told[f"{arm}_published", one], kid, difference=True) for one in masks] for arm in ARMS[:2])
    spread = [number(own[arm, one], kid) for arm in ARMS[:2] for one in masks]
    table = README.partition("| KID ×10³, convention `published`")[2].splitlines()[2:6]
    assert [[cell.strip() for cell in line.split("|")[2:4]] for line in table] == [
        first,
        second,
        spread[:2],
        spread[2:],
    ]


def test_every_arm_and_preset_is_explained():
    for name in (*ARMS, *PRESETS):
        assert f"| `{name}`" in README


def test_linked_files_exist():
    links = re.findall(r"\]\((?!https?:)([^)#]+)\)", README)
    assert links
    for link in links:
        assert (ROOT / link).exists(), link


def test_no_section_is_unfinished():
    assert not re.search(r"\b[A-Z]+_TABLE\b", README)
