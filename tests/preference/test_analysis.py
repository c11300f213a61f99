import math
from dataclasses import replace

import choix
import numpy as np
import pandas as pd
import pytest
from scipy import stats

from medfe.errors import MedfeError
from medfe.preference.analysis import agreement, analyse, by_area, catch_failures, naive, of_pair, self_consistency
from medfe.preference.clustered import clustered_mean
from medfe.preference.definition import Design, Item, Study, StudyMethod
from medfe.preference.export import BAD, ORIGINAL, TIE
from medfe.preference.figures import area_figure, share_figure
from medfe.preference.ranking import bradley_terry
from medfe.preference.records import Participation
from medfe.preference.report import report

PEOPLE = Participation(joined=25, silent=3, withdrawn=2)


def make_study(methods=("ours", "theirs"), **design):
    design = {"trials": 12, "catch_share": 0.25, "repeat_share": 0.0, "target_votes": 90, **design}
    item = {"photograph": "x.jpg", "mask_area": 0.2, "area_bin": "10-20", "original": "0"}
    return Study(
        design=Design(**{"practice": 0, **design}),
        methods=[StudyMethod(name=name, source=f"run/{name}", digest="d") for name in methods],
        items=[Item(**item, fills=["1"] * len(methods))] * 12,
        catches=[Item(**item, fills=["2"])] * 6,
        image_size=64, masks="irregular", data="photographs", created="now",
    )  # fmt: skip


def row(rater, position, winner, left="ours", right="theirs", kind="main", item=None, **changes):
    return {
        "rater": rater, "position": position, "kind": kind, "question": "closer", "mask_area": 0.2,
        "item": position if item is None else item, "area_bin": "10-20", "left": left, "right": right,
        "choice": {left: "left", right: "right", TIE: "tie"}[winner], "first_choice": "left", "winner": winner,
        "repeats": pd.NA, "milliseconds": 1000, "viewport_width": 1200, "zoomed": False, "seconds": 60,
        **changes,
    }  # fmt: skip


def many(raters=10, seed=0, careless=(), methods=("ours", "theirs")):
    """Votes of a study: the first method mostly wins; the careless fail their catch trials and answer always left."""
    rng, rows = np.random.default_rng(seed), []
    for rater in range(raters):
        for position in range(9):
            first, second = rng.permutation(len(methods))[:2]
            left, right = methods[first], methods[second]
            better = min(left, right, key=methods.index)
            winner = rng.choice([better, left if better == right else right, TIE], p=[0.6, 0.25, 0.15])
            bins = ["1-10", "10-20", "20-30"]
            rows.append(row(rater, position, left if rater in careless else str(winner), left, right,
                            area_bin=bins[position % 3], milliseconds=int(rng.integers(500, 5000))))  # fmt: skip
        for position in range(9, 12):
            winner = BAD if rater in careless else ORIGINAL
            rows.append(row(rater, position, winner, BAD, ORIGINAL, "catch", position - 9))
    return pd.DataFrame(rows).astype({"repeats": "Int64"})


def test_the_primary_share_is_that_of_main_votes_without_ties_of_raters_not_excluded():
    votes = many(careless=(3, 7))
    found = analyse(make_study(), votes)
    main = votes[votes["kind"] == "main"]
    kept = main[~main["rater"].isin([3, 7])]
    decided = kept[kept["winner"] != TIE]
    expected = clustered_mean(decided["winner"] == "ours", decided["rater"], decided["item"])
    pair = found.pairs[0]
    assert vars(pair.share) == vars(expected)
    assert (pair.wins, pair.losses) == ((decided["winner"] == "ours").sum(), (decided["winner"] == "theirs").sum())
    assert pair.wins + pair.ties + pair.losses == len(kept) == 72
    assert found.excluded == (3, 7)
    assert pair.everyone.estimate != pair.share.estimate
    assert pair.everyone.n == (main["winner"] != TIE).sum()
    assert pair.ties_as_half.estimate == pytest.approx((pair.wins + pair.ties / 2) / len(kept))


def test_repetitions_and_catch_trials_never_enter():
    votes = many()
    again = votes[votes["kind"] == "main"].assign(kind="repeat", winner="theirs", repeats=0, position=20)
    with_repeats = analyse(make_study(), pd.concat([votes, again]))
    without = analyse(make_study(), votes)
    assert with_repeats.pairs == without.pairs
    assert with_repeats.answers == without.answers == 90


def test_sides_do_not_matter_for_whose_win_it_is():
    rows = [row(0, 0, "ours"), row(0, 1, "ours", "theirs", "ours"), row(0, 2, "theirs"), row(0, 3, TIE)]
    assert of_pair(pd.DataFrame(rows), "ours", "theirs")["value"].tolist() == [1, 1, 0, 0.5]


