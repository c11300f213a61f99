"""Fixtures shared by all tests, and the guard that keeps the tests off the network."""

import ipaddress
import os
import shutil
import signal
import socket
from pathlib import Path

import pytest

# Small tensors gain nothing from threads, and processes that test side by side would wait for each other's. Torch reads
# it when it is loaded, and so do the processes that tests start.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.pop("MEDFE_PRECISION", None)  # set for an experiment, not for tests
# A shell's background job starts with Ctrl-C ignored, and so would every process that tests start and interrupt.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

_SLOW_FOLDERS = {"e2e", "notebooks", "experiments", "training", "benchmark"}


class NetworkBlockedError(RuntimeError):
    """A test reached for the network. No OSError, which code under test may handle as a failed download."""


def is_local(address: object) -> bool:
    """Whether a socket's address is on this machine: loopback, or no internet address at all."""
    if not isinstance(address, tuple):
        return True
    host = str(address[0])
    try:
        return host == "localhost" or ipaddress.ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return False


def guarded(connect):
    """Return socket method `connect`, refusing every address but local ones."""

    def connect_locally(self, address):
        if not is_local(address):
            raise NetworkBlockedError(f"tests use no network, found a connection to {address}")
        return connect(self, address)

    return connect_locally


@pytest.fixture(scope="session", autouse=True)
def _no_network():
    """Let sockets connect to this machine only, and to no proxy on it."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("connect", "connect_ex"):
            patch.setattr(socket.socket, name, guarded(getattr(socket.socket, name)))
        for variable in [name for name in os.environ if name.lower().endswith("_proxy")]:
            patch.delenv(variable)
        yield


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Give processes that test side by side a file at a time, and e2e in two parts: its tests share their servers."""
    from xdist.scheduler import LoadFileScheduling

    class Scheduling(LoadFileScheduling):
        def _split_scope(self, nodeid):
            file = super()._split_scope(nodeid)
            return file if Path(file).parent.name != "e2e" or file.endswith("test_drawing.py") else "e2e"

    return Scheduling(config, log)


def pytest_collection_modifyitems(items):
    """Mark tests by the fixtures they use, so that `-m "not browser"` needs no mark in the tests; slow folders first.

    Where processes test side by side, what waits for browsers and processes must not be the last to begin.
    """
    items.sort(key=lambda item: item.path.parent.name not in _SLOW_FOLDERS)
    for item in items:
        if "chromium" in item.fixturenames:
            item.add_marker("browser")
        if "photographs" in item.fixturenames:
            item.add_marker("photographs")


@pytest.fixture(scope="session")
def photographs() -> Path:
    """Folder of real photographs with utkface/ and scenes/ in it."""
    named = os.environ.get("MEDFE_DATA")
    if not named:
        pytest.skip("needs real photographs: set MEDFE_DATA to a folder with utkface/ and scenes/ in it")
    folder = Path(named)
    if not (folder / "utkface").is_dir() or not (folder / "scenes").is_dir():
        pytest.skip(f"MEDFE_DATA={folder}: found no utkface/ and scenes/ in it")
    return folder


@pytest.fixture
def medfe(capsys):
    """Return a function that runs a command and returns its exit code and the lines of its output and its errors."""
    from medfe import cli

    def medfe(*arguments):
        code = 0
        try:
            cli.main([str(argument) for argument in arguments])
        except SystemExit as error:
            code = error.code
        output = capsys.readouterr()
        return code, output.out.strip().splitlines(), output.err.strip().splitlines()

    return medfe


@pytest.fixture(scope="session")
def golden_dir() -> Path:
    """Folder with the recorded outputs of the published code."""
    return Path(os.environ.get("MEDFE_GOLDEN") or Path(__file__).parent / "golden")


@pytest.fixture(scope="session")
def chromium() -> Path:
    """Chromium's executable. Where there is none a test is skipped, but under CI=true it fails."""
    named = os.environ.get("MEDFE_CHROMIUM")
    candidates = [named] if named else ["chromium", "chromium-browser", "google-chrome"]
    for candidate in candidates:
        if found := shutil.which(candidate):
            return Path(found)
    message = f"needs Chromium: found no {' or '.join(candidates)}; install it or set MEDFE_CHROMIUM to its path"
    if os.environ.get("CI") == "true":
        pytest.fail(message)
    pytest.skip(message)
