"""The report of an experiment, Markdown."""

from __future__ import annotations

import pandas as pd

from medfe.evaluation.markdown import markdown
from medfe.evaluation.methods import BASELINES
from medfe.evaluation.names import heading, number
from medfe.experiments.comparison import method_values
from medfe.experiments.contrasts import DESCRIPTIVE, NOT_SHOWN, PRIMARY, SECONDARY
from medfe.experiments.entry import Experiment
from medfe.experiments.records import EXCLUDED, Record
from medfe.experiments.tables import done

SHOWN = ("kid_efficientnet_lite2", "fd_efficientnet_lite2", "l1_hole", "psnr_hole", "ssim_hole")
"""Metrics in the report's tables; all are in the CSV files."""


def report(experiment: Experiment, records: dict[str, Record], tables: dict[str, pd.DataFrame]) -> str:
    """Return the report.

    Args:
        experiment: What was asked.
        records: What there is.
        tables: As `medfe.experiments.summary` makes them.
    """
    parts = [
        f"# Experiment `{experiment.name}`", experiment.question, " ".join(experiment.notes),
        _state(experiment, records), _primary(tables), _arms(tables), _tested(tables), _described(tables),
        _comparison(tables), _matching(tables), _autoencoders(tables), _reconstruction(tables), _times(tables),
        _origin(experiment, records),
    ]  # fmt: skip
    return "\n\n".join(part for part in parts if part) + "\n"


def _contrasts(tables: dict[str, pd.DataFrame], role: str) -> pd.DataFrame:
    table = tables.get("contrasts")
    return pd.DataFrame() if table is None or table.empty else table[table["role"] == role]


def _p(value: float) -> str:
    return "–" if pd.isna(value) else f"{value:.3g}"


def _state(experiment: Experiment, records: dict[str, Record]) -> str:
    missing = [f"`{entry.name}`" for entry in experiment.entries if entry.name not in records]
    good = len(done(records))
    excluded = f", {len(records) - good} excluded" if good < len(records) else ""
    lines = [f"{good} of {len(experiment.entries)} runs are done{excluded}."]
    if missing:
        lines.append(f"**Missing:** {', '.join(missing)}.")
    for name, record in records.items():
        if record["status"] == EXCLUDED:
            lines.append(f"**Excluded:** `{name}` ({record['reason']}).")
    return "\n\n".join(lines)


def _primary(tables: dict[str, pd.DataFrame]) -> str:
    table = _contrasts(tables, PRIMARY)
    if table.empty:
        return ""
    row = table.iloc[0]
    metric = row["metric"]
    claim = f"The claim is **{row['claim']}** at this scale. " if row["claim"] else ""
    lines = ["## Primary endpoint", claim + row["verdict"][:1].upper() + row["verdict"][1:] + "."]
    if row["claim"]:  # all registered seeds are there
        values = {name: number(row[name], metric, difference=True) for name in ("difference", "low", "high")}
        lines.append(
            f"{heading(metric)}, {row['masks']} masks, `{row['first']}` − `{row['second']}`: {values['difference']}, "
            f"{100 * row['level']:g} % interval {values['low']} to {values['high']} ({row['interval']}, n = {row['n']} "
            f"seeds, p = {row['p_value']:.3g}). Between seeds the difference has a standard deviation of "
            f"{number(row['sd'], metric)}. With power {100 * row['power']:g} % this many seeds, spread as they "
            f"are, show a difference of {number(row['detectable'], metric)}; the size of the claim (margin) is "
            f"{number(row['margin'], metric)}"
            + (", which is smaller" if row["detectable"] > row["margin"] else "")
            + (": “not shown” says little." if row["claim"] == NOT_SHOWN and row["detectable"] > row["margin"] else ".")
        )
    return "\n\n".join(lines)


def _arms(tables: dict[str, pd.DataFrame]) -> str:
    table = tables.get("arms")
    if table is None:
        return ""
    metrics = tables["metrics"]
    counted = sorted(metrics["photographs"].unique())
    several = len(counted) > 1  # then every row says how many
    said = "" if several else f"{counted[0]} photographs; "
    parts = ["## Arms", f"Mean over seeds ± standard deviation between seeds. {said}L1 in units of [0, 1]."]
    shown = [metric for metric in SHOWN if metric in set(table["metric"])]
    for masks in dict.fromkeys(table["masks"]):
        rows = []
        for arm in dict.fromkeys(table["arm"]):
            part = table[(table["arm"] == arm) & (table["masks"] == masks)].set_index("metric")
            if not part.empty:
                own = metrics[metrics["arm"] == arm]
                small = " (small sample)" * bool(own["small"].any())
                cells = [_spread(part.loc[name], name) + small * _is_frechet(name) for name in shown]
                photographs = own["photographs"].unique() if several else []
                rows.append([f"`{arm}`", part["n"].iloc[0], *[" or ".join(map(str, photographs))] * several, *cells])
        head = ["arm", "seeds", *["photographs"] * several, *map(heading, shown)]
        parts += [f"### {masks} masks", markdown(head, rows)]
    return "\n\n".join(parts)


