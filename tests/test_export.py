"""Weights to ship: what the card says of errors by age and sex."""

from pathlib import Path

import pandas as pd
import pytest

from medfe.errors import MedfeError
from medfe.export import error_section

RUNS = [Path("runs/one"), Path("runs/two")]


def row(method, by, name, value, masks="center", metric="l1_hole"):
    return {
        "method": method, "metric": metric, "value": value, "low": value - 0.001, "high": value + 0.002,
        "photographs": 30 if name in ("0-12", "male") else 20, "level": 0.95, "by": by, "class": name, "masks": masks,
    }  # fmt: skip


@pytest.fixture
def table(tmp_path):
    """Means of two methods by two ages and both sexes, beside others that do not belong into a card."""
    rows = [
        row(method, by, name, base + 0.01 * place)
        for method, base in (("two", 0.2), ("one", 0.1), ("telea", 0.9))
        for place, (by, name) in enumerate((("age", "0-12"), ("age", "60+"), ("sex", "male"), ("sex", "female")))
    ]
    rows += [row("one", "age", "0-12", 0.7, masks="irregular"), row("one", "age", "0-12", 0.8, metric="psnr")]
    rows += [row("one", "all", float("nan"), 0.6)]
    path = tmp_path / "means.csv"
    pd.DataFrame(rows).to_csv(path, index=False)
    return path


def test_the_card_tells_errors_of_every_group_and_run(table):
    lines = error_section(table, RUNS).splitlines()
    assert lines[0] == "## Error by age and sex"
    assert lines[2].startswith(
        "Mean L1 in the centre hole, images in [0, 1], with 95 % intervals over 50 test photographs"
    )
    assert lines[4:] == [
        "| group | photographs | `one` | `two` |",
        "|---|---:|---:|---:|",
        "| age 0-12 | 30 | 0.1000 (0.0990 to 0.1020) | 0.2000 (0.1990 to 0.2020) |",
        "| age 60+ | 20 | 0.1100 (0.1090 to 0.1120) | 0.2100 (0.2090 to 0.2120) |",
        "| sex male | 30 | 0.1200 (0.1190 to 0.1220) | 0.2200 (0.2190 to 0.2220) |",
        "| sex female | 20 | 0.1300 (0.1290 to 0.1320) | 0.2300 (0.2290 to 0.2320) |",
        "",
    ]


def test_masks_and_level_are_those_of_the_table(table):
    rows = pd.read_csv(table)
    rows[rows["masks"] == "center"].drop(columns="masks").assign(level=0.9).to_csv(table, index=False)
    assert "Mean L1 in the hole, images in [0, 1], with 90 % intervals" in error_section(table, RUNS)


def test_a_table_without_them_is_refused_in_one_line(table, tmp_path):
    other = tmp_path / "other.csv"
    other.write_text("a,b\n1,2\n")
    for path, runs in ((other, RUNS), (table, [Path("three")]), (tmp_path / "missing.csv", RUNS)):
        with pytest.raises(MedfeError, match="found no errors by age and sex of") as error:
            error_section(path, runs)
        assert "\n" not in str(error.value)
