"""Runs are made once, in order, whatever stops them; other settings are refused."""

import os
import shutil
import signal
from dataclasses import replace

import pytest

from medfe.errors import MedfeError
from medfe.experiments import runner
from medfe.experiments.journal import Journal
from medfe.experiments.overview import overview
from medfe.experiments.records import EXCLUDED, read_record, record_path, write_record
from medfe.experiments.runner import pending_entries, run_experiment
from medfe.experiments.stopping import Interrupted
from medfe.experiments.summary import summarize
from medfe.experiments.trainings import GeneratorRun
from medfe.training.loop import NonFiniteLossError

from .conftest import names, small_experiment


def files(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file() and path.suffix != ".log"}


def test_what_is_done_is_skipped_even_without_its_weights(finished, tmp_path):
    place = replace(finished, out=tmp_path / "elsewhere")
    before = files(place.results)
    run_experiment(place)
    assert files(place.results) == before
    assert not (place.out / "tiny_utkface").exists()


def test_missing_weights_are_made_again_only_where_a_run_starts_from_them(finished, tmp_path):
    results = tmp_path / "results"
    shutil.copytree(finished.results, results)
    place = replace(finished, out=tmp_path / "elsewhere", results=results)
    (results / "runs" / "small" / "low_resolution_seed0.json").unlink()
    assert names(pending_entries(place)) == ["low_resolution_seed0"]
    (results / "runs" / "small" / "autoencoder_seed0.json").unlink()
    assert names(pending_entries(place)) == ["autoencoders_seed0", "low_resolution_seed0", "autoencoder_seed0"]
    assert names(pending_entries(place, ("autoencoder_seed0",))) == ["autoencoders_seed0", "autoencoder_seed0"]


def test_weights_made_again_leave_the_record_as_it_is(workplace, monkeypatch):
    place = workplace(small_experiment())
    pair, _, run = place.experiment.entries
    write_record(place.results, place.experiment, pair, {"autoencoders": {"texture_l1": 0.5}})
    before = files(place.results)
    trained = []
    monkeypatch.setattr(type(pair), "restore", lambda entry, _: trained.append(entry.name))
    with pytest.raises(MedfeError, match="the weights are not there"):  # else it would be tried for ever
        runner.execute(pair, place)
    monkeypatch.setattr(type(pair), "has_weights", lambda *_: True)
    trained.clear()
    runner.execute(pair, place)
    assert trained == [pair.name]
    assert files(place.results) == before
    monkeypatch.setattr(GeneratorRun, "run", lambda *_: {"metrics": []})
    runner.execute(run, place)
    assert read_record(place.results, place.experiment, run)["metrics"] == []


def test_weights_that_cannot_be_made_again_leave_the_record_as_it_is(workplace, monkeypatch):
    place = workplace(small_experiment())
    run = place.experiment.entries[0]
    write_record(place.results, place.experiment, run, {"autoencoders": {"texture_l1": 0.5}})
    before = files(place.results)

    def diverge(*_):
        raise NonFiniteLossError("l1: nan at step 2")

    monkeypatch.setattr(type(run), "restore", diverge)
    with pytest.raises(NonFiniteLossError):
        runner.execute(run, place)
    assert files(place.results) == before


def test_a_finished_training_is_not_trained_again_without_its_state(finished, tmp_path, monkeypatch):
    place = replace(finished, out=tmp_path / "out", results=tmp_path / "results")
    shutil.copytree(finished.out, place.out, ignore=shutil.ignore_patterns("state.ckpt"))

    def refuse(*_, **__):
        raise AssertionError("trained again")

    for name in ("pairs.train_autoencoder", "trainings.train_generator"):
        monkeypatch.setattr(f"medfe.experiments.{name}", refuse)
    for entry in place.experiment.entries[:2]:
        entry.restore(place)


def test_damaged_weights_are_named(finished, tmp_path):
    place = replace(finished, out=tmp_path / "out", results=tmp_path / "results")
    weights = place.out / "tiny_utkface" / "low_resolution_seed0" / "generator.safetensors"
    shutil.copytree(finished.out / "tiny_utkface" / "low_resolution_seed0", weights.parent)
    whole = weights.read_bytes()
    weights.write_bytes(whole[:100])
    with pytest.raises(MedfeError, match=r"generator\.safetensors: damaged; delete it"):
        pending_entries(place)
    weights.unlink()  # as the message says
    place.experiment["low_resolution_seed0"].restore(place)
    assert weights.read_bytes() == whole


def test_a_told_record_is_not_replaced_by_an_exclusion(finished, tmp_path):
    place = replace(finished, results=tmp_path / "results")
    shutil.copytree(finished.results, place.results)
    pair, run = place.experiment["autoencoders_seed0"], place.experiment["autoencoder_seed0"]
    before = record_path(place.results, place.experiment, run).read_bytes()
    write_record(place.results, place.experiment, pair, {"reason": "l1: nan"}, EXCLUDED)
    runner.execute(run, place)
    assert record_path(place.results, place.experiment, run).read_bytes() == before


