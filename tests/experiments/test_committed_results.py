"""The tables, reports and verdicts in the repository are those that its records give."""

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest

from medfe.experiments.findings_page import write_findings
from medfe.experiments.registry import EXPERIMENTS
from medfe.experiments.summary import summarize
from medfe.inference import shipped_file
from medfe.weightfiles import weights_digest

RESULTS = Path(__file__).parents[2] / "notebooks" / "results"
RECORDED = sorted(path.name for path in (RESULTS / "runs").iterdir() if path.is_dir())


@pytest.mark.parametrize("name", RECORDED)
def test_tables_and_report_come_from_the_records(name, tmp_path):
    shutil.copytree(RESULTS / "runs", tmp_path / "runs")
    made = {path.name: path for path in summarize(EXPERIMENTS[name], tmp_path) if path.name != "README.md"}
    assert set(made) == {path.name for path in (*RESULTS.glob(f"{name}_*.csv"), RESULTS / f"{name}.md")}
    for path in made.values():
        if path.suffix == ".csv":
            pd.testing.assert_frame_equal(pd.read_csv(path), pd.read_csv(RESULTS / path.name), rtol=1e-9)
        else:
            assert path.read_text(encoding="utf-8") == (RESULTS / path.name).read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "path", sorted((RESULTS / "runs").glob("*/*.json")), ids=lambda path: f"{path.parent.name}/{path.stem}"
)
def test_every_record_is_of_a_registered_run_as_it_is_registered_now(path):
    experiment = EXPERIMENTS[path.parent.name]
    record = json.loads(path.read_text(encoding="utf-8"))
    assert record["digest"] == experiment[path.stem].digest(experiment)
    assert record["settings"] == json.loads(json.dumps(experiment[path.stem].settings(experiment)))


def test_the_shipped_weights_are_those_of_longer_and_of_the_auto_encoders_of_ship():
    made = {arm: json.loads((RESULTS / f"runs/longer/{arm}_longer_seed3.json").read_text(encoding="utf-8"))["weights"]
            for arm in ("low_resolution", "autoencoder")}  # fmt: skip
    made |= json.loads((RESULTS / "runs/ship/autoencoders_seed0.json").read_text(encoding="utf-8"))["weights"]
    assert {name: weights_digest(shipped_file("faces128", name)) for name in made} == made


def test_what_is_shipped_was_chosen_by_the_numbers_that_are_told():
    told = (RESULTS / "choices/README.md").read_text(encoding="utf-8")
    kid = {}
    for name in ("finetune", "longer"):
        sets = pd.read_csv(RESULTS / f"choices/{name}_sets.csv").query("metric == 'kid_efficientnet_lite2'")
        for (method, masks), value in sets.set_index(["method", "masks"])["value"].items():
            when, _, arm = method.partition("_")
            kid["ship" if when == "before" else name, arm, masks] = 1e3 * value
    steps, arms = ("ship", "finetune", "longer"), ("low_resolution", "autoencoder")
    mean = {(step, arm): (kid[step, arm, "center"] + kid[step, arm, "irregular"]) / 2 for step in steps for arm in arms}
    for arm in arms:
        for masks, word in (("center", "centre"), ("irregular", "irregular")):
            assert f"| `{arm}` | {word} | {' | '.join(f'{kid[step, arm, masks]:.3f}' for step in steps)} |" in told
        assert f"| `{arm}` | mean of both | {' | '.join(f'{mean[step, arm]:.3f}' for step in steps)} |" in told
        assert mean["longer", arm] < mean["ship", arm]  # the rule


def test_verdicts_come_from_the_tables(tmp_path):
    shutil.copytree(RESULTS, tmp_path, dirs_exist_ok=True, ignore=shutil.ignore_patterns("README.md", "runs"))
    made = [path.read_text(encoding="utf-8") for path in write_findings(tmp_path)]
    assert made == [path.read_text(encoding="utf-8") for path in RESULTS.glob("README.md")]