def test_votes_between_other_methods_do_not_enter_a_pair():
    votes = many(methods=("a", "b", "c"))
    found = analyse(make_study(("a", "b", "c")), votes)
    assert [(pair.first, pair.second) for pair in found.pairs] == [("a", "b"), ("a", "c"), ("b", "c")]
    assert sum(pair.wins + pair.ties + pair.losses for pair in found.pairs) == 90


def test_pairs_after_the_first_carry_holm_s_p_value():
    found = analyse(make_study(("a", "b", "c")), many(40, methods=("a", "b", "c")))
    raw = sorted(pair.share.p_value for pair in found.pairs[1:])
    assert found.pairs[0].p_holm is None
    assert sorted(pair.p_holm for pair in found.pairs[1:]) == pytest.approx(
        [min(1, 2 * raw[0]), max(min(1, 2 * raw[0]), raw[1])]
    )


@pytest.mark.parametrize(
    ("winners", "excluded"),
    [([ORIGINAL] * 4, False), ([ORIGINAL] * 3 + [BAD], False), ([ORIGINAL] * 2 + [TIE, BAD], True), ([], False)],
)
def test_raters_who_fail_more_than_the_allowed_share_of_catch_trials_are_excluded(winners, excluded):
    rows = [row(5, n, winner, ORIGINAL, BAD, "catch") for n, winner in enumerate(winners)] + [row(5, 9, "ours")]
    (found,) = catch_failures(pd.DataFrame(rows), 0.25).to_dict("records")
    assert found == {"rater": 5, "answered": len(winners), "failed": sum(w != ORIGINAL for w in winners),
                     "excluded": excluded}  # fmt: skip


def test_self_consistency_compares_winners_not_sides():
    rows = [row(0, 0, "ours"), row(0, 1, TIE), row(1, 0, "ours"), row(1, 1, "theirs")]
    again = [
        row(rater, 2 + first, winner, "theirs", "ours", "repeat", repeats=first)
        for rater, winner in enumerate(["ours", "theirs"])
        for first in (0, 1)
    ]
    found, chance = self_consistency(pd.DataFrame(rows + again).astype({"repeats": "Int64"}))
    assert (found.estimate, found.n) == (0.5, 4)
    assert chance == pytest.approx(0.5 * 0.5 + 0.25 * 0.5)
    none, undefined = self_consistency(pd.DataFrame(rows).astype({"repeats": "Int64"}))
    assert none is None
    assert math.isnan(undefined)


def test_chance_is_reckoned_within_pairs_of_methods():
    rows = []
    for rater, (one, other) in enumerate([("a", "b"), ("a", "c"), ("b", "c")]):
        winners = [one, one, other, other]
        rows += [row(rater, n, winner, one, other) for n, winner in enumerate(winners)]
        rows += [
            row(rater, 4 + n, winner, other, one, "repeat", repeats=n) for n, winner in enumerate(np.roll(winners, 1))
        ]
    found, chance = self_consistency(pd.DataFrame(rows).astype({"repeats": "Int64"}))
    assert (found.estimate, chance) == (0.5, pytest.approx(0.5))


def test_agreement_is_one_where_all_agree_and_about_zero_by_chance():
    rng = np.random.default_rng(0)
    item_value = rng.choice([0.0, 0.5, 1.0], 40)
    frame = pd.DataFrame(
        [(r, i, item_value[i]) for r in range(5) for i in range(40)], columns=["rater", "item", "value"]
    )
    assert agreement(frame) == pytest.approx(1)
    assert abs(agreement(frame.assign(value=rng.choice([0.0, 0.5, 1.0], len(frame))))) < 0.15
    assert agreement(frame.assign(value=1.0)) is None
    assert agreement(frame[frame["rater"] == 0]) is None


def test_naive_intervals_are_those_of_the_books():
    exact, wilson = naive(8, 10, "beta"), naive(8, 10, "wilson")
    assert (exact.low, exact.high) == pytest.approx(stats.binomtest(8, 10).proportion_ci(method="exact"))
    assert (wilson.low, wilson.high) == pytest.approx(stats.binomtest(8, 10).proportion_ci(method="wilson"))
    assert "naive" in exact.scope
    assert naive(0, 0, "beta") is None


def test_a_side_bias_is_seen_and_moves_no_result():
    votes = many(20)
    main = votes["kind"] == "main"
    votes.loc[main, "winner"], votes.loc[main, "choice"] = votes.loc[main, "left"], "left"
    found = analyse(make_study(), votes)
    assert found.left.estimate == 1
    assert found.pairs[0].share.holds(0.5)


def test_a_study_whose_raters_are_all_excluded_has_no_primary_share_but_one_of_everyone():
    found = analyse(make_study(), many(5, careless=range(5)))
    pair = found.pairs[0]
    assert (pair.share, pair.wilson, pair.wins, pair.alpha) == (None, None, 0, None)
    assert pair.everyone.n == 45
    assert "Too few raters" in report(found, PEOPLE)


