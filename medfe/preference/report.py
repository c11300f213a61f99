"""The report of a study: one HTML page that needs no other file."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import pandas as pd

from medfe.evaluation.html_parts import section, table
from medfe.evaluation.report_style import CSS
from medfe.evaluation.statistics import Interval
from medfe.preference.analysis import Analysis, PairResult
from medfe.preference.figures import area_figure, share_figure
from medfe.preference.records import Participation


def report(analysis: Analysis, participation: Participation, ranking: pd.DataFrame | None = None) -> str:
    """Return the page.

    Args:
        analysis: Results.
        participation: Who took part, and who left.
        ranking: Strengths of three methods or more (see `medfe.preference.ranking`).
    """
    sections = [
        _head(analysis), _shares(analysis), _ranking(ranking), _areas(analysis), _quality(analysis),
        _raters(analysis, participation),
        _recipe(analysis),
    ]  # fmt: skip
    body = "\n".join(part for part in sections if part)
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>Preference study: {escape(_names(analysis))}</title>\n<style>{CSS}</style>\n</head>\n"
        f"<body>\n<main>\n{body}\n</main>\n</body>\n</html>\n"
    )


def _head(analysis: Analysis) -> str:
    design, first = analysis.study.design, analysis.pairs[0]
    parts = [
        "<header>", "<h1>Preference study</h1>",
        f'<p class="lead">{escape(_names(analysis))}: “{escape(analysis.study.question.text)}” '
        f"{_count(analysis.answers, 'answer')} of {_count(analysis.raters, 'rater')} on "
        f"{_count(len(analysis.study.items), 'picture')} at {analysis.study.image_size}×{analysis.study.image_size}, "
        "blind, sides and order balanced.</p>",
        f'<div class="answer"><p class="label">Primary: {escape(first.first)} against {escape(first.second)}</p>'
        f"<p>{escape(_sentence(first.verdict))}</p></div>",
    ]  # fmt: skip
    if analysis.peeked:
        parts.append(
            '<p class="warn"><strong>Peeked.</strong> These results were looked at after '
            f"{analysis.answers} of {design.target_votes} answers. Whoever stops a study because of what they see "
            "finds differences that are not there; intervals and p-values hold for the planned number of answers "
            "alone.</p>"
        )
    return "\n".join([*parts, "</header>"])


def _shares(analysis: Analysis) -> str:
    rows = [
        [pair.first, pair.second, str(pair.wins), str(pair.ties), str(pair.losses), interval(pair.share),
         interval(pair.ties_as_half), interval(pair.everyone), _p(pair)]
        for pair in analysis.pairs
    ]  # fmt: skip
    naive = [[f"{p.first} against {p.second}", interval(p.wilson), interval(p.exact)] for p in analysis.pairs]
    heads = ["first", "second", "wins", "ties", "losses", "share of wins", "ties as ½", "nobody excluded", "p"]
    return section([
        "<h2>Wins, ties, losses</h2>",
        f'<figure class="wide">{share_figure(analysis.pairs)}</figure>',
        table(heads, rows, words=(0, 1)),
        '<p class="note">Of the first method, on main trials; catch trials and repetitions never enter. “Share of '
        "wins” is the primary number: without ties, without excluded raters. Its interval generalises over raters and "
        "images: variance clustered by rater, plus by image, minus by their cells, t with min(raters, images) − 1 "
        "degrees of freedom."
        + (" Pairs after the first are secondary: their p-values are Holm's." if len(analysis.pairs) > 1 else "")
        + "</p>",
        "<h2>Naive intervals</h2>",
        table(["pair", "Wilson", "exact binomial"], naive, words=(0,)),
        '<p class="note">They take every vote for independent, although votes of one rater and votes on one image '
        "resemble each other. They are too narrow, and stand here for comparison with reports that print them.</p>",
    ])  # fmt: skip


def _ranking(ranking: pd.DataFrame | None) -> str:
    if ranking is None:
        return ""
    rows = [
        [str(place + 1), row["method"], f"{row['strength']:+.2f}\n{row['low']:+.2f} … {row['high']:+.2f}"]
        for place, row in enumerate(ranking.to_dict("records"))
    ]
    return section([
        "<h2>Ranking</h2>",
        table(["", "method", "strength"], [[_minus(cell) for cell in row] for row in rows], words=(1,)),
        '<p class="note">Bradley–Terry strengths from votes without ties, log-odds against the average method; '
        "intervals from a bootstrap of whole raters. A difference of 1 means 73 % of wins.</p>",
    ])  # fmt: skip


def _areas(analysis: Analysis) -> str:
    areas, first = analysis.areas, analysis.pairs[0]
    if not len(areas):
        return ""
    rows = [
        [row["class"], str(row["votes"]), _share(row["share"], row["low"], row["high"]),
         _p_value(row["p"]), _p_value(row["p_holm"])]
        for row in areas.to_dict("records")
    ]  # fmt: skip
    return section([
        "<h2>By mask area</h2>",
        f'<figure class="wide">{area_figure(areas, first.first)}</figure>' if len(areas) > 1 else "",
        table(["hole, %", "votes", "share of wins", "p", "p, Holm"], rows, words=(0,)),
        f'<p class="note">{escape(first.first)} against {escape(first.second)}, without ties; secondary.</p>',
    ])  # fmt: skip


def _quality(analysis: Analysis) -> str:
    consistent = interval(analysis.consistent)
    chance = "" if analysis.consistent is None else f"; {100 * analysis.by_chance:.0f} % by chance alone"
    rows = [
        [
            "left picture chosen",
            interval(analysis.left),
            "side bias; sides are balanced, so it moves no other number",
        ],
        ["repetitions answered alike", consistent, "the same pair with sides swapped" + chance],
    ]
    for pair in analysis.pairs:
        name = f"{pair.first} against {pair.second}"
        rows += [
            [f"agreement, {name}", "–" if pair.alpha is None else _minus(f"{pair.alpha:.2f}"),
             "Krippendorff's alpha between raters, ordinal: 1 perfect, 0 by chance"],
            [f"late − early, {name}", interval(pair.late_minus_early, sign=True),
             "share of wins in the second half of sessions minus the first"],
        ]  # fmt: skip
    low, middle, high = (value / 1000 for value in analysis.milliseconds)
    rows += [
        ["time to an answer", f"{middle:.1f} s\n{low:.1f} … {high:.1f} s", "median, and 10 % and 90 % quantiles"],
        ["pictures enlarged", f"{100 * analysis.zoomed:.0f} %", "share of answers"],
        [
            "narrow windows",
            f"{100 * analysis.phones:.0f} %",
            "share of answers from windows below 700 pixels, as on phones",
        ],
    ]
    return section(["<h2>How people answered</h2>", table(["", "value", ""], rows, words=(0, 2))])


def _raters(analysis: Analysis, participation: Participation) -> str:
    design, catches = analysis.study.design, analysis.catches
    rows = [
        [f"rater {row['rater']}", str(row["answered"]), str(row["failed"]), "excluded" if row["excluded"] else ""]
        for row in catches.to_dict("records")
    ]
    unchecked = int((catches["answered"] == 0).sum())
    kept = f" {_count(unchecked, 'rater')} without an answered catch trial cannot be judged, and count." * (
        unchecked > 0
    )
    going_on = participation.going_on
    later = f" {_count(going_on, 'rater')} may still answer: what this page says can change." * (going_on > 0)
    return section([
        "<h2>Raters and catch trials</h2>",
        f"<p>{_count(participation.joined, 'person', 'people')} agreed to take part; {participation.silent} answered "
        f"nothing, and {participation.withdrawn} withdrew, whose answers were deleted. That leaves "
        f"{_count(analysis.raters, 'rater')}, {analysis.finished} of them with all {design.trials} trials answered; "
        f"{len(analysis.excluded)} excluded by the rule fixed beforehand: more than "
        f"{100 * design.max_catch_failures:g} % of their answers to catch trials failed. In a catch trial the "
        f"photograph itself stands against a bad filling; any answer but the photograph fails.{kept}{later}</p>",
        "<details><summary>Catch trials by rater</summary>",
        table(["rater", "catch trials", "failed", ""], rows, words=(0, 3)), "</details>",
    ])  # fmt: skip


def _recipe(analysis: Analysis) -> str:
    study = analysis.study
    methods = [[method.name, method.source, method.digest] for method in study.methods]
    settings = study.design.model_dump()
    settings |= {"masks": study.masks, "data": study.data, "created": study.created, "study": study.digest}
    return section([
        "<h2>How it was made</h2>",
        "<p>Pictures, methods, question, texts, number of trials, target and exclusion rule were frozen before the "
        "first vote. The pictures are square PNGs of equal length; names, sizes and answers of the server tell nothing "
        "about the method before a vote is committed.</p>",
        table(["method", "made from", "digest"], methods, words=(0, 1, 2)),
        "<details><summary>Settings</summary>",
        table(["setting", "value"], [[name, str(value)] for name, value in settings.items()], words=(0, 1)),
        "</details>",
    ])  # fmt: skip


def interval(value: Interval | None, *, sign: bool = False) -> str:
    """Return an interval of shares for a cell of a table, on two lines; differences in percentage points."""
    if value is None:
        return "–"
    return _share(value.estimate, value.low, value.high, sign)


def _share(estimate: float, low: float, high: float, sign: bool = False) -> str:
    form, unit = ("+.1f", " pp") if sign else (".1f", " %")
    numbers = [_minus(format(100 * number, form)) for number in (estimate, low, high)]
    return f"{numbers[0]}{unit}\n{numbers[1]} … {numbers[2]}"


def _p(pair: PairResult) -> str:
    if pair.share is None:
        return "–"
    return _p_value(pair.share.p_value) if pair.p_holm is None else f"{_p_value(pair.p_holm)} (Holm)"


def _p_value(value: float) -> str:
    return "< 0.001" if value < 0.0005 else f"{value:.3f}"


def _names(analysis: Analysis) -> str:
    names: Sequence[str] = [method.name for method in analysis.study.methods]
    return ", ".join(names)


def _count(number: int, noun: str, plural: str = "") -> str:
    return f"{number} {noun if number == 1 else plural or noun + 's'}"


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + "." if text[:2] in ("no", "to") else text + "."


def _minus(text: str) -> str:
    return text.replace("-", "−")
