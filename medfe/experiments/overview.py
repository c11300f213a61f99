"""What an experiment would do: runs, hours, disk."""

from __future__ import annotations

import os

from medfe.experiments.entry import Workplace
from medfe.experiments.journal import clock
from medfe.experiments.pairs import SECONDS_PER_AUTOENCODER_IMAGE
from medfe.experiments.records import read_record
from medfe.experiments.runner import all_done, is_taken, pending_entries
from medfe.experiments.trainings import SECONDS_PER_IMAGE


def overview(place: Workplace, only: tuple[str, ...] = (), processes: int = 1) -> str:
    """Return a line for each run, done or not, with estimated hours and disk; nothing is run or written.

    Raises:
        MedfeError: if a record or a run folder has other settings.
    """
    entries = pending_entries(place, only)
    pending, taken = {entry.name for entry in entries}, {entry.name for entry in entries if is_taken(entry, place)}
    lines = [f"{place.experiment.name}: {place.experiment.question}", ""]
    wanted = {entry.name for entry in place.experiment.choose(only)}
    for entry in place.experiment.entries:
        if entry.name not in wanted | pending:
            continue
        record = read_record(place.results, place.experiment, entry)
        trained = place.folder(entry).exists() and entry.has_weights(place)
        state = record["status"] if record else "trained, not evaluated" if trained else "to do"
        if record and entry.name in pending:
            state += (
                ", its weights are taken from the package"
                if entry.name in taken
                else ", but its weights are needed again"
            )
        seconds, disk = entry.estimate()
        lines.append(
            f"{entry.name:<36} {clock(seconds)}  {disk / 1e6:6.0f} MB  {entry.digest(place.experiment)}  {state}"
        )
    todo = [entry.estimate() for entry in entries if entry.name not in taken]
    hours = sum(estimate.seconds for estimate in todo) / 3600
    disk = sum(estimate.disk for estimate in todo) / 1e9
    rates = ", ".join(f"{preset} {1000 * rate:g} ms" for preset, rate in SECONDS_PER_IMAGE.items())
    lines += [
        "",
        f"to do: {len(todo)} runs, about {hours:.1f} hours, {disk:.1f} GB in {place.out}",
        *([] if entries else [all_done(place)]),
        f"The hours are for two cores, from measured times an image on two threads ({rates}, an auto-encoder "
        f"{1000 * SECONDS_PER_AUTOENCODER_IMAGE:g} ms at 64 pixels; "
        f"in bfloat16); this machine has {os.cpu_count()} cores, {processes} "
        f"{'run' if processes == 1 else 'runs'} at once. A run that is under way counts in full.",
    ]
    return "\n".join(lines)