def test_a_drift_over_the_session_is_seen():
    rows = [row(r, p, "ours" if (p >= 6) ^ (r == p) else "theirs") for r in range(8) for p in range(12)]
    found = analyse(make_study(), pd.DataFrame(rows).astype({"repeats": "Int64"}))
    assert found.pairs[0].late_minus_early.estimate > 0.6
    assert found.pairs[0].late_minus_early.low > 0


def test_mask_areas_are_corrected_by_holm():
    votes = many(30)
    areas = by_area(votes[votes["kind"] == "main"], "ours", "theirs")
    assert areas["class"].tolist() == ["1-10", "10-20", "20-30"]
    order = areas["p"].argsort().to_numpy()
    expected = np.minimum(1, np.maximum.accumulate(areas["p"].to_numpy()[order] * [3, 2, 1]))
    assert areas["p_holm"].to_numpy()[order] == pytest.approx(expected)


def test_one_rater_s_votes_are_counted_but_not_generalised():
    found = analyse(make_study(), many(1))
    assert found.pairs[0].share is None
    assert "too few raters" in found.pairs[0].verdict
    assert "–" in report(found, PEOPLE)


def test_no_main_votes_and_another_question_s_are_refused():
    votes = many()
    with pytest.raises(MedfeError, match="no answer to a main trial"):
        analyse(make_study(), votes[votes["kind"] == "catch"])
    with pytest.raises(MedfeError, match="expected 'closer'"):
        analyse(make_study(), votes.assign(question="real"))


def test_the_verdict_names_the_preferred_method_only_where_the_interval_leaves_out_one_half():
    clear = analyse(make_study(), many(40)).pairs[0]
    assert clear.verdict.startswith("ours is preferred (ours: ")
    assert not clear.share.holds(0.5)
    unclear = analyse(make_study(), many(3)).pairs[0]
    assert unclear.share.holds(0.5)
    assert unclear.verdict.startswith("no preference shown")


def test_strengths_of_three_methods_are_choix_s_and_their_order_that_of_the_wins():
    votes = many(40, methods=("a", "b", "c"))
    main = votes[votes["kind"] == "main"]
    table = bradley_terry(main, ["a", "b", "c"], resamples=50)
    decided = main[main["winner"] != TIE]
    names = {"a": 0, "b": 1, "c": 2}
    loser = np.where(decided["winner"] == decided["left"], decided["right"], decided["left"])
    data = [(names[w], names[x]) for w, x in zip(decided["winner"], loser, strict=True)]
    assert table["method"].tolist() == ["a", "b", "c"]
    assert table["strength"].to_numpy() == pytest.approx(choix.ilsr_pairwise(3, data, alpha=0.01), abs=1e-6)
    assert (table["low"] < table["strength"]).all()
    assert (table["strength"] < table["high"]).all()


def test_without_two_raters_who_decided_something_there_is_no_ranking():
    votes = pd.DataFrame([row(0, 0, "a", "a", "b"), row(0, 1, "c", "a", "c"), row(1, 0, TIE, "b", "c")])
    for rows in (votes, votes[votes["winner"] == TIE], votes[:0]):
        assert bradley_terry(rows, ["a", "b", "c"]) is None


def test_the_report_says_what_was_peeked_and_names_every_part():
    full = analyse(make_study(("a<b", "b", "c")), many(20, methods=("a<b", "b", "c")))
    ranking = bradley_terry(many(5, methods=("a<b", "b", "c")).query("kind == 'main'"), ["a<b", "b", "c"], resamples=20)
    page = report(full, PEOPLE, ranking)
    for part in ("Wins, ties, losses", "Naive intervals", "Ranking", "By mask area", "Krippendorff", "catch trials",
                 "repetitions answered alike", "left picture chosen", "ties as ½", "nobody excluded"):  # fmt: skip
        assert part in page
    assert "a&lt;b" in page
    assert "<b against" not in page
    assert "25 people agreed to take part; 3 answered nothing, and 2 withdrew" in page
    assert "may still answer" not in page
    going_on = report(full, replace(PEOPLE, going_on=2), ranking)
    assert "2 raters may still answer: what this page says can change." in going_on
    assert "0.000" not in page
    assert "Peeked" not in page
    assert "Peeked" in report(analyse(make_study(target_votes=91), many()), PEOPLE)
    assert "http://" not in page.replace("http://www.w3.org", "").replace("http://purl.org", "").replace(
        "http://creativecommons.org", ""
    )
    assert "nan" not in page.lower().replace("provenance", "")


def test_figures_are_equal_for_equal_data():
    found = analyse(make_study(), many(20))
    assert share_figure(found.pairs) == share_figure(found.pairs)
    assert area_figure(found.areas, "ours").startswith("<svg")
