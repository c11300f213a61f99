"""Records: what a finished entry leaves in the results, all that tables need; weights need not be kept for them.

RESULTS/runs/EXPERIMENT/NAME.json     settings, provenance, last losses, metrics
RESULTS/runs/EXPERIMENT/NAME.*.csv    tables of more than a few rows

A run that is in two experiments is recorded in the one that made it, and counts in both.
"""

from __future__ import annotations

import io
import json
import platform
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd

from medfe.errors import MedfeError
from medfe.evaluation.provenance import PACKAGES
from medfe.experiments.entry import Entry, Experiment
from medfe.training.checkpoint import commit, write_atomically

DONE, EXCLUDED = "done", "excluded"
TABLES = "tables"

Record = dict[str, Any]


def record_path(results: Path, experiment: Experiment, entry: Entry) -> Path:
    """Return the file that an entry's record is written to."""
    return results / "runs" / experiment.name / f"{entry.name}.json"


def find_record(results: Path, experiment: Experiment, entry: Entry) -> Path | None:
    """Return the file with an entry's record: its own, or that of a run of another experiment that is the same run.

    The same is what has the same name and the same settings, those of its evaluation and of what it starts from too.
    Damaged records of other experiments are none.
    """
    own = record_path(results, experiment, entry)
    if own.exists():
        return own
    digest = entry.digest(experiment)
    return next((path for path in sorted(results.glob(f"runs/*/{entry.name}.json")) if _is_of(path, digest)), None)


def _is_of(path: Path, digest: str) -> bool:
    try:
        return bool(_load(path)["digest"] == digest)
    except MedfeError:
        return False


def read_record(results: Path, experiment: Experiment, entry: Entry) -> Record | None:
    """Return the record of an entry, or None where there is none yet.

    Raises:
        MedfeError: if it is damaged, or was made with other settings, naming them.
    """
    path = find_record(results, experiment, entry)
    if path is None:
        return None
    record = _load(path)
    if record["digest"] != entry.digest(experiment):
        differing = _differences(record["settings"], json.loads(json.dumps(entry.settings(experiment))))
        raise MedfeError(
            f"{path}: made with other settings ({', '.join(differing[:4])}); give another --results and --out, or "
            "delete the record to run the entry again"
        )
    return record


def _load(path: Path) -> Record:
    try:
        record: Record = json.loads(path.read_text(encoding="utf-8"))
        _ = [record[name] for name in ("settings", "digest", "status", "commit")]
    except (ValueError, KeyError, TypeError) as error:
        raise MedfeError(f"{path}: damaged ({type(error).__name__}); delete it to run the entry again") from None
    return record


def write_record(
    results: Path, experiment: Experiment, entry: Entry, content: Mapping[str, Any], status: str = DONE
) -> None:
    """Write an entry's record; data frames in `content["tables"]` become CSV files beside it, written first."""
    path = record_path(results, experiment, entry)
    path.parent.mkdir(parents=True, exist_ok=True)
    rest = dict(content)
    digest = entry.digest(experiment)
    identity = {"run": entry.name, "arm": entry.arm, "seed": entry.seed}
    origin = {"digest": digest, "commit": content.get("commit") or commit()}
    for name, table in rest.pop(TABLES, {}).items():
        write_table(path.with_name(f"{entry.name}.{name}.csv"), table.assign(**identity, **origin))
    record = {
        "experiment": experiment.name, **identity, "status": status, **origin, "evaluation_commit": commit(),
        "versions": versions(), "settings": entry.settings(experiment), **rest,
    }  # fmt: skip
    write_atomically(path, json.dumps(record, indent=2, default=float) + "\n")


def write_table(path: Path, table: pd.DataFrame) -> None:
    """Write a table as CSV, whole or not at all."""
    buffer = io.StringIO()
    table.to_csv(buffer, index=False, lineterminator="\n")
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, buffer.getvalue())


def versions() -> dict[str, str]:
    """Return the versions of the packages that numbers depend on."""
    return {name: version(name) for name in PACKAGES} | {"python": platform.python_version()}


def _differences(found: Any, asked: Any, prefix: str = "") -> list[str]:
    """Return `name FOUND there, ASKED asked for` of every setting that differs."""
    if not (isinstance(found, dict) and isinstance(asked, dict)):
        return [] if found == asked else [f"{prefix} {found!r} there, {asked!r} asked for"]
    names = dict.fromkeys([*asked, *found])
    below = f"{prefix}." if prefix else ""
    return [
        line
        for name in names
        for line in _differences(found.get(name, "nothing"), asked.get(name, "nothing"), below + name)
    ]
