"""Verdicts on the claims from fabricated tables, against what the rules say and numbers computed by hand."""

import numpy as np
import pytest

from medfe.experiments.building import FRECHET, KID
from medfe.experiments.finding_tables import NOT_YET
from medfe.experiments.findings import findings
from medfe.experiments.findings_page import SEPARATIONS, claims_table, separations_table, write_findings
from medfe.experiments.registry import EXPERIMENTS

from .fabricated import PRIMARY_ROW, SIX, contrast, finding, write


def test_without_tables_nothing_is_claimed_and_no_page_is_written(tmp_path):
    assert {one.verdict for one in findings(tmp_path)} == {NOT_YET, "not tested"}
    assert write_findings(tmp_path) == []
    assert list(tmp_path.iterdir()) == []


def test_a_page_of_tables_that_are_gone_goes_and_another_s_page_stays(tmp_path):
    write(tmp_path, "main_contrasts", [PRIMARY_ROW])
    (page,) = write_findings(tmp_path)
    assert "gpu.md" not in page.read_text()
    (tmp_path / "main_contrasts.csv").unlink()
    assert write_findings(tmp_path) == []
    assert not page.exists()
    page.write_text("# My notes\n")
    write(tmp_path, "main_contrasts", [PRIMARY_ROW])
    assert write_findings(tmp_path) == []
    assert page.read_text() == "# My notes\n"


def test_filling_without_learning_is_told_where_both_kinds_of_holes_of_both_are_there(tmp_path):
    def row(value, masks, metric=KID, **names):
        return {"metric": metric, "masks": masks, **names, **value}

    masks = ("center", "irregular")
    arms = [
        row({"mean": 0.005, "n": 4}, one, metric, arm="low_resolution") for one in masks for metric in (KID, "l1_hole")
    ]
    solved = [row({"value": 0.02}, one, method="navier_stokes") for one in masks]
    closer = [row({"value": 0.07, "by": "all"}, one, "l1_hole", method="navier_stokes") for one in masks]
    write(tmp_path, "main_contrasts", [PRIMARY_ROW])
    write(tmp_path, "main_comparison_sets", solved)
    write(tmp_path, "main_comparison_means", closer)
    for part, told in ((arms, True), (arms[:2], False), ([{**one, "arm": "none"} for one in arms], False)):
        write(tmp_path, "main_arms", part)
        (page,) = write_findings(tmp_path)
        text = " ".join(page.read_text().split())
        kids = "20.000 with centre and 20.000 with irregular holes (MEDFE, mean of 4 trainings: 5.000 and 5.000)"
        assert (f"KID ×10³ of {kids}, and an L1 in the hole of 0.0700 and 0.0700 (0.0050 and 0.0050)." in text) is told


def test_claims_are_shown_by_their_numbers_as_on_the_page(tmp_path):
    write(tmp_path, "main_contrasts", [PRIMARY_ROW])
    (page,) = write_findings(tmp_path)
    chosen = claims_table(tmp_path, 1, 10).splitlines()
    assert [line.split(".")[0] for line in chosen[2:]] == ["| 1", "| 10"]
    assert set(chosen) < set(page.read_text().splitlines())
    assert separations_table(tmp_path) in page.read_text()


RECONSTRUCTION = {
    "code": "auto-encoder", "channels": 256, "l1": 0.01, "l1_low": 0.009, "l1_high": 0.011, "images": 16_000,
    "crops": 2048, "photographs": 500,
}  # fmt: skip
TIMES = {"milliseconds": 2.0, "lower_quartile": 1.0, "upper_quartile": 3.0, "repeats": 25}
FULL = {
    "main_contrasts": [
        {name: value for name, value in PRIMARY_ROW.items() if name not in ("p_holm", "lower_is_better")}
    ],
    "autoencoders_reconstruction": [RECONSTRUCTION],
    "autoencoders_times": [
        {"target": name, **TIMES} for name in ("structure code", "RTV, exact", "RTV, tolerance 0.1")
    ],
}


@pytest.mark.parametrize(("name", "column"), [(name, column) for name, rows in FULL.items() for column in rows[0]])
def test_a_table_that_lacks_a_column_supports_nothing(tmp_path, name, column):
    write(tmp_path, name, FULL[name])
    assert write_findings(tmp_path) != []
    write(tmp_path, name, [{key: value for key, value in row.items() if key != column} for row in FULL[name]])
    assert write_findings(tmp_path) == []


def test_a_contrast_of_one_pair_separates_nothing_yet(tmp_path):
    one = {"n": 1, "low": np.nan, "high": np.nan, "p_holm": np.nan, "seeds": "0"}
    write(tmp_path, "main_contrasts", [PRIMARY_ROW, contrast("none", "low_resolution", **one)])
    (page,) = write_findings(tmp_path)
    (line,) = [line for line in page.read_text().splitlines() if line.startswith("| No intermediate term")]
    assert line.split("|")[3:-1] == [" – ", " – ", " – ", " – ", " not yet "]


