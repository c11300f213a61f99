"""Small studies, and both kinds of database to keep their votes in."""

import contextlib
import io
import itertools
import os
import shutil
import signal
import subprocess
import tempfile
import time
import uuid
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sqlalchemy import select

from medfe.preference import tokens
from medfe.preference.database import database_url
from medfe.preference.definition import Design, Item, Study, StudyMethod
from medfe.preference.export import backup
from medfe.preference.folder import save_picture, save_study
from medfe.preference.records import Answer, RefusedError
from medfe.preference.store import VoteStore

from ..ports import free_port


class Clock:
    """Time that a test moves."""

    now = 1_700_000_000.0

    def __call__(self):
        return self.now


def answer(choice="left", request=None, **changes):
    values = {"milliseconds": 1500, "viewport": (1280, 720), **changes}
    return Answer(request or tokens.random_name(), choice, **values)


def rows(store, table):
    with store.engine.connect() as connection:
        return connection.execute(select(table).order_by(table.c.id)).all()


def count(store, table):
    return len(rows(store, table))


def answer_all(store, token, choice="left"):
    while trial := store.next_trial(token):
        store.vote(token, trial.name, answer(choice))


@contextlib.contextmanager
def refused(why):
    with pytest.raises(RefusedError) as error:
        yield
    assert error.value.why == why


def picture(seed, size=16):
    pixels = np.random.default_rng(seed).integers(0, 256, (size, size, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG", compress_level=0)
    return buffer.getvalue()


def write_study(place, items=12, methods=2, pictures=True, **design):
    """Write a study of noise pictures and return its definition.

    A store of votes reads no picture: `pictures=False` writes none, and no definition either.
    """
    design = Design(**{"trials": 8, "catch_share": 0.125, "repeat_share": 0.125, "practice": 1, **design})
    seeds = itertools.count()

    def save(seed):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(os, "fsync", lambda _: None)  # forty pictures a study
            return save_picture(place, picture(seed)) if pictures else f"{seed:064x}"

    def item(name, fills):
        original, *others = (save(next(seeds)) for _ in range(1 + fills))
        area = 0.05 + 0.1 * (next(seeds) % 4)
        return Item(photograph=name, mask_area=area, area_bin=None, original=original, fills=tuple(others))

    study = Study(
        design=design,
        methods=tuple(StudyMethod(name=f"method{n}", source=f"run{n}", digest=f"d{n}") for n in range(methods)),
        items=tuple(item(f"{n}.jpg", methods) for n in range(items)),
        catches=tuple(item(f"catch{n}.jpg", 1) for n in range(design.catches)),
        practice=tuple(item(f"practice{n}.jpg", 1) for n in range(design.practice)),
        image_size=16, masks="irregular", data="photographs", created="2026-01-01T00:00:00+00:00",
    )  # fmt: skip
    if pictures:
        save_study(place, study)
    return study


@pytest.fixture
def make_study(tmp_path):
    """Return a function that writes a study and returns its folder and definition; see `write_study`."""

    def make(folder="study", **settings):
        return tmp_path / folder, write_study(tmp_path / folder, **settings)

    return make


@pytest.fixture(params=["sqlite", "postgresql"])
def new_database(request, tmp_path):
    """Return a function that returns the URL of a new, empty database."""
    if request.param == "sqlite":
        return lambda: database_url(tmp_path, f"sqlite:///{tmp_path / uuid.uuid4().hex}.sqlite")
    server = request.getfixturevalue("postgresql")
    return lambda: database_url(tmp_path, server.new_database())


@pytest.fixture
def new_store(new_database, make_study):
    """Return a function that makes a study with an empty store."""
    opened = []

    def make(clock=None, **design):
        _, study = make_study(pictures=False, **design)
        store = VoteStore.create(new_database(), study)
        store.clock = clock or store.clock
        opened.append(store)
        return store

    yield make
    for store in opened:
        store.close()


class PostgresqlServer:
    """Debian's server on loopback, with a cluster of its own."""

    def __init__(self, programs, folder):
        self.programs, self.folder = programs, folder
        # The server refuses to run as root.
        self.user = {}
        if os.getuid() == 0:
            import pwd

            self.user = {"user": "postgres" if "postgres" in {entry.pw_name for entry in pwd.getpwall()} else "nobody"}
            shutil.chown(folder, self.user["user"])
        self.port = free_port()

    def start(self):
        data = self.folder / "data"
        subprocess.run(
            [self.programs / "initdb", "-D", data, "-A", "trust", "-U", "medfe", "-N"],
            check=True, capture_output=True, cwd=self.folder, **self.user,
        )  # fmt: skip
        options = {"fsync": "off", "unix_socket_directories": "", "listen_addresses": "127.0.0.1", "port": self.port}
        command = [self.programs / "postgres", "-D", data]
        command += [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
        with (self.folder / "log").open("wb") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, cwd=self.folder, **self.user)
        deadline = time.monotonic() + 60
        while not self.is_ready():
            assert self.process.poll() is None, (self.folder / "log").read_text()
            assert time.monotonic() < deadline, "the PostgreSQL server does not answer"
            time.sleep(0.1)

    def is_ready(self):
        import psycopg

        with contextlib.suppress(psycopg.OperationalError), psycopg.connect(self.url("postgres")):
            return True
        return False

    def url(self, name):
        return f"postgresql://medfe@127.0.0.1:{self.port}/{name}"

    def new_database(self):
        import psycopg

        name = f"study_{uuid.uuid4().hex}"
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")
        return self.url(name)

    def stop(self):
        self.process.send_signal(signal.SIGINT)  # ends open connections
        self.process.wait(30)


@pytest.fixture(scope="session")
def postgresql():
    """A running PostgreSQL server. Where it is not installed a test is skipped, but under CI=true it fails."""
    pytest.importorskip("pwd", reason="needs POSIX: the server is run as another user")
    found = shutil.which("initdb")
    places = [Path(found).resolve().parent] if found else []
    places += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    programs = next((place for place in places if (place / "initdb").exists() and (place / "postgres").exists()), None)
    if programs is None:
        message = "needs a PostgreSQL server: found no initdb and postgres; install postgresql"
        pytest.fail(message) if os.environ.get("CI") == "true" else pytest.skip(message)
    folder = Path(tempfile.mkdtemp(prefix="medfe-postgresql-"))
    server = PostgresqlServer(programs, folder)
    try:
        server.start()
        yield server
    finally:
        if hasattr(server, "process"):
            server.stop()
        shutil.rmtree(folder, ignore_errors=True)


def joined(store, choice="left"):
    """Join a study and answer all of it; return the token."""
    token = store.join("1")
    answer_all(store, token, choice)
    return token


def backed_up(make_study, copy):
    """Return folder, study and database of a study that one rater answered, and that was then copied and closed."""
    folder, study = make_study(target_votes=1000)
    url = database_url(folder, None)
    store = VoteStore.create(url, study)
    joined(store)
    backup(store, copy)
    store.close()
    return folder, study, url