def _is_frechet(metric: str) -> bool:
    return metric.startswith(("fd_", "fid"))


def _spread(row: pd.Series, metric: str) -> str:
    mean = number(row["mean"], metric)
    return mean if pd.isna(row["sd"]) else f"{mean} ± {number(row['sd'], metric)}"


def _tested(tables: dict[str, pd.DataFrame]) -> str:
    table = _contrasts(tables, SECONDARY)
    if table.empty:
        return ""
    words = "Paired by seed; p-values by Holm over all of them together, intervals are not corrected."
    return f"## Secondary endpoints\n\n{words}\n\n{_differences(table)}"


def _described(tables: dict[str, pd.DataFrame]) -> str:
    table = _contrasts(tables, DESCRIPTIVE)
    table = table[table["metric"].isin(SHOWN)] if not table.empty else table
    if table.empty:
        return ""
    return "## Not tested\n\nDifferences for reading, without verdicts.\n\n" + _differences(table)


def _differences(table: pd.DataFrame) -> str:
    rows = []
    for _, row in table.iterrows():
        metric, words = row["metric"], row["verdict"]
        interval = " to ".join(number(row[end], metric, difference=True) for end in ("low", "high"))
        rows.append([
            f"`{row['first']}` − `{row['second']}`", heading(metric), row["masks"], row["n"],
            number(row["difference"], metric, difference=True), "–" if pd.isna(row["low"]) else interval,
            _p(row["p_value"]), _p(row["p_holm"]), words.rpartition(" (difference")[0] or words or "–",
        ])  # fmt: skip
    header = ["contrast", "metric", "masks", "n", "difference", "95 % interval", "p", "p (Holm)", "verdict"]
    return markdown(header, rows)


def _comparison(tables: dict[str, pd.DataFrame]) -> str:
    table = tables.get("comparison_contrasts")
    if table is None:
        return ""
    rows = [
        [
            f"`{row['first']}` − `{row['second']}`", heading(row["metric"]), row["masks"],
            number(row["difference"], row["metric"], difference=True),
            " to ".join(number(row[end], row["metric"], difference=True) for end in ("low", "high")),
        ]
        for _, row in table[table["metric"].isin([*SHOWN, "psnr", "ssim", "l1"])].iterrows()
    ]  # fmt: skip
    trained = set(tables["comparison_sets"]["method"]) - set(BASELINES)
    title = "Against each other and baselines" if trained else "Baselines"
    units = "photographs of one training each; other seeds may differ by more" if trained else "photographs"
    words = (
        f"Over {units}. A Fréchet distance has a bias of order 1/N that differs between methods, and is not removed."
    )
    head = ["contrast", "metric", "masks", "difference", "95 % interval"]
    return f"## {title}\n\n{words}\n\n{_methods(tables)}\n\n{markdown(head, rows)}"


def _methods(tables: dict[str, pd.DataFrame]) -> str:
    """Return the compared methods' own numbers, baselines among them."""
    table = method_values(tables["comparison_sets"], tables["comparison_means"])
    shown = [metric for metric in SHOWN if metric in set(table["metric"])]
    rows: dict[tuple[str, str], dict[str, str]] = {}
    for row in table.to_dict("records"):
        metric = row["metric"]
        small = " (small sample)" if _is_frechet(metric) and row["small"] else ""
        rows.setdefault((row["method"], row["masks"]), {})[metric] = number(row["value"], metric) + small
    cells = [
        [f"`{method}`", masks, *(found.get(metric, "–") for metric in shown)] for (method, masks), found in rows.items()
    ]
    return markdown(["method", "masks", *map(heading, shown)], cells)


