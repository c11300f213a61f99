import os
import shutil
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

CONFTEST = Path(__file__).with_name("conftest.py")
DOCUMENTATION_HOST = "192.0.2.1"  # RFC 5737: belongs to nobody


@pytest.mark.parametrize("method", ["connect", "connect_ex"])
@pytest.mark.parametrize(
    ("family", "host"),
    [(socket.AF_INET, DOCUMENTATION_HOST), (socket.AF_INET6, "2001:db8::1"), (socket.AF_INET, "example.org")],
)
def test_a_socket_to_another_machine_is_refused(method, family, host):
    with socket.socket(family) as client, pytest.raises(RuntimeError, match="tests use no network"):
        getattr(client, method)((host, 443))


def test_a_download_is_refused_with_an_error_that_is_no_failed_download():
    with pytest.raises(RuntimeError, match="tests use no network") as refusal:
        urllib.request.urlopen(f"http://{DOCUMENTATION_HOST}/weights.pth", timeout=1)
    assert not isinstance(refusal.value, OSError)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_loopback_is_reached(host):
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket() as client:
        client.connect((host, server.getsockname()[1]))
        accepted, _ = server.accept()
        with accepted:
            client.sendall(b"vote")
            assert accepted.recv(4) == b"vote"


def outcome_of(fixture: str, folder: Path, **environment: str) -> str:
    """What pytest prints, with nothing but `environment` set, about one test that uses `fixture`."""
    shutil.copy(CONFTEST, folder)
    (folder / "test_probe.py").write_text(f"def test_probe({fixture}):\n    print('got', {fixture})\n")
    inherited = {name: os.environ[name] for name in ("SYSTEMROOT",) if name in os.environ}
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-rAs", "-p", "no:cacheprovider", "--rootdir", folder, folder],
        env={**inherited, "PATH": str(folder), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", **environment},
        cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
    return run.stdout


def test_without_chromium_a_browser_test_skips_and_in_ci_fails(tmp_path):
    assert "1 skipped" in outcome_of("chromium", tmp_path)
    in_ci = outcome_of("chromium", tmp_path, CI="true")
    assert "1 error" in in_ci
    assert "needs Chromium: found no chromium or chromium-browser or google-chrome" in in_ci


def test_chromium_is_the_program_that_the_environment_names(tmp_path):
    assert f"got {Path(sys.executable)}" in outcome_of("chromium", tmp_path, MEDFE_CHROMIUM=sys.executable)


def test_photographs_are_asked_for_in_the_message_of_the_skip(tmp_path):
    assert "set MEDFE_DATA to a folder with utkface/" in outcome_of("photographs", tmp_path)
    assert "found no utkface/ and scenes/ in it" in outcome_of("photographs", tmp_path, MEDFE_DATA=str(tmp_path))
    for name in ("utkface", "scenes"):
        (tmp_path / name).mkdir()
    assert f"got {tmp_path}" in outcome_of("photographs", tmp_path, MEDFE_DATA=str(tmp_path))


def test_golden_numbers_come_from_the_folder_that_the_environment_names(tmp_path, golden_dir):
    assert f"got {tmp_path}" in outcome_of("golden_dir", tmp_path, MEDFE_GOLDEN=str(tmp_path / "."))
    assert golden_dir.is_dir()
