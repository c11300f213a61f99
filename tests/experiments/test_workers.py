"""Child processes: what is said of one that failed."""

import sys
import time

import pytest

from medfe.experiments.workers import Workers

from .conftest import small_experiment


@pytest.mark.skipif(sys.platform == "win32", reason="needs the program `false`")
def test_a_child_that_ends_without_a_word_is_not_given_the_words_of_the_one_before(workplace, monkeypatch):
    place = workplace(small_experiment())
    log = place.out / "logs" / "small_low_resolution_seed0.log"
    log.parent.mkdir(parents=True)
    log.write_text("photographs are missing\n")
    monkeypatch.setattr("sys.executable", "false")
    with Workers(place) as workers:
        workers.start(place.experiment["low_resolution_seed0"])
        while not (ended := workers.ended()):
            time.sleep(0.05)
    assert ended[0].failure.startswith("exit code 1: it wrote nothing (log: ")
