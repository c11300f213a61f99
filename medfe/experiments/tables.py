"""Tables of an experiment, made of its records alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from medfe.experiments.entry import Experiment
from medfe.experiments.records import DONE, Record, find_record, read_record

IDENTITY = ("run", "arm", "seed")
ORIGIN = ("digest", "commit")
_NOT_METRICS = frozenset({*IDENTITY, *ORIGIN, "masks", "images", "photographs", "mask_area", "left_out", "small"})


def records_of(experiment: Experiment, results: Path) -> dict[str, Record]:
    """Return the records that are there, by run, in the order of the experiment.

    Raises:
        MedfeError: if one is damaged or was made with other settings.
    """
    found = {entry.name: read_record(results, experiment, entry) for entry in experiment.entries}
    return {name: record for name, record in found.items() if record is not None}


def runs_table(records: dict[str, Record]) -> pd.DataFrame:
    """Return a row for each run: how it was trained, and its auto-encoders' L1 on held-out photographs.

    `last_TERM` is a term of the objective at the last step, unweighted, of one batch. Of a pair of auto-encoders
    `wall_seconds` and images are those of both, and `last_KIND_l1` the last training error of each.
    """
    rows = []
    for record in records.values():
        training = record.get("training", {})
        pair = record.get("autoencoders", {})
        row: dict[str, Any] = {name: record[name] for name in (*IDENTITY, "status")}
        row |= {"reason": record.get("reason", ""), "weight": record.get("weight")}
        parts = [training] if "terms" in training else list(training.values())
        sums = {"images": "images", "steps": "steps", "seconds": "wall_seconds"}
        row |= {column: sum(part[name] for part in parts) if parts else None for name, column in sums.items()}
        row |= {name: pair.get(name) for name in ("texture_l1", "structure_l1", "held_out")}
        if "terms" in training:
            row |= {f"last_{name}": value for name, value in training["terms"].items()}
        else:
            row |= {f"last_{kind}_l1": part["terms"]["l1"] for kind, part in training.items()}
        row |= {"precision": record.get("precision"), **_origin(record)}
        row["evaluation_commit"] = record["evaluation_commit"]
        rows.append(row)
    table = pd.DataFrame(rows)
    counts = table.columns.intersection(["images", "steps"])
    return table.astype(dict.fromkeys(counts, "Int64"))  # whole numbers beside those that were not trained


def rows_of(records: dict[str, Record], part: str) -> pd.DataFrame:
    """Return the rows of a part of the records, `metrics` or `areas`, each with its run and where it comes from."""
    rows = [
        {**{name: record[name] for name in IDENTITY}, **row, **_origin(record)}
        for record in records.values()
        for row in record.get(part, ())
    ]
    return pd.DataFrame(rows)


def matching_table(records: dict[str, Record]) -> pd.DataFrame:
    """Return the gradient norms by which weights were matched, and the ratio that was reached."""
    rows = [
        {**{name: record[name] for name in IDENTITY}, **record["matching"], **_origin(record)}
        for record in records.values()
        if "matching" in record
    ]
    return pd.DataFrame(rows)


def metric_names(metrics: pd.DataFrame) -> list[str]:
    """Return the columns of the metrics table that are metrics."""
    return [name for name in metrics.columns if name not in _NOT_METRICS]


def arms_table(metrics: pd.DataFrame) -> pd.DataFrame:
    """Return mean and standard deviation over the seeds that have the metric, a row for each (arm, masks, metric)."""
    rows = []
    for (arm, masks), part in metrics.groupby(["arm", "masks"], sort=False):
        for metric in metric_names(metrics):
            there = part.dropna(subset=[metric])  # without its judge's weights a run has no such number
            if there.empty:
                continue
            values = there[metric]
            rows.append({
                "arm": arm, "masks": masks, "metric": metric, "seeds": " ".join(map(str, sorted(there["seed"]))),
                "n": len(values), "mean": values.mean(), "sd": values.std(ddof=1),
                "digest": joined(there["digest"]), "commit": joined(there["commit"]),
            })  # fmt: skip
    return pd.DataFrame(rows)


def long_tables(experiment: Experiment, results: Path) -> dict[str, pd.DataFrame]:
    """Return the CSV files beside the records, those of one name joined, such as `channels`; none of excluded runs."""
    parts: dict[str, list[pd.DataFrame]] = {}
    for name in done(records_of(experiment, results)):
        record = find_record(results, experiment, experiment[name])
        assert record is not None  # it is among the records
        for path in sorted(record.parent.glob(f"{name}.*.csv")):
            parts.setdefault(path.name.split(".")[-2], []).append(pd.read_csv(path))
    return {name: pd.concat(tables, ignore_index=True) for name, tables in parts.items()}


def done(records: dict[str, Record]) -> dict[str, Record]:
    """Return the records of runs that are not excluded."""
    return {name: record for name, record in records.items() if record["status"] == DONE}


def _origin(record: Record) -> dict[str, Any]:
    return {name: record[name] for name in ORIGIN}


def joined(values: pd.Series) -> str:
    """Return the words of all values, each once."""
    return " ".join(dict.fromkeys(" ".join(map(str, values)).split()))
