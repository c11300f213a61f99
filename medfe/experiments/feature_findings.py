"""The claims about what the features hold, each with the rule that tells what channel tables say of it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

from medfe.evaluation.statistics import Interval
from medfe.experiments.contrasts import CONTRADICTED, NOT_SHOWN, SUPPORTED
from medfe.experiments.finding_tables import ARMS, Finding, Tables, by_feature, by_seed, over_seeds, paired_rows

_UNUSED = 0.1  # directions whose exchange does at most this share of what exchanging all does are called unused


def rank(tables: Tables) -> Finding:
    """Return what is found of claim 4: how many directions the term sees."""
    finding = Finding(
        "Three of the channels' directions satisfy MEDFE's term; all others get no gradient from it.",
        "Rank of the term's gradient in a feature, over positions of many photographs: supported if it is 3 in both "
        "features of every training. It follows from the loss and could not come out otherwise.",
        "main_channel_summary",
    )
    table = paired_rows(tables, "gradient_rank")
    if table is None:
        return finding
    own, other = (table[table["arm"] == arm]["gradient_rank"] for arm in ("low_resolution", "autoencoder"))
    seeds_of_both = table.groupby("seed")["gradient_rank"].size()
    return finding._replace(
        verdict=SUPPORTED if (own == 3).all() else CONTRADICTED,
        effect=f"rank {_range(own)}; of MEDFE+CAE's term {_range(other)}", n=_listed(seeds_of_both),
    )  # fmt: skip


def unused(tables: Tables) -> Finding:
    """Return what is found of claim 5: whether the directions that it does not see are used."""
    finding = Finding(
        "So those other directions are left without use.",
        "Change of the filling when what lies outside the term's three directions is exchanged with another "
        "photograph, as a share of the change when all is exchanged (mean of both features): supported if the interval "
        f"over seeds lies below {100 * _UNUSED:g} %, contradicted if above, else not shown. Nearly all directions lie "
        "outside any three, so read it beside three random ones, and beside what exchanging the three alone does: the "
        "verdict says that the rest is not unused, not that the three do little.",
        "main_channel_summary",
    )
    parts = {}
    for name in ("all", "loss_outside", "random_outside", "loss_inside", "random_inside"):
        found_parts = by_seed(tables, f"permuted_{name}")
        if found_parts is None:
            return finding
        parts[name] = found_parts["low_resolution"]
    whole = parts.pop("all")
    shares = {name: part / whole for name, part in parts.items()}
    found = over_seeds(shares["loss_outside"], np.zeros(len(whole)))
    verdict = SUPPORTED if found.high < _UNUSED else CONTRADICTED if found.low > _UNUSED else NOT_SHOWN
    mean = {name: f"{100 * share.mean():.1f} %" for name, share in shares.items()}
    return finding._replace(
        verdict=verdict, n=_listed(whole),
        effect=f"{_percent(found)} of the change when all is exchanged; outside three random directions "
        f"{mean['random_outside']}; inside the term's three "
        f"{mean['loss_inside']}, inside three random ones {mean['random_inside']}",
    )  # fmt: skip


_KNOWN_RULE = (
    "R² of the pixels under a known cell, read linearly out of its feature (mean of both features), `autoencoder` − "
    "`low_resolution` paired by seed: supported if the interval lies above 0, contradicted if below, else not shown. "
    "Head, strength of the term and structure image differ too, so the number of channels need not be the cause: "
    "`random_encoder` compares all of them as well."
)


def information(area: str) -> Callable[[Tables], Finding]:
    """Return the rule of claims 6 and 7: how much of the image the features hold in `known` or `hole` cells."""

    def rule(tables: Tables) -> Finding:
        finding = Finding(
            f"MEDFE+CAE's features, compared in all channels, hold more of the image than MEDFE's, in {area} cells.",
            _KNOWN_RULE if area == "known" else "The same of cells of the hole, with the same reservation.",
            "main_channel_summary",
        )
        found = by_seed(tables, f"probe_{area}_all")
        if found is None:
            return finding
        interval = over_seeds(found["autoencoder"], found["low_resolution"])
        verdict = SUPPORTED if interval.low > 0 else CONTRADICTED if interval.high < 0 else NOT_SHOWN
        means = " − ".join(f"{found[arm].mean():.3f}" for arm in ARMS)
        apart = "; ".join(
            f"{feature} {_interval(one)}" for feature, one in by_feature(tables, f"probe_{area}_all").items()
        )
        return finding._replace(
            verdict=verdict, n=_listed(found["autoencoder"]),
            effect=f"R² {means} = {_interval(interval)}; {apart}{_redrawn(tables, f'probe_{area}_all', found)}",
        )  # fmt: skip

    return rule


def _redrawn(tables: Tables, column: str, found: dict[str, pd.Series]) -> str:
    """Return the mean of a column of the channel tables in the arm `random_encoder`, in words, if it is there.

    Args:
        tables: Results.
        column: Name.
        found: The column in both arms, which it is compared with on the seeds that it has.
    """
    table = tables.read("main_channel_summary", column)
    rows = pd.DataFrame() if table is None else table[table["arm"] == "random_encoder"]
    if rows.empty:
        return ""
    own = rows.groupby("seed")[column].mean()
    original = found["low_resolution"].reindex(own.index).mean()
    word = "less" if own.mean() < original else "more"
    return (
        f"; re-drawn encoders, compared in all channels too, {own.mean():.3f}, {word} than MEDFE's {original:.3f} "
        f"({len(own)} seeds)"
    )


def _listed(values: pd.Series) -> str:
    return f"{len(values)} seeds ({' '.join(map(str, values.index))})"


def _range(values: pd.Series) -> str:
    return f"{values.min():g}" if values.min() == values.max() else f"{values.min():g} to {values.max():g}"


def _interval(found: Interval) -> str:
    return f"{found.estimate:+.3f} ({found.low:+.3f} to {found.high:+.3f})".replace("-", "−")


def _percent(found: Interval) -> str:
    return f"{100 * found.estimate:.1f} % ({100 * found.low:.1f} to {100 * found.high:.1f})"