def _matching(tables: dict[str, pd.DataFrame]) -> str:
    table = tables.get("matching")
    if table is None or table.empty:
        return ""
    rows = [
        [
            f"`{row['run']}`", f"{row['weight']:.3g}", f"{row['reference_norm']:.4g}", f"{row['own_norm']:.4g}",
            f"{row['achieved']:.4g}", f"{row['ratio']:.3f}",
        ]
        for _, row in table.iterrows()
    ]  # fmt: skip
    head = ["run", "weight", "‖∂(weight · term)/∂F‖ wanted", "before", "achieved", "achieved / wanted"]
    return f"## Matched strength of the term\n\n{markdown(head, rows)}"


def _autoencoders(tables: dict[str, pd.DataFrame]) -> str:
    table = tables["runs"]
    table = table[(table["arm"] == "autoencoders") & table["texture_l1"].notna()]
    if table.empty:
        return ""
    rows = [
        [f"`{row['run']}`", f"{row['texture_l1']:.4f}", f"{row['structure_l1']:.4f}", row["held_out"]]
        for _, row in table.iterrows()
    ]
    head = ["run", "texture", "structure", "photographs"]
    words = "Mean absolute error of the reconstruction, images in [-1, 1]."
    return f"## Auto-encoders\n\n{words}\n\n{markdown(head, rows)}"


def _reconstruction(tables: dict[str, pd.DataFrame]) -> str:
    table = tables.get("reconstruction")
    if table is None:
        return ""
    distance = next(str(name) for name in table if _is_frechet(str(name)))
    rows = [
        [
            row["code"], row["channels"], f"{row['l1']:.4f} ({row['l1_low']:.4f} to {row['l1_high']:.4f})",
            number(row["psnr"], "psnr"), number(row[distance], distance),
        ]
        for _, row in table.sort_values(["channels", "code"]).iterrows()
    ]  # fmt: skip
    words = (
        f"{table['crops'].iloc[0]} crops of {table['photographs'].iloc[0]} photographs, images in [-1, 1]; intervals: "
        "95 %, bootstrap over photographs. A cell is 8×8 pixels, 192 numbers."
    )
    head = ["code", "numbers a cell", "L1", heading("psnr"), heading(distance)]
    return f"## Reconstruction\n\n{words}\n\n{markdown(head, rows)}"


def _times(tables: dict[str, pd.DataFrame]) -> str:
    table = tables.get("times")
    if table is None:
        return ""
    rows = [
        [row["target"], *(f"{row[name]:.0f}" for name in ("milliseconds", "lower_quartile", "upper_quartile"))]
        for _, row in table.iterrows()
    ]
    side, repeats = table["image_size"].iloc[0], table["repeats"].iloc[0]
    words = f"A photograph of {side}×{side} pixels on one thread; milliseconds, of {repeats} runs in turns."
    return f"## Times of a target\n\n{words}\n\n{markdown(['target', 'median', 'lower quartile', 'upper'], rows)}"


def _precision(records: dict[str, Record]) -> str:
    runs: dict[str, list[str]] = {}
    for name, record in records.items():
        if "precision" in record:
            runs.setdefault(record["precision"], []).append(f"`{name}`")
    said = [f"{one} ({', '.join(names)})" if len(runs) > 1 else one for one, names in runs.items()]
    words = f"precision {', '.join(said)}; " if said else ""
    if "bf16-mixed" in runs:
        words += "in bf16-mixed, features and targets are compared after rounding to eight significant bits; "
    return words


def _origin(experiment: Experiment, records: dict[str, Record]) -> str:
    commits = ", ".join(dict.fromkeys(f"`{one}`" for record in records.values() for one in record["commit"].split()))
    owners = dict.fromkeys(record["experiment"] for record in records.values())
    folders = ", ".join(f"`notebooks/results/runs/{owner}/`" for owner in owners)
    precision = _precision(records)
    versions: dict[str, dict[str, None]] = {}
    for record in records.values():
        for name, found in record["versions"].items():
            versions.setdefault(name, {})[found] = None
    listed = ", ".join(f"{name} {' and '.join(found)}" for name, found in versions.items())
    return "\n\n".join([
        "## How it was made",
        f"    medfe reproduce {experiment.name} --data $MEDFE_DATA --out runs\n"
        f"    medfe reproduce {experiment.name} --data $MEDFE_DATA --out runs --summarize",
        f"The first trains and evaluates, the second makes these tables from the records in "
        f"{folders}. Run at commit {commits}; {precision}"
        f"{listed}. Settings, digests and seeds of every run are in its record.",
    ])  # fmt: skip