def test_beside_a_contrast_stands_how_much_stronger_the_first_term_pulls_over_the_same_seeds(tmp_path):
    row = contrast("autoencoder", "low_resolution", seeds="0 1", role="primary", claim="supported")
    write(tmp_path, "main_contrasts", [row, contrast("none", "low_resolution", seeds="0 1")])
    runs = [("autoencoder", 32, 0.015), ("low_resolution", 4, 0.04), ("none", 4, 0.0)]
    write(tmp_path, "main_runs", [
        {"run": f"{arm}_seed{seed}", "weight": weight} for arm, weight, _ in runs for seed in SIX
    ])  # fmt: skip
    write(tmp_path, "main_channel_summary", [
        {"run": f"{arm}_seed{seed}", "arm": arm, "seed": seed, "gradient_norm_both": 9 if seed > 1 else norm}
        for arm, _, norm in runs for seed in SIX for _ in range(2)
    ])  # fmt: skip
    table = separations_table(tmp_path).splitlines()
    strengths = {line.split("|")[2].strip(): line.split("|")[3].strip() for line in table[:1:-1]}
    assert strengths["`autoencoder` − `low_resolution`"] == "×3"  # 32 · 0.015 / (4 · 0.04)
    assert strengths["`none` − `low_resolution`"] == "×0"
    assert strengths["`random_encoder` − `low_resolution`"] == "–"


def test_the_primary_claim_is_that_of_the_contrast_and_waits_for_it(tmp_path):
    row = contrast(
        "autoencoder", "low_resolution", role="primary", claim="contradicted", difference=0.001, low=0.0005, high=0.0015
    )
    write(tmp_path, "main_contrasts", [row])
    found = finding(tmp_path, "FID 5.996")
    assert found.verdict == "contradicted"
    assert found.effect == (
        "KID (efficientnet_lite2) ×10³, center masks: +1.000 (+0.500 to +1.500); claimed: −0.304; "
        "least that so many seeds would show with power 80 %: 0.800"
    )
    assert found.n == "6 seeds (0 1 2 3 4 5)"
    write(tmp_path, "main_contrasts", [row | {"difference": np.nan, "low": np.nan, "high": np.nan, "claim": np.nan}])
    assert finding(tmp_path, "FID 5.996").verdict == NOT_YET


@pytest.mark.parametrize(
    ("rows", "verdict"),
    [
        ([{}, {"p_holm": 0.2}], "supported"),
        ([{"metric": "psnr_hole"}, {"p_holm": 0.2}], "contradicted"),  # lower, where higher is better
        ([{}, {"difference": 0.001, "low": 0.0005, "high": 0.002}], "mixed"),
        ([{"p_holm": 0.06}, {"low": -0.002, "high": 0.001}], "not shown"),
        ([{}, {"p_holm": np.nan}], NOT_YET),
    ],
)
def test_other_measures_count_after_correction_alone(tmp_path, rows, verdict):
    rows = [contrast("autoencoder", "low_resolution", masks="irregular", **row) for row in rows]
    write(tmp_path, "main_contrasts", [*rows, contrast("none", "low_resolution")])
    assert finding(tmp_path, "other measures").verdict == verdict


def test_chance_between_single_trainings_is_the_t_interval_of_a_difference(tmp_path):
    def rows(spread):
        return [
            {"arm": arm, "masks": masks, "seed": seed, FRECHET: 10 + spread * (seed - 2.5) + (masks != "center") * 50}
            for arm in ("autoencoder", "low_resolution") for masks in ("center", "irregular") for seed in SIX
        ]  # fmt: skip

    write(tmp_path, "main_metrics", rows(0.2))
    assert finding(tmp_path, "more than chance").verdict == NOT_YET  # for the contrast is not there
    write(tmp_path, "main_contrasts", [PRIMARY_ROW])  # variance of 0 … 5 is 3.5; t of 10 degrees of freedom is 2.228139
    found = finding(tmp_path, "more than chance")
    assert f"±{100 * 2.228139 * np.sqrt(2) * 0.2 * np.sqrt(3.5) / 10:.1f} %" in found.effect
    assert found.verdict == "contradicted"
    write(tmp_path, "main_metrics", rows(0.05))
    assert finding(tmp_path, "more than chance").verdict == "supported"


