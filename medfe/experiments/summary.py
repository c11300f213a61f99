"""Tables and report of an experiment, from its records."""

from __future__ import annotations

from pathlib import Path

from medfe.experiments.contrasts import contrasts
from medfe.experiments.entry import Experiment
from medfe.experiments.findings_page import write_findings
from medfe.experiments.records import write_table
from medfe.experiments.report import report
from medfe.experiments.tables import arms_table, done, long_tables, matching_table, records_of, rows_of, runs_table
from medfe.training.checkpoint import write_atomically


def summarize(experiment: Experiment, results: Path) -> list[Path]:
    """Write RESULTS/EXPERIMENT_*.csv and RESULTS/EXPERIMENT.md from the records in RESULTS/runs; return the paths.

    Missing runs are named in the report; excluded ones are in no table but `runs`. RESULTS/README.md is written anew
    from the tables of all experiments.

    Raises:
        MedfeError: if a record is damaged or was made with other settings.
    """
    records = records_of(experiment, results)
    if not records:
        return []
    good = done(records)
    metrics = rows_of(good, "metrics")
    excluded = {(record["arm"], record["seed"]) for name, record in records.items() if name not in good}
    tables = {
        "runs": runs_table(records), "metrics": metrics, "areas": rows_of(good, "areas"),
        "matching": matching_table(good), "contrasts": contrasts(experiment, metrics, excluded),
        **({} if metrics.empty else {"arms": arms_table(metrics)}), **long_tables(experiment, results),
    }  # fmt: skip
    paths = [results / f"{experiment.name}_{name}.csv" for name, table in tables.items() if not table.empty]
    for path in set(results.glob(f"{experiment.name}_*.csv")) - set(paths):
        path.unlink()  # of runs whose records are gone
    for path, table in zip(paths, (table for table in tables.values() if not table.empty), strict=True):
        write_table(path, table)
    paths.append(results / f"{experiment.name}.md")
    write_atomically(paths[-1], report(experiment, records, tables))
    return paths + write_findings(results)
