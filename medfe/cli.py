"""The command line: names of the subcommands, and how errors reach the user."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import tyro

from medfe.commands.experiments import Reproduce
from medfe.commands.measuring import Benchmark, Evaluate
from medfe.commands.pictures import FindCopies, ImportPublished, Inpaint, Rtv
from medfe.commands.study import Study
from medfe.commands.training import Export, Train, TrainAutoencoder
from medfe.errors import MedfeError

USER_ERROR = 2
INTERRUPTED = 130
SEVERAL = ("--set", "--methods", "--contrast", "--backbones", "--only")
"""Options of several values. Given twice, tyro would take the last and drop the values of the first in silence."""

COMMANDS: dict[str, Callable[..., Any]] = {
    "train-autoencoder": TrainAutoencoder,
    "train": Train,
    "inpaint": Inpaint,
    "evaluate": Evaluate,
    "find-copies": FindCopies,
    "rtv": Rtv,
    "study": Study,
    "reproduce": Reproduce,
    "benchmark": Benchmark,
    "import-published": ImportPublished,
    "export": Export,
}


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; exit code 2 for a user's mistake, with one line that says which."""
    # Modules of the user's own (`module:Class`) lie where the command is given; last, so that they hide nothing.
    if (folder := str(Path.cwd())) not in sys.path:
        sys.path.append(folder)
    logging.basicConfig(level=logging.WARNING, format="medfe: %(message)s")
    arguments = sys.argv[1:] if arguments is None else arguments
    if repeated := repeated_option(arguments):
        value = "NAME=VALUE" if repeated == "--set" else "VALUE"
        fail(f"{repeated}: given more than once, expected {repeated} {value} {value}")
    command = tyro.extras.subcommand_cli_from_dict(
        COMMANDS,
        prog="medfe", description="MEDFE image inpainting, its variant MEDFE+CAE, and a bench to compare them.",
        args=arguments,
    )  # fmt: skip
    try:
        command.run()
    except MedfeError as error:
        fail(str(error))
    except OSError as error:  # disk full, no permission: nothing that a traceback would explain
        if isinstance(error, BrokenPipeError):
            os._exit(0)
        fail(f"{error.filename or 'file system'}: {error.strerror or error}")
    except RuntimeError as error:
        if type(error).__name__ != "OutOfMemoryError":  # torch's, which need not be loaded to know it
            raise
        fail(
            "the device's memory is full: smaller batches need less; in training, so do precision=bf16-mixed and, of a "
            "generator, generator.checkpointing=true"
        )
    except KeyboardInterrupt:
        print("medfe: interrupted", file=sys.stderr)
        sys.exit(INTERRUPTED)


def repeated_option(arguments: Sequence[str], several: Sequence[str] = SEVERAL) -> str | None:
    """Return the first of the options of several values that is given twice, as `--a b` or `--a=b`, or None."""
    names = [argument.partition("=")[0] for argument in arguments]
    return next((name for name in several if names.count(name) > 1), None)


def fail(message: str) -> None:
    """Print a one-line error and exit with code 2."""
    print("medfe: error: " + " ".join(message.split()), file=sys.stderr)
    sys.exit(USER_ERROR)
