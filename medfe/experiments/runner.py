"""Runs the entries of an experiment in their order, skips what is done, and can be stopped and started at any point."""

from __future__ import annotations

import time
import traceback
from collections.abc import Container

from medfe.claims import claim
from medfe.errors import MedfeError
from medfe.evaluation.embeddings import build_embedder
from medfe.experiments.entry import Entry, Workplace
from medfe.experiments.journal import Failures, Journal, clock
from medfe.experiments.records import EXCLUDED, read_record, write_record
from medfe.experiments.stopping import Interrupted
from medfe.experiments.workers import Workers
from medfe.training.loop import NonFiniteLossError

_POLL_SECONDS = 1.0


def run_experiment(place: Workplace, only: tuple[str, ...] = (), processes: int = 1) -> None:
    """Run what is not done yet.

    A run whose record with the same settings lies in the results is done. One that fails does not keep the others from
    running, unless three fail in a row; the failure is reported at the end. A run whose loss is not finite is recorded
    as excluded.

    Args:
        place: Experiment and folders.
        only: Names, or parts of names, of the runs that are wanted; what they start from is run too.
        processes: Runs at once, one thread each; with 1, one after another in this process on all cores.

    Raises:
        Interrupted: stopped; the same command goes on.
        MedfeError: a record or a run folder has other settings (before anything is run), the judge is missing, or a run
            failed.
    """
    pending = pending_entries(place, only)
    if pending:
        build_embedder("efficientnet_lite2")  # missing, it would be found so hours later
    log = place.out / f"{place.experiment.name}.log"
    journal = Journal(log, _estimate(place, only))
    if not pending:
        count = len(place.experiment.choose(only))
        journal.say(f"{place.experiment.name}: all {count} runs are done. {all_done(place)}")
        return
    journal.say(f"{place.experiment.name}: {len(pending)} runs to do, estimated {clock(journal.pending)} on two cores")
    failures = Failures()
    if processes == 1:
        _run_here(place, only, journal, failures)
    else:
        _run_beside(place, only, processes, journal, failures)
    if failures:
        name, reason = next(iter(failures.items()))
        others = f"; {len(failures) - 1} more failed, see {log}" if len(failures) > 1 else ""
        raise MedfeError(f"{name}: {reason}{others}")


def all_done(place: Workplace) -> str:
    """Return where the results of an experiment are, and how it is run anew."""
    report = place.results / f"{place.experiment.name}.md"
    return f"Records count, and they are in {place.results}: see {report}; --results NEW_FOLDER runs everything anew."


def pending_entries(place: Workplace, only: tuple[str, ...] = ()) -> list[Entry]:
    """Return what is still to run for the wanted entries, in order: themselves, and missing weights they start from.

    Raises:
        MedfeError: if a record or a run folder has other settings.
    """
    names: set[str] = set()

    def need_weights(entry: Entry) -> None:
        if entry.name not in names and not _is_excluded(place, entry) and not entry.has_weights(place):
            names.add(entry.name)
            if not is_taken(entry, place):
                for name in entry.requires_now(place):
                    need_weights(place.experiment[name])

    for entry in place.experiment.choose(only):
        if read_record(place.results, place.experiment, entry) is None:
            entry.has_weights(place)  # a folder with other settings is found before hours have passed
            names.add(entry.name)
            for name in entry.requires_now(place):
                need_weights(place.experiment[name])
    return [entry for entry in place.experiment.entries if entry.name in names]


def execute(entry: Entry, place: Workplace) -> None:
    """Run one entry and write its record, or make its weights again where the record is there.

    Raises:
        Interrupted, MedfeError: as `Entry.run`.
    """
    told = read_record(place.results, place.experiment, entry) is not None
    excluded = [name for name in entry.needs if _is_excluded(place, place.experiment[name])]
    if excluded and not told:
        reason = f"starts from {', '.join(excluded)}, which is excluded"
        write_record(place.results, place.experiment, entry, {"reason": reason}, EXCLUDED)
        return
    try:
        if told:  # its weights alone are made again: numbers that were told are not replaced
            entry.restore(place)
            if not entry.has_weights(place):
                raise MedfeError(f"{place.folder(entry)}: the weights are not there after all was done to make them")
            return
        content = entry.run(place)
    except NonFiniteLossError as error:
        if told:
            raise
        write_record(place.results, place.experiment, entry, {"reason": str(error)}, EXCLUDED)
        return
    except Exception:
        if place.stop.asked:  # a helper process that was told to end with this one breaks its work off
            raise Interrupted from None
        raise
    write_record(place.results, place.experiment, entry, content)