def test_a_journal_that_cannot_be_written_ends_nothing(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    Journal(tmp_path / "file" / "main.log", 1.0).say("begun")
    told = capsys.readouterr().err
    assert "begun" in told
    assert "main.log: not written" in told


def test_a_run_folder_of_other_settings_is_refused_before_anything_runs(finished, tmp_path):
    place = replace(
        finished, results=tmp_path / "results", experiment=small_experiment(losses={"perceptual": 0, "l1_hole": 3.0})
    )
    with pytest.raises(MedfeError, match=r"losses\.l1_hole 2\.0 there, 3\.0 asked for"):
        run_experiment(place)
    assert not place.results.exists()


def test_free_settings_change_no_digest_but_others_do():
    def digests(**changes):
        experiment = small_experiment(**changes)
        return {entry.name: entry.digest(experiment) for entry in experiment.entries}

    own = digests()
    assert digests(workers=3, save_every=1) == own
    changed = digests(batch_size=3)
    assert changed["autoencoders_seed0"] == own["autoencoders_seed0"]
    assert changed["autoencoder_seed0"] != own["autoencoder_seed0"]


def test_a_run_that_starts_from_another_has_its_digest_in_its_own():
    experiment = small_experiment()
    first = replace(experiment.entries[0], changes={**experiment.entries[0].changes, "max_steps": 4})
    other = replace(experiment, entries=(first, *experiment.entries[1:]))
    assert other["autoencoder_seed0"].digest(other) != other["autoencoder_seed0"].digest(experiment)
    assert other["low_resolution_seed0"].digest(other) == other["low_resolution_seed0"].digest(experiment)


def test_a_dry_run_prints_every_run_and_writes_nothing(finished, tmp_path):
    text = overview(finished)
    assert all(f"{name}" in text for name in names(finished.experiment.entries))
    assert "to do: 0 runs, about 0.0 hours" in text
    assert "--results NEW_FOLDER runs everything anew" in text
    empty = replace(finished, out=tmp_path / "out", results=tmp_path / "results")
    assert "to do: 3 runs" in overview(empty)
    needed = overview(empty, ("autoencoder_seed0",))  # what a run starts from has a line too
    assert "to do: 2 runs" in needed
    assert [name for name in names(empty.experiment.entries) if f"\n{name} " in needed] == [
        "autoencoders_seed0", "autoencoder_seed0",
    ]  # fmt: skip
    assert list(tmp_path.iterdir()) == []


def test_an_infinite_loss_excludes_the_run_and_what_starts_from_it(workplace, monkeypatch):
    place = workplace(small_experiment())

    def diverge(*_):
        raise NonFiniteLossError("step 2: l1 = inf")

    monkeypatch.setattr(type(place.experiment.entries[0]), "run", diverge)
    monkeypatch.setattr(GeneratorRun, "run", lambda *_: {"metrics": []})
    run_experiment(place)
    status = {
        entry.name: read_record(place.results, place.experiment, entry)["status"] for entry in place.experiment.entries
    }
    assert status == {
        "autoencoders_seed0": "excluded", "low_resolution_seed0": "done", "autoencoder_seed0": "excluded",
    }  # fmt: skip
    summarize(place.experiment, place.results)
    report = (place.results / "small.md").read_text()
    assert "**Excluded:** `autoencoders_seed0` (step 2: l1 = inf)" in report
    assert "`autoencoder_seed0` (starts from autoencoders_seed0, which is excluded)" in report


@pytest.mark.parametrize(
    ("error", "told", "kept"),
    [
        (MedfeError("no such file"), "no such file", "failed: no such file"),
        (OSError("no space left"), "OSError: no space left", "in fail"),  # a defect: its traceback is kept
    ],
)
def test_a_run_that_fails_keeps_only_those_from_running_that_start_from_it(workplace, monkeypatch, error, told, kept):
    place = workplace(small_experiment())

    def fail(*_):
        raise error

    monkeypatch.setattr(type(place.experiment.entries[0]), "run", fail)
    monkeypatch.setattr(GeneratorRun, "run", lambda *_: {"metrics": []})
    with pytest.raises(MedfeError, match=f"autoencoders_seed0: {told}"):
        run_experiment(place)
    assert names(pending_entries(place)) == ["autoencoders_seed0", "autoencoder_seed0"]
    assert kept in (place.out / "small.log").read_text()


def test_three_failures_in_a_row_end_the_experiment(workplace, monkeypatch):
    place = workplace(small_experiment(seeds=(0, 1, 2, 3)))
    tried = []

    def fail(entry, *_):
        tried.append(entry.name)
        raise MedfeError("no such file")

    monkeypatch.setattr(GeneratorRun, "run", fail)
    monkeypatch.setattr(type(place.experiment.entries[0]), "run", fail)
    with pytest.raises(MedfeError, match="autoencoders_seed0: no such file; 2 more failed"):
        run_experiment(place)
    assert tried == ["autoencoders_seed0", "low_resolution_seed0", "autoencoders_seed1"]


def test_out_of_time_it_stops_and_the_same_command_goes_on(workplace):
    place = workplace(small_experiment(), max_minutes=0.0)
    with pytest.raises(Interrupted), place.stop:
        run_experiment(place)
    assert len(pending_entries(place)) == 3
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_a_request_to_end_during_evaluation_stops_it_and_keeps_the_training(workplace, monkeypatch):
    place = workplace(small_experiment())
    interrupted = []

    def measure(*_):
        interrupted.append(True)
        os.kill(os.getpid(), signal.SIGTERM)
        raise AssertionError("the signal was ignored")

    monkeypatch.setattr("medfe.experiments.trainings.measure_run", measure)
    with pytest.raises(Interrupted), place.stop:
        run_experiment(place, ("low_resolution_seed0",))
    assert interrupted == [True]
    entry = place.experiment["low_resolution_seed0"]
    assert entry.has_weights(place)
    assert read_record(place.results, place.experiment, entry) is None


def test_only_what_is_named_is_run_and_an_unknown_name_is_refused():
    experiment = small_experiment(seeds=(0, 1))
    assert names(experiment.choose(("autoencoder_seed1",))) == ["autoencoder_seed1"]
    assert names(experiment.choose(("seed1", "low"))) == [
        "low_resolution_seed0", "autoencoders_seed1", "low_resolution_seed1", "autoencoder_seed1",
    ]  # fmt: skip
    with pytest.raises(MedfeError, match="--only nothing: no run of small is called so"):
        experiment.choose(("nothing",))
