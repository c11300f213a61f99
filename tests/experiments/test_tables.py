"""Tables of an experiment: what is in them, and by how many runs a mean counts."""

import pandas as pd
import pytest

from medfe.experiments.records import EXCLUDED, write_record
from medfe.experiments.tables import arms_table, long_tables

from .conftest import small_experiment


def test_tables_of_an_excluded_run_are_in_no_table(workplace):
    place = workplace(small_experiment())
    first, second = place.experiment.entries[1:]
    table = pd.DataFrame({"rank": [3]})
    for entry in (first, second):
        write_record(place.results, place.experiment, entry, {"tables": {"channels": table}})
    write_record(place.results, place.experiment, second, {"reason": "l1: nan"}, EXCLUDED)
    assert list(long_tables(place.experiment, place.results)["channels"]["run"]) == [first.name]


def test_a_metric_that_some_seeds_lack_is_counted_by_those_that_have_it():
    identity = {"arm": "none", "masks": "center", "digest": "d", "commit": "c"}
    rows = [{**identity, "seed": seed, "run": f"none_seed{seed}", "l1": 0.1 * seed} for seed in range(3)]
    rows[1]["lpips"], rows[2]["lpips"] = 0.3, 0.5
    table = arms_table(pd.DataFrame(rows)).set_index("metric")
    assert table.loc["l1", ["seeds", "n"]].tolist() == ["0 1 2", 3]
    assert table.loc["lpips", ["seeds", "n", "mean"]].tolist() == ["1 2", 2, pytest.approx(0.4)]
