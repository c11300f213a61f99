"""One entry in a process of its own: `python -m medfe.experiments.worker EXPERIMENT ENTRY DATA OUT RESULTS`.

Started by `medfe.experiments.workers`, which holds the other end of standard input.
"""

from __future__ import annotations

import logging
import sys
from pathlib import Path

from medfe.claims import claim
from medfe.errors import MedfeError
from medfe.experiments.entry import Workplace
from medfe.experiments.registry import find_experiment
from medfe.experiments.runner import execute
from medfe.experiments.stopping import Interrupted, Stop
from medfe.experiments.workers import FAILED, STOPPED, TAKEN


def main(experiment: str, name: str, *folders: str) -> int:
    """Run an entry; return the exit code.

    Args:
        experiment: Name of a registered experiment.
        name: Name of the entry.
        folders: Those of data, output and results.
    """
    data, out, results = map(Path, folders)
    place = Workplace(
        experiment=find_experiment(experiment), data=data, out=out, results=results, stop=Stop(with_parent=True)
    )
    entry = place.experiment[name]
    try:
        with place.stop, claim(out, entry.folder) as owner:
            if owner is not None:
                return TAKEN
            execute(entry, place)
    except Interrupted:
        return STOPPED
    except MedfeError as error:
        print(error, file=sys.stderr)
        return FAILED
    return 0


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING, format="medfe: %(message)s")
    sys.exit(main(*sys.argv[1:]))
