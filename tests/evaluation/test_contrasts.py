"""Contrasts and summaries on made-up measurements, where the truth is known."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from medfe.data.masks import AREA_BINS
from medfe.evaluation.contrasts import contrasts
from medfe.evaluation.distances import frechet_distance, kid
from medfe.evaluation.embeddings import Embedder, Judges
from medfe.evaluation.methods import Method
from medfe.evaluation.protocol import Measurements
from medfe.evaluation.store import Store
from medfe.evaluation.subsampling import SubsampledDistance
from medfe.evaluation.summaries import SetDistances, means, means_by_area, means_by_group, sets
from medfe.experiments.measurement import metrics_row

N, K, D = 60, 2, 6
NOBODY = Judges((), None, ())


@pytest.fixture
def make(make_settings, tmp_path):
    """Return a function that makes measurements of methods whose errors are shifted against each other."""

    def measured(shifts, metrics=("l1_hole", "ssim"), **changes):
        rng = np.random.default_rng(0)
        photographs = np.repeat(np.arange(N), K)
        difficulty = rng.normal(0.2, 0.05, N)[photographs]
        reference = rng.normal(size=(N, D))
        rows, features = [], {}
        for name, shift in shifts.items():
            error = difficulty + shift + 0.01 * rng.normal(size=N * K)
            values = {"l1_hole": error, "ssim": 1 - error, "psnr": -10 * np.log10(error**2), "psnr_hole": -error}
            rows.append(pd.DataFrame({
                "method": name, "photograph": photographs, "area_bin": np.array(list(AREA_BINS))[np.arange(N * K) % 3],
                **{metric: values[metric] for metric in metrics},
            }))  # fmt: skip
            noise = np.random.default_rng(1).normal(size=(N * K, D))
            features[name] = reference[photographs] + 20 * shift + 0.3 * noise
        return Measurements(
            settings=make_settings(methods=tuple(shifts), **changes), image_size=32,
            methods=tuple(Method(name, name, "0", None) for name in shifts),
            judges=Judges((Embedder("net", None),), None, ()), table=pd.concat(rows, ignore_index=True),
            features={"net": features}, reference={"net": reference}, photographs=photographs,
            reference_photographs=np.arange(N), testset=None, endpoint=changes.get("endpoint") or "kid_net",
        )  # fmt: skip

    return measured


@pytest.fixture
def compare(tmp_path):
    def run(measured):
        return contrasts(measured, SetDistances(measured, Store(tmp_path / "store")))

    return run


def row_of(table, metric):
    (row,) = table[table["metric"] == metric].to_dict("records")
    return row


def test_a_method_is_not_better_than_itself(make, compare):
    measured = make({"one": 0.0, "two": 0.0})
    table = measured.table
    table.loc[table["method"] == "two", ["l1_hole", "ssim"]] = table.loc[
        table["method"] == "one", ["l1_hole", "ssim"]
    ].to_numpy()
    for row in compare(measured).to_dict("records"):
        assert (row["low"], row["difference"], row["high"]) == pytest.approx((0, 0, 0), abs=1e-12)
        assert "better" not in row["verdict"]
        if row["role"] != "not tested":
            assert row["p"] == 1


def test_the_better_method_is_named_whatever_the_direction_of_the_metric(make, compare):
    table = compare(make({"worse": 0.05, "good": 0.0}))
    assert row_of(table, "l1_hole")["difference"] > 0 > row_of(table, "ssim")["difference"]
    for metric in ("kid_net", "l1_hole", "ssim"):
        assert row_of(table, metric)["verdict"].startswith("good is better than worse in")


def test_a_verdict_never_says_better_when_the_interval_holds_nothing(make, compare):
    for shift in (0.0, 0.002):
        for row in compare(make({"one": shift, "two": 0.0})).to_dict("records"):
            if row["low"] <= 0 <= row["high"]:
                assert " is better " not in row["verdict"]


def test_the_primary_endpoint_comes_first_and_alone_goes_uncorrected(make, compare):
    table = compare(make({"one": 0.02, "two": 0.0, "three": 0.01}, contrasts=(("one", "two"), ("one", "three"))))
    assert table.loc[0, ["first", "second", "metric", "role"]].tolist() == ["one", "two", "kid_net", "primary"]
    assert np.isnan(table.loc[0, "p_holm"])
    assert (table["role"] == "primary").sum() == 1
    tested = table[table["role"] == "secondary"]
    assert len(tested) == 5  # 2 metrics and KID of two pairs, without the primary
    assert (tested["p_holm"] >= tested["p"]).all()
    assert tested["p_holm"].min() == pytest.approx(5 * tested["p"].min())


def test_a_primary_endpoint_needs_its_test_too(make, compare):
    def answer(photographs):
        measured = make({"one": 0.0, "two": 0.0}, endpoint="l1_hole")
        table = measured.table[measured.table["photograph"] < photographs]
        second = table["method"] == "two"
        table = table.assign(l1_hole=np.where(second, 0.2 + 0.001 * table["photograph"], 0.1))
        few = replace(measured, table=table, photographs=measured.photographs[: K * photographs], judges=NOBODY)
        return compare(few).iloc[0]

    row = answer(5)  # of five pairs no labelling is rarer than 2 in 32
    assert (row["role"], row["high"] < 0, row["p"] > 0.05) == ("primary", True, True)
    assert row["verdict"].startswith("no difference in L1, hole shown between one and two, for the test does not agree")
    assert answer(20)["verdict"].startswith("one is better than two in L1, hole (")


def test_the_interval_of_a_frechet_distance_ends_at_0(make, tmp_path, monkeypatch):
    wide = SubsampledDistance(estimate=0.1, values=np.linspace(0, 1, 21), fraction=0.5, n=N)
    monkeypatch.setattr(SetDistances, "frechet", lambda *_: wide)
    measured = make({"near": 0.0})
    row = row_of(sets(measured, SetDistances(measured, Store(tmp_path / "store"))), "fd_net")
    assert wide.interval().low < 0
    assert (row["low"], row["value"], row["high"]) == (0, 0.1, wide.interval().high)


def test_frechet_distances_are_tested_only_when_asked_for(make, compare):
    row = row_of(compare(make({"one": 0.05, "two": 0.0})), "fd_net")
    assert row["role"] == "not tested"
    assert "bias of order 1/N" in row["verdict"]
    row = row_of(compare(make({"one": 0.05, "two": 0.0}, frechet_permutations=49)), "fd_net")
    assert row["role"] == "secondary"
    assert row["p"] == pytest.approx(1 / 50)


@pytest.mark.parametrize("endpoint", ["psnr", "psnr_hole"])
def test_psnr_of_the_hole_is_compared_only_as_the_endpoint(make, compare, endpoint):
    table = compare(make({"one": 0.05, "two": 0.0}, metrics=("psnr", "psnr_hole"), endpoint=endpoint))
    assert table.loc[table["role"] == "primary", "metric"].tolist() == [endpoint]
    assert ("psnr_hole" in set(table["metric"])) == (endpoint == "psnr_hole")


def test_equivalence_needs_a_margin(make, compare):
    changes = {"endpoint": "l1_hole"}
    narrow = compare(make({"one": 0.0005, "two": 0.0}, margin=0.05, **changes)).iloc[0]
    assert narrow["equivalent"]
    assert "equivalent within the margin" in narrow["verdict"]
    assert ", margin ±0.05, " in narrow["verdict"]
    assert not compare(make({"one": 0.0005, "two": 0.0}, margin=1e-6, **changes)).iloc[0]["equivalent"]
    assert not compare(make({"one": 0.0005, "two": 0.0}, **changes)).iloc[0]["equivalent"]


def test_equivalence_at_5_percent_is_that_of_the_90_percent_interval(make, compare):
    def primary(**changes):
        measured = make({"one": 0.0005, "two": 0.0}, endpoint="l1_hole", **changes)
        return compare(replace(measured, judges=NOBODY)).iloc[0]

    narrow, wide = (max(-row["low"], row["high"]) for row in (primary(level=0.9), primary(level=0.95)))
    assert narrow < wide
    assert primary(margin=(narrow + wide) / 2)["equivalent"]
    assert not primary(margin=0.99 * narrow)["equivalent"]


def test_masks_of_a_photograph_that_say_the_same_count_once(make, compare):
    measured = make({"one": 0.001, "two": 0.0})

    def table_of(items):
        rows = [rows.iloc[items] for _, rows in measured.table.groupby("method")]
        features = {name: array[items] for name, array in measured.features["net"].items()}
        return compare(replace(
            measured, table=pd.concat(rows, ignore_index=True), features={"net": features},
            photographs=measured.photographs[items],
        ))  # fmt: skip

    firsts = np.arange(0, N * K, K)
    once, repeated = table_of(firsts), table_of(np.repeat(firsts, K))
    assert set(once["photographs"]) == set(repeated["photographs"]) == {N}
    for metric in ("kid_net", "l1_hole", "ssim"):
        for column in ("low", "difference", "high", "p"):
            assert row_of(repeated, metric)[column] == pytest.approx(row_of(once, metric)[column], rel=1e-6)


def test_an_original_is_not_put_beside_its_own_filling(make, compare):
    measured = make({"perfect": 0.0, "other": 0.05})
    measured.features["net"]["perfect"] = measured.reference["net"][measured.photographs]
    measured.table["mask_area"] = 0.2
    perfect, other = (metrics_row(measured, name)["kid_net"] for name in ("perfect", "other"))
    assert perfect == pytest.approx(0, abs=1e-9)
    assert row_of(compare(measured), "kid_net")["difference"] == pytest.approx(-other)


def test_a_frechet_difference_is_first_minus_second(make, compare):
    measured = make({"far": 0.05, "near": 0.0})
    reference, features = measured.reference["net"], measured.features["net"]
    row = row_of(compare(measured), "fd_net")
    assert row["difference"] == pytest.approx(
        frechet_distance(reference, features["far"]) - frechet_distance(reference, features["near"])
    )
    assert 0 < row["low"] < row["difference"] < row["high"]


def test_a_lone_method_has_nothing_to_be_compared_with(make, compare):
    assert len(compare(make({"one": 0.0}))) == 0


def test_differences_between_baselines_are_not_said_to_be_of_trainings(make, compare):
    assert "trainings" not in compare(make({"telea": 0.0, "mean_fill": 0.1})).iloc[0]["scope"]
    assert "one pair of trainings" in compare(make({"telea": 0.0, "mine": 0.1})).iloc[0]["scope"]


def test_means_leave_out_and_count_what_is_not_finite(make):
    measured = make({"one": 0.0, "two": 0.1}, metrics=("l1_hole", "psnr"))
    measured.table.loc[:2, "psnr"] = np.inf
    table = means(measured)
    row = row_of(table[table["method"] == "one"], "psnr")
    own = measured.table.loc[measured.table["method"] == "one", "psnr"].to_numpy()
    assert row["left_out"] == 3
    assert row["value"] == pytest.approx(own[3:].mean())
    assert row["low"] < row["value"] < row["high"]
    assert row["photographs"] == N - 1  # both masks of the first, one of the second


def test_what_is_not_finite_is_left_out_of_both_methods(make, compare):
    measured = make({"one": 0.0, "two": 0.1}, metrics=("psnr",))
    one, two = (measured.table[measured.table["method"] == name]["psnr"].to_numpy() for name in ("one", "two"))
    measured.table.loc[:2, "psnr"] = np.inf
    assert row_of(compare(measured), "psnr")["difference"] == pytest.approx((one[3:] - two[3:]).mean())


def test_set_distances_are_those_of_the_functions_and_small_ones_are_marked(make, tmp_path):
    measured = make({"one": 0.0, "two": 0.1})
    table = sets(measured, SetDistances(measured, Store(tmp_path)))
    for method in ("one", "two"):
        own = table[table["method"] == method]
        pair = measured.reference["net"], measured.features["net"][method]
        labels = {"photographs": measured.photographs, "reference_photographs": measured.reference_photographs}
        assert row_of(own, "kid_net")["value"] == pytest.approx(kid(*pair, **labels))
        assert row_of(own, "fd_net")["value"] == pytest.approx(frechet_distance(*pair))
        assert row_of(own, "fd_net")["small"]
        assert not row_of(own, "kid_net")["small"]
        assert row_of(own, "fd_net")["images"] == N * K


def test_stored_distances_are_read_not_computed(make, tmp_path, monkeypatch):
    measured = make({"one": 0.0, "two": 0.1})
    first = sets(measured, SetDistances(measured, Store(tmp_path)))
    for name in ("subsampled_frechet", "kid_interval"):
        monkeypatch.setattr(f"medfe.evaluation.summaries.{name}", None)
    pd.testing.assert_frame_equal(first, sets(measured, SetDistances(measured, Store(tmp_path))))


def test_means_by_area_are_those_of_the_items_of_a_class(make):
    measured = make({"one": 0.0, "two": 0.1})
    table = means_by_area(measured)
    assert table["class"].unique().tolist() == list(AREA_BINS)[:3]
    rows = measured.table[(measured.table["method"] == "two") & (measured.table["area_bin"] == "10-20")]
    found = table[(table["method"] == "two") & (table["class"] == "10-20")]
    assert row_of(found, "l1_hole")["value"] == pytest.approx(rows["l1_hole"].mean())


def test_groups_are_empty_where_nobody_said_them(make):
    measured = make({"one": 0.0})
    assert means_by_group(measured).empty
    measured.table["age"] = 30
    measured.table["sex"] = np.where(measured.table["photograph"] % 2, "female", "male")
    table = means_by_group(measured)
    assert table.groupby("by")["class"].unique().map(list).to_dict() == {"age": ["20-39"], "sex": ["male", "female"]}


def test_photographs_without_age_and_sex_are_in_no_group(make):
    measured = make({"one": 0.0})
    people = measured.table["photograph"]
    measured.table["age"] = np.where(people == people.min(), np.nan, 30)
    measured.table["sex"] = np.where(people == people.min(), None, "male")
    assert set(means_by_group(measured)["photographs"]) == {people.nunique() - 1}
