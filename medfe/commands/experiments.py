"""Registered experiments."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tyro.conf import Positional


@dataclass
class Reproduce:
    """Run a registered experiment: train what is missing, evaluate, write tables and a report."""

    experiment: Positional[str]
    """main, ship, finetune, longer, loss_weights, rate, weight, scenes, published, autoencoders, or smoke (tiny,
    minutes)."""
    data: Path
    """Folder with utkface/train, utkface/val, utkface/test, scenes/train and scenes/test in it."""
    out: Path
    """Folder for weights and features. What is there already goes on."""
    results: Path = Path("notebooks/results")
    """Folder for records and tables. A run whose record is there, of whichever experiment, is done; the default holds
    those of this project in a clone of it, and a new folder none."""
    only: tuple[str, ...] = ()
    """Names of runs, or parts of names; what they start from is run too."""
    processes: int = 1
    """Runs at once, one thread each; with 1, one after another on all cores."""
    max_minutes: float | None = None
    """Stop cleanly after so many minutes; the same command goes on."""
    dry_run: bool = False
    """Print every run, whether it is done, hours and disk, and stop."""
    summarize: bool = False
    """Make tables and report from the records, and stop."""

    def run(self) -> None:
        """Run, describe, or summarize."""
        import sys

        from medfe.commands.training import check_minutes
        from medfe.errors import MedfeError
        from medfe.experiments.entry import Workplace
        from medfe.experiments.registry import find_experiment
        from medfe.experiments.stopping import Interrupted, Stop

        if self.processes < 1:
            raise MedfeError(f"--processes: found {self.processes}, expected at least 1")
        check_minutes(self.max_minutes)
        stop = Stop(self.max_minutes)
        place = Workplace(
            experiment=find_experiment(self.experiment), data=self.data, out=self.out, results=self.results, stop=stop
        )
        if self.dry_run:
            from medfe.experiments.overview import overview

            print(overview(place, self.only, self.processes))
            return
        if self.summarize:
            from medfe.experiments.summary import summarize

            print("\n".join(map(str, summarize(place.experiment, place.results))))
            return
        from medfe.experiments.runner import run_experiment
        from medfe.experiments.summary import summarize

        try:
            with stop:
                run_experiment(place, self.only, self.processes)
        except Interrupted:
            print("medfe: stopped; the same command goes on", file=sys.stderr)
        finally:
            summarize(place.experiment, place.results)
