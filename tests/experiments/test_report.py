"""The report says where its numbers come from: whose records, at which precision, what is missing."""

import json
import shutil

import pytest

from medfe.experiments.summary import summarize

RUNS = ("autoencoders_seed0", "low_resolution_seed0", "autoencoder_seed0")


@pytest.fixture
def results(finished, tmp_path):
    """A copy of the results of the finished experiment."""
    return shutil.copytree(finished.results, tmp_path / "results")


def change(results, run, **fields):
    path = results / "runs/small" / f"{run}.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


def origin(experiment, results):
    summarize(experiment, results)
    return (results / f"{experiment.name}.md").read_text().partition("## How it was made")[2]


def test_one_precision_is_said_of_all_runs_two_of_each(finished, results):
    assert "precision 32-true; " in origin(finished.experiment, results)
    change(results, RUNS[2], precision="bf16-mixed")
    said = origin(finished.experiment, results)
    assert f"precision 32-true (`{RUNS[0]}`, `{RUNS[1]}`), bf16-mixed (`{RUNS[2]}`); " in said
    assert "after rounding to eight significant bits" in said


def test_every_folder_with_records_of_the_report_is_named(finished, results):
    other = results / "runs/other"
    other.mkdir()
    (results / "runs/small" / f"{RUNS[0]}.json").rename(other / f"{RUNS[0]}.json")
    path = other / f"{RUNS[0]}.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"experiment": "other"}))
    said = origin(finished.experiment, results)
    assert "`notebooks/results/runs/other/`, `notebooks/results/runs/small/`" in said


def test_missing_and_excluded_runs_are_named(finished, results):
    (results / "runs/small" / f"{RUNS[1]}.json").unlink()
    change(results, RUNS[2], status="excluded", reason="l1: nan")
    summarize(finished.experiment, results)
    text = (results / "small.md").read_text()
    assert "1 of 3 runs are done, 1 excluded." in text
    assert f"**Missing:** `{RUNS[1]}`." in text
    assert f"**Excluded:** `{RUNS[2]}` (l1: nan)." in text


def test_where_arms_were_judged_on_different_numbers_of_photographs_each_row_says_its_own(finished, results):
    summarize(finished.experiment, results)
    text = (results / "small.md").read_text()
    assert "6 photographs; L1" in text
    assert "| arm | seeds | KID" in text
    path = results / "runs/small" / f"{RUNS[1]}.json"
    metrics = json.loads(path.read_text())["metrics"]
    change(results, RUNS[1], metrics=[row | {"photographs": 4} for row in metrics])
    summarize(finished.experiment, results)
    text = (results / "small.md").read_text()
    assert "| arm | seeds | photographs | KID" in text
    assert "| `low_resolution` | 1 | 4 |" in text
    assert "| `autoencoder` | 1 | 6 |" in text
