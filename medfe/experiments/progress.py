"""How far an experiment is, for the notebooks."""

from __future__ import annotations

from pathlib import Path

from medfe.analysis.results import results_table
from medfe.experiments.registry import find_experiment


def availability(folder: Path, name: str) -> str:
    """Return a sentence, Markdown, that says how many runs of an experiment are in the results, and what is missing.

    Raises:
        MedfeError: no such experiment, or a damaged table.
    """
    entries = find_experiment(name).entries
    table = results_table(folder, name, "runs")
    recorded = set() if table is None else set(table["run"])
    missing: dict[str, int] = {}
    for entry in entries:
        if entry.name not in recorded:
            missing[entry.arm] = missing.get(entry.arm, 0) + 1
    done = f"{len(entries) - sum(missing.values())} of {len(entries)} runs"
    if not missing:
        return f"Experiment `{name}`: all {len(entries)} runs are in the results."
    listed = ", ".join(f"`{arm}`" + (f" ({count})" if count > 1 else "") for arm, count in missing.items())
    return (
        f"Experiment `{name}`: {done} are in the results. **Not there yet**: {listed}; "
        f"`medfe reproduce {name} --data $MEDFE_DATA --out runs` makes them."
    )
