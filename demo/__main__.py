"""`python -m demo`: parse, check, load, serve."""

from __future__ import annotations

import logging
import os
import re
import signal
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from demo.guard import is_loopback
from medfe.cli import fail, repeated_option
from medfe.errors import MedfeError

_HOST_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?")

SEVERAL = ("--models",)
"""Options of several values. Given twice, tyro would take the last and drop the values of the first in silence."""


@dataclass
class Demo:
    """Draw a hole in a photograph and see what each arm makes of it, in the browser."""

    host: str = "127.0.0.1"
    """Address to listen on. Any but this machine's own needs --auth-file or --no-auth."""
    port: int = 7860
    """Port to listen on."""
    public_name: str = ""
    """Host name under which a proxy on this machine makes the page public; needs --auth-file or --no-auth."""
    models: tuple[str, ...] = ()
    """Run folders or weight files to compare beside the shipped models."""
    shipped: bool = True
    """Compare the shipped models."""
    images: Path | None = None
    """Folder of pictures to offer beside the samples."""
    results: Path | None = None
    """Folder of tables and reports for the tab Results; default: notebooks/results of the repository."""
    device: str | None = None
    """cpu, cuda or mps; default: the best there is."""
    auth_file: Path | None = None
    """Text file with a line name:password for every visitor who may come in."""
    no_auth: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Let everyone in who reaches the address."""
    max_upload_mb: float = 20.0
    """Largest file a visitor may send, MB."""
    study: Path | None = None
    """Serve the page of this study (see medfe study create), and nothing else."""
    database: str | None = None
    """Database of the study's votes; default: MEDFE_STUDY_DATABASE if set, else SQLite in its folder."""
    keep_minutes: float = 60.0
    """Time that visitors' pictures and their results are kept, minutes."""

    def run(self) -> None:
        """Check the settings, load models and pictures, and serve.

        Raises:
            MedfeError: a setting, model or folder that is wrong.
        """
        if self.auth_file is not None and self.no_auth:
            raise MedfeError("--auth-file and --no-auth: found both, expected one")
        if not is_loopback(self.host) and self.auth_file is None and not self.no_auth:
            raise MedfeError(f"--host {self.host}: others can reach it, expected --auth-file FILE or --no-auth as well")
        if self.public_name and not _HOST_NAME.fullmatch(self.public_name):
            raise MedfeError(f"--public-name {self.public_name}: expected a host name alone, such as study.example.org")
        if self.public_name and self.auth_file is None and not self.no_auth:
            raise MedfeError(f"--public-name {self.public_name}: expected --auth-file FILE or --no-auth as well")
        if not 0 < self.port < 65536:
            raise MedfeError(f"--port {self.port}: expected 1 to 65535")
        if not self.max_upload_mb > 0:
            raise MedfeError(f"--max-upload-mb {self.max_upload_mb:g}: expected more than 0")
        if not self.keep_minutes > 0:
            raise MedfeError(f"--keep-minutes {self.keep_minutes:g}: expected more than 0")
        if self.results is not None and not self.results.is_dir():
            raise MedfeError(f"--results {self.results}: no such folder")
        if self.study is not None:
            self._serve_study(self.study)
            return
        users = () if self.auth_file is None else read_users(self.auth_file)

        from demo.models import load_contenders  # noqa: PLC0415 - slow, and errors come first
        from demo.pictures import Library  # noqa: PLC0415

        contenders, library = load_contenders(self.models, self.device, self.shipped), Library(self.images)
        # Uploads and results lie in a new folder that only this user can read; the app serves files from nowhere else.
        with temporary_folder() as cache:
            os.environ |= {"GRADIO_ANALYTICS_ENABLED": "False", "GRADIO_TEMP_DIR": cache}  # read when it is loaded
            signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # so that the folder is removed then, too
            from demo.app import Server, build_app, serve  # noqa: PLC0415
            from demo.reports import FOLDER  # noqa: PLC0415

            try:
                app = build_app(contenders, library, Path(cache), self.results or FOLDER, 60 * self.keep_minutes)
            except OSError as error:
                # What cannot be read says which file it is; a write that fails half-way does not.
                if error.filename is None or str(error.filename).startswith(cache):
                    raise unwritable(error) from None
                raise
            serve(app, Server(self.host, self.port, users, self.max_upload_mb, self.public_name))

    def _serve_study(self, folder: Path) -> None:
        if self.auth_file is not None:
            raise MedfeError("--study and --auth-file: found both; raters need no password, expected --no-auth")
        from demo.label import serve_study  # noqa: PLC0415

        database = self.database or os.environ.get("MEDFE_STUDY_DATABASE")
        serve_study(folder, self.host, self.port, database, self.public_name)


def temporary_folder() -> tempfile.TemporaryDirectory[str]:
    """Return a new folder that is removed at the end of a `with`.

    Raises:
        MedfeError: it cannot be made.
    """
    try:
        return tempfile.TemporaryDirectory(prefix="medfe-demo-", ignore_cleanup_errors=True)
    except OSError as error:
        raise unwritable(error) from None


def unwritable(error: OSError) -> MedfeError:
    """Return what is told of a full disk."""
    return MedfeError(f"temporary folder: cannot be written ({error}); TMPDIR can name another")


def read_users(path: Path) -> tuple[tuple[str, str], ...]:
    """Return the (name, password) pairs of a file of lines `name:password`; empty lines and # lines are skipped.

    Raises:
        MedfeError: unreadable, a line of another form, or no user.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise MedfeError(f"--auth-file {path}: cannot be read ({error})") from None
    users = []
    for number, line in enumerate(lines, start=1):
        if not line.strip() or line.startswith("#"):
            continue
        name, _, password = line.strip().partition(":")
        if not name or not password:
            raise MedfeError(f"--auth-file {path}: line {number} is not name:password")
        users.append((name, password))
    if not users:
        raise MedfeError(f"--auth-file {path}: found no line name:password")
    return tuple(users)


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; exit code 2 for a user's mistake, with one line that says which."""
    logging.basicConfig(level=logging.WARNING, format="medfe: %(message)s")
    arguments = sys.argv[1:] if arguments is None else arguments
    if repeated := repeated_option(arguments, SEVERAL):
        fail(f"{repeated}: given more than once, expected {repeated} VALUE VALUE")
    settings = tyro.cli(Demo, prog="python -m demo", args=arguments)
    try:
        settings.run()
    except MedfeError as error:
        fail(str(error))
    except OSError as error:  # a file that cannot be read, a full disk: nothing that a traceback would explain
        fail(f"{error.filename or 'file system'}: {error.strerror or error}")
    except KeyboardInterrupt:
        print()


if __name__ == "__main__":
    main()