def test_beside_the_primary_claim_stands_what_it_would_be_without_one_seed(tmp_path):
    write(tmp_path, "main_contrasts", [PRIMARY_ROW])  # its margin is 4.5 % of its mean
    differences = [1e-4, -1e-4, 1e-4, -1e-4, 1e-4, 2e-3]
    arms = (("autoencoder", differences), ("low_resolution", [0.0] * 6), ("none", [9.0] * 6))
    write(tmp_path, "main_metrics", [
        {"arm": arm, "seed": seed, "masks": masks, KID: 0.00675 + extra}
        for arm, values in arms for seed, extra in enumerate(values) for masks in ("center", "irregular")
    ])  # fmt: skip
    # Without seed 5: 0.02 ± 2.776·0.11/√5, above −0.304; without another: 0.4 ± 1.1, which holds 0 and −0.304.
    words = "; with one seed left out not shown in 5 of 6 cases, contradicted in size in 1 of 6 cases"
    assert finding(tmp_path, "FID 5.996").effect.endswith(words)


def test_registered_experiments_without_a_report_are_named(tmp_path):
    write(tmp_path, "main_contrasts", [PRIMARY_ROW])
    (tmp_path / "main.md").write_text("# Experiment `main`\n")
    (page,) = write_findings(tmp_path)
    lines = page.read_text().splitlines()
    named = {line.split("`")[1] for line in lines if "no tables yet" in line}
    assert named == set(EXPERIMENTS) - {"main", "smoke"}


@pytest.mark.parametrize(("high", "verdict"), [(0.0199, "supported"), (0.0201, "not shown")])
def test_near_lossless_is_what_the_whole_interval_says(tmp_path, high, verdict):
    row = {"l1": 0.019, "l1_low": 0.018, "l1_high": high, "crops": 2048, "photographs": 500, "images": 16000}
    write(tmp_path, "autoencoders_reconstruction", [
        {"code": "auto-encoder", "channels": 256, **row},
        {"code": "auto-encoder", "channels": 3, **row, "l1_high": 1.0},
        {"code": "bilinear", "channels": 3, **row, "l1": 0.1234},
    ])  # fmt: skip
    found = finding(tmp_path, "almost lossless")
    assert found.verdict == verdict
    assert found.effect == f"L1 0.0190 (0.0180 to {high:.4f}) after 16,000 crops; the shrunken image 0.1234"


@pytest.mark.parametrize(("code", "verdict"), [(10, "supported"), (100, "not shown"), (900, "contradicted")])
def test_times_are_compared_by_their_quartiles(tmp_path, code, verdict):
    write(tmp_path, "autoencoders_times", [
        {"target": name, "milliseconds": ms, "lower_quartile": 0.9 * ms, "upper_quartile": 1.2 * ms, "repeats": 25}
        for name, ms in (("structure code", code), ("RTV, exact", 400), ("RTV, tolerance 0.1", 100))
    ])  # fmt: skip
    assert finding(tmp_path, "faster than smoothing").verdict == verdict


def test_the_page_tells_verdicts_separations_and_commands(tmp_path):
    write(tmp_path, "main_contrasts", [
        PRIMARY_ROW,
        contrast("block_dct_128", "block_dct_3", n=3, seeds="0 1 2", difference=0.001, low=0.0005, high=0.002),
        contrast("block_dct_128", "block_dct_3", masks="irregular", difference=0.004, low=np.nan),
        contrast("block_dct_3", "low_resolution", n=3, seeds="0 1 2", p_holm=0.06),
        contrast("random_encoder", "autoencoder", role="not tested", p_holm=np.nan),
        contrast("low_resolution_matched", "low_resolution", role="not tested", n=1, seeds="0", low=np.nan),
    ])  # fmt: skip
    (tmp_path / "main.md").write_text("# Experiment `main`\n")
    (path,) = write_findings(tmp_path)
    text = path.read_text(encoding="utf-8")
    assert "**supported** | KID (efficientnet_lite2) ×10³, center masks: −1.000 (−2.000 to −0.500); claimed: " in text
    assert (
        "| `block_dct_128` − `block_dct_3` | – | +1.000 (+0.500 to +2.000) | +4.000 | 3 seeds (0 1 2) "
        "| second is better |" in text
    )
    assert (
        "| `block_dct_3` − `low_resolution` | – | −1.000 (−2.000 to −0.500) | – | 3 seeds (0 1 2) "
        "| no difference shown after Holm's correction (p = 0.06) |" in text
    )
    assert (
        "| `random_encoder` − `autoencoder` | – | −1.000 (−2.000 to −0.500) | – | 6 seeds (0 1 2 3 4 5) | not tested |"
        in text
    )
    assert "| `low_resolution_matched` − `low_resolution` | – | −1.000 | – | 1 seed (0) | not tested |" in text
    assert "| `none` − `low_resolution` | – | – | – | – | not yet |" in text
    assert "[main](main.md): `medfe reproduce main --data $MEDFE_DATA --out runs`" in text


def test_every_separation_is_a_contrast_of_a_registered_experiment():
    for one in SEPARATIONS:
        experiment = EXPERIMENTS[one.table.removesuffix("_contrasts")]
        tested = {(each.first, each.second) for each in (experiment.primary, *experiment.secondary) if each}
        assert (one.first, one.second) in tested | set(experiment.descriptive)