def is_ready(entry: Entry, place: Workplace) -> bool:
    """Tell whether all that the entry starts from is there, or will never be."""
    if is_taken(entry, place):
        return True
    needs = [place.experiment[name] for name in entry.requires_now(place)]
    return all(_is_excluded(place, need) or need.has_weights(place) for need in needs)


def is_taken(entry: Entry, place: Workplace) -> bool:
    """Tell whether all that is to do for an entry is to take its weights from the package: it is recorded."""
    return read_record(place.results, place.experiment, entry) is not None and entry.can_restore(place)


def _is_excluded(place: Workplace, entry: Entry) -> bool:
    record = read_record(place.results, place.experiment, entry)
    return record is not None and record["status"] == EXCLUDED


def _run_here(place: Workplace, only: tuple[str, ...], journal: Journal, failures: Failures) -> None:
    """Run one after another; what another process has claimed is waited for when nothing else is left."""
    waiting = False
    while not failures.hopeless:
        ready = _ready(place, only, failures)
        if not any(_try(entry, place, only, journal, failures) for entry in ready):
            if not ready and not _is_elsewhere(place, only, failures):
                return
            waiting = _wait(place, journal, waiting)


def _try(entry: Entry, place: Workplace, only: tuple[str, ...], journal: Journal, failures: Failures) -> bool:
    """Run an entry unless another process has it; return whether it is settled."""
    place.stop.check()
    with claim(place.out, entry.folder) as owner:
        if owner is not None:
            return False
        if entry not in pending_entries(place, only):
            return True  # another process has finished it meanwhile
        started = time.monotonic()
        journal.begun(entry, taken=is_taken(entry, place))
        try:
            execute(entry, place)
        except MedfeError as error:
            failures.add(entry, str(error), journal)
        except Exception as error:  # a defect, or a disk that is full: the others may fare better
            journal.say(traceback.format_exc())
            failures.add(entry, f"{type(error).__name__}: {error}", journal)
        else:
            failures.streak = 0
            journal.done(entry, time.monotonic() - started, _estimate(place, only))
        return True


def _run_beside(place: Workplace, only: tuple[str, ...], processes: int, journal: Journal, failures: Failures) -> None:
    """Keep so many child processes busy, one entry each."""
    waiting = False
    with Workers(place) as workers:
        while True:
            for ended in workers.ended():
                if ended.failure is None:
                    failures.streak = 0
                    journal.done(ended.entry, ended.seconds, _estimate(place, only))
                elif ended.failure:
                    failures.add(ended.entry, ended.failure, journal)
            if failures.hopeless:
                return
            aside = {*failures, *(entry.name for entry in workers.entries())}
            ready = _ready(place, only, aside)
            for entry in ready:
                taken = {running.folder for running in workers.entries()}
                if len(taken) < processes and entry.folder not in taken and _is_free(place, entry):
                    journal.begun(entry, taken=is_taken(entry, place))
                    workers.start(entry)
            if not workers.entries():
                if not ready and not _is_elsewhere(place, only, failures):
                    return
                waiting = _wait(place, journal, waiting)
            _pause(place)


def _ready(place: Workplace, only: tuple[str, ...], aside: Container[str]) -> list[Entry]:
    """Return what can be run now."""
    pending = pending_entries(place, only)
    return [entry for entry in pending if entry.name not in aside and is_ready(entry, place)]


def _estimate(place: Workplace, only: tuple[str, ...]) -> float:
    """Return the estimated seconds of all that is to be done, on two cores."""
    return sum(entry.estimate().seconds for entry in pending_entries(place, only) if not is_taken(entry, place))


def _is_free(place: Workplace, entry: Entry) -> bool:
    with claim(place.out, entry.folder) as owner:
        return owner is None


def _is_elsewhere(place: Workplace, only: tuple[str, ...], failures: Failures) -> bool:
    """Tell whether another process works on what is left; if not, the rest starts from what failed."""
    pending = [entry for entry in pending_entries(place, only) if entry.name not in failures]
    return any(not _is_free(place, entry) for entry in pending)


def _wait(place: Workplace, journal: Journal, waiting: bool) -> bool:
    if not waiting:
        journal.say("waiting for another process that works on the same output")
    _pause(place)
    return True


def _pause(place: Workplace) -> None:
    place.stop.check()
    time.sleep(_POLL_SECONDS)
    place.stop.check()
