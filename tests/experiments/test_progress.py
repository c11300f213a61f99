"""What notebooks say of experiments that are not finished."""

import pandas as pd

from medfe.experiments.progress import availability
from medfe.experiments.registry import EXPERIMENTS


def test_what_is_missing_of_an_experiment_is_told_by_arm(tmp_path):
    entries = EXPERIMENTS["scenes"].entries
    assert "0 of" in availability(tmp_path, "scenes")
    names = [entry.name for entry in entries]
    pd.DataFrame({"run": names[:-1]}).to_csv(tmp_path / "scenes_runs.csv", index=False)
    said = availability(tmp_path, "scenes")
    assert f"{len(names) - 1} of {len(names)} runs are in the results. **Not there yet**: `{entries[-1].arm}`; " in said
    assert "medfe reproduce scenes" in said
    pd.DataFrame({"run": names}).to_csv(tmp_path / "scenes_runs.csv", index=False)
    assert availability(tmp_path, "scenes") == f"Experiment `scenes`: all {len(names)} runs are in the results."


def test_runs_of_one_arm_are_counted(tmp_path):
    count = sum(entry.arm == "low_resolution" for entry in EXPERIMENTS["main"].entries)
    assert f"`low_resolution` ({count})" in availability(tmp_path, "main")
