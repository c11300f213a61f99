import os
import time

import pytest

from demo.cache import Sweeper, forget


def write(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x")
    return path


def later(monkeypatch, seconds):
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + seconds)


def test_what_is_too_old_goes_with_its_folders_and_what_is_to_stay_stays(tmp_path, monkeypatch):
    kept = write(tmp_path / "gallery" / "thumbnail.png")
    write(tmp_path / "runs" / "a" / "1.png")
    write(tmp_path / "upload.part")
    forget(tmp_path, 3600, [str(kept)])
    assert len(list(tmp_path.rglob("*.p*"))) == 3
    later(monkeypatch, 3601)
    forget(tmp_path, 3600, [str(kept)])
    assert sorted(tmp_path.rglob("*")) == [tmp_path / "gallery", kept]


def test_age_cannot_be_set_by_a_file_s_dates(tmp_path):
    young = write(tmp_path / "young.png")
    os.utime(young, (0, 0))
    forget(tmp_path, 60)
    assert young.exists()


def test_a_link_goes_and_what_it_leads_to_stays(tmp_path, monkeypatch):
    outside = write(tmp_path / "outside" / "file")
    cache = tmp_path / "cache"
    cache.mkdir()
    (cache / "link").symlink_to(outside.parent, target_is_directory=True)
    later(monkeypatch, 100)
    forget(cache, 60)
    assert list(cache.iterdir()) == []
    assert outside.exists()


def test_a_folder_that_is_not_there_is_empty_already(tmp_path):
    forget(tmp_path / "absent", 0)


def test_a_sweeper_works_by_itself_until_it_is_stopped(tmp_path):
    sweeper = Sweeper(tmp_path, 0.05)
    write(tmp_path / "a")
    deadline = time.time() + 20
    while (tmp_path / "a").exists() and time.time() < deadline:
        time.sleep(0.01)
    assert not (tmp_path / "a").exists()
    sweeper.stop()
    time.sleep(0.1)
    write(tmp_path / "b")
    time.sleep(0.2)
    assert (tmp_path / "b").exists()


@pytest.fixture(autouse=True)
def _no_sweeper_is_left():
    yield
    import threading

    for thread in threading.enumerate():
        if thread.name == "sweeper":
            thread.join(10)
            assert not thread.is_alive()
