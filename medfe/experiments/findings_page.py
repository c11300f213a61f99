"""RESULTS/README.md: the papers' claims, what a difference may come of, and the tables behind it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from medfe.evaluation.markdown import markdown
from medfe.evaluation.names import number
from medfe.experiments.autoencoders import NEAR_LOSSLESS
from medfe.experiments.comparison import method_values
from medfe.experiments.contrasts import DESCRIPTIVE, SECONDARY
from medfe.experiments.finding_tables import NOT_TESTED, NOT_YET, Finding, Tables, better, effect, seeds
from medfe.experiments.findings import findings
from medfe.experiments.registry import EXPERIMENTS
from medfe.training.checkpoint import write_atomically

_KID, _CENTER, _IRREGULAR = "kid_efficientnet_lite2", "center", "irregular"

_TITLE = "# The papers' claims, tested"
_HEAD = """\
Small networks, two CPU cores, faces of 64×64 pixels unless said otherwise: evidence for this scale, not proof for the
papers'. The trainings are short: 20,000 images, 2.5 % of the papers', at a learning rate that is too low for so few
steps: four times that rate takes both networks further, see `rate` below, planned when `main` was known. The losses
are not quite the released code's either, the same for all arms: no style term, an L1 of the hole besides, weaker
adversarial and perceptual terms, slower critics, and EfficientNet-Lite0 instead of VGG-16 (the small presets
of medfe/config.py). The judge, EfficientNet-Lite2, is of the family of that network; no number here is by Inception.
3.6 % of the test faces have [a copy](photographs/README.md#copies) among those trained on, which was found when
`main` was done; it is the same for all arms.

Only rule 1, and the tests that rule 2 counts, were [registered](plan.md) before the first run; the other rules were
written when half of the seeds were known, and claims 3, 6 and 7 got their present words later, with all results known.
One run of claim 1, `autoencoder` of seed 0, was trained again when its numbers were known, for a fault that the
[plan](plan.md) tells; with the first numbers the verdict is the same. Intervals are 95 %, over trainings unless said
otherwise. This page is written from the tables by `medfe reproduce`."""
_FIDELITY = """\
The texture codes that the claims are tested with are not near-lossless (mean absolute error below {limit:g}, images in
[-1, 1]): on photographs of `val` the auto-encoders of `main` reach {texture}. Structure codes, which are
meant to lose texture, reach {structure}."""
_BASELINES = f"""\
Filling by the Navier–Stokes equations, which learns nothing, has on the same test faces a KID ×10³ of
{{{_KID}_center}} with centre and {{{_KID}_irregular}} with irregular holes (MEDFE, mean of {{trainings}} trainings:
{{medfe_{_KID}_center}} and {{medfe_{_KID}_irregular}}), and an L1 in the hole of
{{l1_hole_center}} and {{l1_hole_irregular}} ({{medfe_l1_hole_center}} and {{medfe_l1_hole_irregular}})."""
_SEPARATED = """\
The two networks differ in several things at once; the other arms change fewer. First arm − second, KID, lower is
better. Verdicts are on centre masks alone, corrected by Holm where tested; intervals are not corrected, and irregular
masks are for reading beside them. Strength: the term's pull on the features at the end of training, weight × mean
‖∂L/∂F‖, of the first arm as a multiple of the second's; where it is not 1, a difference may come of that."""
_ANEW = """\
Each is made by the command beside it. The records of the runs count as done: in a clone, `--results NEW_FOLDER` behind
the command trains everything anew."""
_PUBLISHED, _SCENES, _RATE = "published_contrasts", "scenes_contrasts", "rate_contrasts"


class Separation(NamedTuple):
    """One thing that two arms differ in, of those that the comparison of the two networks mixes."""

    cause: str
    first: str
    second: str
    table: str = "main_contrasts"


SEPARATIONS = (
    Separation("Everything at once: MEDFE+CAE against MEDFE", "autoencoder", "low_resolution"),
    Separation("Fidelity of the target, all channels compared", "block_dct_128", "block_dct_3"),
    Separation("Block means in all channels; head and strength differ too", "block_dct_3", "low_resolution"),
    Separation("128 numbers a cell without a network; head and strength differ too", "block_dct_128", "low_resolution"),
    Separation("Head tanh, and the image instead of the smoothed one", "low_resolution_tanh_image", "low_resolution"),
    Separation("No intermediate term", "none", "low_resolution"),
    Separation("Re-drawn encoders, as released, against MEDFE", "random_encoder", "low_resolution"),
    Separation("Re-drawn encoders against trained ones", "random_encoder", "autoencoder"),
    Separation("MEDFE's term as strong as that of MEDFE+CAE", "low_resolution_matched", "low_resolution"),
    Separation("MEDFE+CAE against a term as strong", "autoencoder", "low_resolution_matched"),
    Separation("Defects of the released MEDFE, float32", "low_resolution_published", "low_resolution", _PUBLISHED),
    Separation("Defects of the released MEDFE+CAE, float32", "autoencoder_published", "autoencoder", _PUBLISHED),
    Separation("Four times the rate: MEDFE+CAE against MEDFE", "autoencoder_rate_x4", "low_resolution_rate_x4", _RATE),
    Separation("Natural photographs: MEDFE+CAE against MEDFE", "autoencoder", "low_resolution", _SCENES),
)  # fmt: skip


def write_findings(folder: Path) -> list[Path]:
    """Write FOLDER/README.md from the tables in the folder; return its path, or nothing if no claim has one.

    A README.md of another kind is left as it is.

    Raises:
        MedfeError: if a table is damaged.
    """
    path = folder / "README.md"
    if path.exists() and not path.read_bytes().startswith(_TITLE.encode()):
        return []
    found = findings(folder)
    if all(finding.verdict in (NOT_YET, NOT_TESTED) for finding in found):
        path.unlink(missing_ok=True)  # of tables that are gone
        return []
    tables = Tables(folder)
    rules = [
        f"{index}. {one.rule}" + ("" if tables.read(one.source) is None else f" [`{one.source}.csv`]({one.source}.csv)")
        for index, one in enumerate(found, 1)
    ]
    reports = [
        f"* [{path.stem}]({path.name}): `medfe reproduce {path.stem} --data $MEDFE_DATA --out runs`"
        + _unfinished(tables, path.stem)
        for path in sorted(folder.glob("*.md"))
        if any(folder.glob(f"{path.stem}_*.csv"))
    ]
    reports += [
        f"* `{name}`, no tables yet: {experiment.question} `medfe reproduce {name} --data $MEDFE_DATA --out runs`"
        for name, experiment in EXPERIMENTS.items()
        if name != "smoke" and not (folder / f"{name}.md").exists()
    ]
    if (folder / "gpu.md").exists():
        reports.append("* [The papers' own size, on a GPU](gpu.md): commands, memory and hours; not run")
    text = "\n\n".join([
        _TITLE, _HEAD,
        _claims(found), *_fidelity(tables), *_baselines(tables),
        "## What a difference comes of", _SEPARATED,
        separations_table(folder),
        "## How each verdict is reached", "\n".join(rules),
        "## Reports and tables", _ANEW,
        "\n".join(reports),
    ])  # fmt: skip
    write_atomically(path, text + "\n")
    return [path]


def _unfinished(tables: Tables, name: str) -> str:
    """Return, in words, that runs of an experiment are not there yet, if so."""
    runs, experiment = tables.read(f"{name}_runs", "run"), EXPERIMENTS.get(name)
    if runs is None or experiment is None or len(runs) >= len(experiment.entries):
        return ""
    return f"; {len(runs)} of {len(experiment.entries)} runs are done"


def claims_table(folder: Path, *numbers: int) -> str:
    """Return claims with their verdicts as a Markdown table: those with these numbers, counted from 1, or all.

    Raises:
        MedfeError: if a table in the folder is damaged.
    """
    return _claims(findings(folder), numbers)


def _claims(found: Sequence[Finding], numbers: Sequence[int] = ()) -> str:
    rows = [
        [f"{index}. {one.claim}", f"**{one.verdict}**", one.effect, one.n, one.registered]
        for index, one in enumerate(found, 1)
        if index in numbers or not numbers
    ]
    return markdown(["claim", "verdict", "effect (interval)", "n", "rule registered"], rows, texts=5)


def _fidelity(tables: Tables) -> list[str]:
    """Return how much of a photograph the codes of `main` lose, in words, where that is known."""
    table = tables.read("main_runs", "texture_l1", "structure_l1")
    if table is None:
        return []
    found = table[["texture_l1", "structure_l1"]].dropna()
    if found.empty or found["texture_l1"].max() < NEAR_LOSSLESS:
        return []
    texture, structure = (f"{found[name].min():.3f} to {found[name].max():.3f}" for name in found)
    return [_FIDELITY.format(limit=NEAR_LOSSLESS, texture=texture, structure=structure)]


def _baselines(tables: Tables) -> list[str]:
    """Return what filling without learning reaches on the photographs of `main`, in words, where that is known."""
    own, sets = tables.read("main_arms", "metric", "mean", "n"), tables.read("main_comparison_sets", "metric", "value")
    means = tables.read("main_comparison_means", "metric", "value", "by")
    if own is None or sets is None or means is None:
        return []
    learned = own[own["arm"] == "low_resolution"].set_index(["metric", "masks"])
    other = method_values(sets, means)
    solved = other[other["method"] == "navier_stokes"].set_index(["metric", "masks"])["value"]
    places = [(metric, masks) for metric in (_KID, "l1_hole") for masks in (_CENTER, _IRREGULAR)]
    if not all(place in learned.index and place in solved.index for place in places):
        return []
    told = {"trainings": str(learned["n"][places[0]])}
    for metric, masks in places:
        told[f"{metric}_{masks}"] = number(solved[metric, masks], metric)
        told[f"medfe_{metric}_{masks}"] = number(learned["mean"][metric, masks], metric)
    return [_BASELINES.format(**told)]


def separations_table(folder: Path) -> str:
    """Return the contrasts that change fewer things at once as a Markdown table.

    Raises:
        MedfeError: if a table in the folder is damaged.
    """
    tables = Tables(folder)
    rows = [_row(tables, one) for one in SEPARATIONS]
    head = [
        "what differs",
        "contrast",
        "strength",
        "KID ×10³, centre (interval)",
        "irregular (interval)",
        "n",
        "verdict",
    ]
    return markdown(head, rows, texts=7)


def _row(tables: Tables, one: Separation) -> list[str]:
    contrast = f"`{one.first}` − `{one.second}`"
    row, other = (
        tables.contrast(one.table, first=one.first, second=one.second, metric=_KID, masks=masks)
        for masks in (_CENTER, _IRREGULAR)
    )
    if row is None or (row["role"] == SECONDARY and pd.isna(row["low"])):
        return [one.cause, contrast, "–", "–", "–", "–", NOT_YET]
    if row["role"] == DESCRIPTIVE:
        verdict = NOT_TESTED
    elif row["role"] == SECONDARY:
        corrected = "" if row["low"] <= 0 <= row["high"] else f" after Holm's correction (p = {row['p_holm']:.2g})"
        verdict = {1: "first is better", -1: "second is better", 0: f"no difference shown{corrected}"}[better(row)]
    else:
        verdict = "see 1 and 2"
    values = ["–" if each is None else effect(each).rpartition(": ")[2] for each in (row, other)]
    return [one.cause, contrast, _strength(tables, one, str(row["seeds"]).split()), *values, seeds(row), verdict]


def _strength(tables: Tables, one: Separation, chosen: Sequence[str]) -> str:
    """Return how much stronger the term pulls at the first arm's features, over these seeds, `×3.2`."""
    experiment = one.table.partition("_")[0]
    pulls = tables.read(f"{experiment}_channel_summary", "run", "seed", "arm", "gradient_norm_both")
    weights = tables.read(f"{experiment}_runs", "run", "weight")
    if pulls is None or weights is None:
        return "–"
    rows = pulls.drop_duplicates("run").merge(weights[["run", "weight"]], on="run")
    rows = rows[rows["seed"].astype(str).isin(chosen)]
    first, second = ((part["weight"] * part["gradient_norm_both"]).mean()
                     for part in (rows[rows["arm"] == arm] for arm in (one.first, one.second)))  # fmt: skip
    return f"×{first / second:.2g}" if second > 0 and pd.notna(first) else "–"
