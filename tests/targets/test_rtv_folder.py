import importlib
import os
import signal
import subprocess
import sys
import time
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from medfe.config import DataConfig, RtvConfig
from medfe.data.files import find_images
from medfe.data.folder import TrainingSamples
from medfe.errors import MedfeError
from medfe.targets.rtv import smooth
from medfe.targets.rtv_cache import RtvCache, default_cache_folder
from medfe.targets.rtv_folder import run_parallel, smooth_folder, smooth_photograph

CONFIG = RtvConfig()


def photograph(height=40, width=48, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def entries(folder):
    return sorted(path for path in folder.rglob("*") if path.is_file())


@pytest.fixture
def source(tmp_path):
    folder = tmp_path / "source"
    (folder / "inner").mkdir(parents=True)
    Image.fromarray(photograph(seed=1)).save(folder / "one.png")
    Image.fromarray(photograph(33, 20, seed=2)).save(folder / "inner" / "two.bmp")
    (folder / "broken.jpg").write_bytes(b"no image")
    return folder


def test_photograph_is_smoothed_with_sigma_scaled_by_the_shorter_side():
    image = photograph(64, 96)
    values = torch.from_numpy(image.transpose(2, 0, 1) / 255.0)[None]
    exact = smooth(values, sigma=6.0 * 64 / 256)[0].permute(1, 2, 0).numpy()
    result = smooth_photograph(image, CONFIG.replace(sigma=6.0))
    assert result.dtype == np.uint8
    assert np.abs(result / 255 - exact).max() <= 1 / 510 + 1e-6


def test_cache_computes_once_and_returns_the_same(tmp_path, monkeypatch):
    cache = RtvCache(CONFIG, tmp_path)
    image = photograph()
    first = cache(Path("x.png"), image)
    np.testing.assert_array_equal(first, smooth_photograph(image, CONFIG))
    monkeypatch.setattr("medfe.targets.rtv_cache.smooth_photograph", None)  # a second computation would fail
    np.testing.assert_array_equal(cache(Path("y.png"), image.copy()), first)
    assert len(entries(tmp_path)) == 1


def test_other_pixels_shapes_and_parameters_are_other_entries(tmp_path):
    image = photograph(24, 12)
    other = image.copy()
    other[0, 0, 0] ^= 1
    names = {RtvCache(CONFIG, tmp_path).entry(array) for array in (image, other, image.reshape(12, 24, 3))}
    changes = ({"smoothness": 0.02}, {"sigma": 2.0}, {"sharpness": 0.02}, {"iterations": 2})
    names |= {RtvCache(CONFIG.replace(**change), tmp_path).entry(image) for change in changes}
    assert len(names) == 7


@pytest.mark.parametrize("damage", ["truncate", "flip", "empty", "shape"])
def test_damaged_entry_is_computed_anew(tmp_path, damage):
    cache = RtvCache(CONFIG, tmp_path)
    image = photograph()
    expected = cache(Path("x.png"), image)
    (entry,) = entries(tmp_path)
    content = bytearray(entry.read_bytes())
    if damage == "truncate":
        entry.write_bytes(content[: len(content) // 2])
    elif damage == "flip":
        content[len(content) // 2] ^= 0xFF
        entry.write_bytes(content)
    elif damage == "empty":
        entry.write_bytes(b"")
    else:
        np.savez_compressed(entry, structure=expected[:4])
    np.testing.assert_array_equal(cache(Path("x.png"), image), expected)
    np.testing.assert_array_equal(np.load(entry)["structure"], expected)


def test_two_processes_share_a_cache(tmp_path):
    photographs = [photograph(seed=seed) for seed in range(6)]
    with get_context("spawn").Pool(2) as pool:
        calls = [(Path("x.png"), image) for image in photographs for _ in range(2)]  # neighbours meet at one entry
        results = pool.starmap(RtvCache(CONFIG, tmp_path), calls, chunksize=1)
    for image, one, two in zip(photographs, results[::2], results[1::2], strict=True):
        np.testing.assert_array_equal(one, smooth_photograph(image, CONFIG))
        np.testing.assert_array_equal(one, two)
    assert len(entries(tmp_path)) == 6  # and nothing temporary


def test_fill_computes_what_is_missing_and_counts_unreadable_files(source, tmp_path):
    cache = RtvCache(CONFIG, tmp_path / "cache")
    paths = find_images(source)
    prepare = TrainingSamples(DataConfig(root=source), image_size=32, seed=0, length=1).prepare
    report = cache.fill(paths, prepare, workers=2)
    assert (report.made, report.present, list(report.unreadable)) == (2, 0, [source / "broken.jpg"])
    assert "broken.jpg" in str(report)
    again = cache.fill(paths, prepare, workers=1)
    assert (again.made, again.present, len(again.unreadable)) == (0, 2, 1)
    assert len(entries(cache.folder)) == 2


def test_wrong_array_and_unwritable_folder_are_named(tmp_path):
    with pytest.raises(MedfeError, match=r"x\.png: expected an array of uint8 H×W×3, found float64 4×4×3"):
        RtvCache(CONFIG, tmp_path)(Path("x.png"), np.zeros((4, 4, 3)))
    (tmp_path / "file").write_text("")
    with pytest.raises(MedfeError, match="cannot be written"):
        RtvCache(CONFIG, tmp_path / "file")(Path("x.png"), photograph(8, 8))


def test_default_folder_follows_the_platform(monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert default_cache_folder() == Path("/somewhere/medfe/rtv")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(sys, "platform", "linux")
    assert default_cache_folder() == Path.home() / ".cache" / "medfe" / "rtv"
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setenv("LOCALAPPDATA", "/local")
    assert RtvCache(CONFIG).folder == Path("/local/medfe/rtv")


def test_folder_is_smoothed_under_the_same_names_and_only_once(source, tmp_path):
    out = tmp_path / "out"
    report = smooth_folder(source, out, CONFIG, workers=1)
    assert (report.made, report.present, list(report.unreadable)) == (2, 0, [source / "broken.jpg"])
    assert entries(out) == [out / "inner" / "two.png", out / "one.png"]
    np.testing.assert_array_equal(
        np.asarray(Image.open(out / "one.png")), smooth_photograph(photograph(seed=1), CONFIG)
    )
    (out / "one.png").unlink()
    again = smooth_folder(source, out, CONFIG, workers=1)
    assert (again.made, again.present, len(again.unreadable)) == (1, 1, 1)


def test_output_within_the_source_clashing_names_and_no_workers_are_refused(source, tmp_path):
    with pytest.raises(MedfeError, match="lies within"):
        smooth_folder(source, source / "smooth", CONFIG)
    with pytest.raises(MedfeError, match="workers: found 0"):
        smooth_folder(source, tmp_path / "out", CONFIG, workers=0)
    Image.fromarray(photograph()).save(source / "one.bmp")
    with pytest.raises(MedfeError, match=r"would overwrite the result of one\.bmp"):
        smooth_folder(source, tmp_path / "out", CONFIG)
    assert not (tmp_path / "out").exists()


def at_work(tmp_path):
    """Start two processes on SOURCE, 40 photographs; return the one that started them when it has made something."""
    source, out = tmp_path / "source", tmp_path / "out"
    source.mkdir()
    for seed in range(40):
        Image.fromarray(photograph(128, 128, seed)).save(source / f"{seed:02}.png")
    script = tmp_path / "run.py"
    script.write_text(
        "from pathlib import Path\n"
        "from medfe.config import RtvConfig\n"
        "from medfe.targets.rtv_folder import smooth_folder\n"
        "if __name__ == '__main__':\n"
        f"    print(smooth_folder(Path({str(source)!r}), Path({str(out)!r}), RtvConfig(), workers=2))\n"
    )
    process = subprocess.Popen(
        [sys.executable, script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    deadline = time.monotonic() + 60
    while not (out.exists() and entries(out)) and time.monotonic() < deadline:
        time.sleep(0.02)
    return process


@pytest.mark.skipif(os.name == "nt", reason="kills as Linux and macOS do")
def test_processes_end_with_the_one_that_started_them(tmp_path):
    process = at_work(tmp_path)
    process.kill()
    process.communicate(timeout=60)  # waits for all that hold its output, so for the others too
    assert len(entries(tmp_path / "out")) < 40


@pytest.mark.skipif(os.name == "nt", reason="sends SIGINT to a process group")
def test_interrupt_ends_cleanly_and_the_next_run_goes_on(tmp_path):
    source, out = tmp_path / "source", tmp_path / "out"
    process = at_work(tmp_path)
    os.killpg(process.pid, signal.SIGINT)
    stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "interrupted" in stdout
    assert "Traceback" not in stderr
    finished = entries(out)
    assert 0 < len(finished) < 40
    for path in finished:
        assert Image.open(path).convert("RGB").size == (128, 128)
    missing = [path for path in entries(source) if out / path.name not in finished]
    for path in missing[2:]:  # two show as much
        path.unlink()
    report = smooth_folder(source, out, CONFIG, workers=1)
    assert (report.made, report.present) == (len(missing[:2]), len(finished))


COUNTED = """
class Counted:
    def __init__(self, log):
        self.log = log

    def __getstate__(self):
        with self.log.open("a") as file:
            file.write("sent\\n")
        return self.__dict__

    def __call__(self, item):
        return item % 2 == 0
"""


def test_work_is_sent_once_a_process_however_many_items_there_are(tmp_path, monkeypatch):
    (tmp_path / "counted_work.py").write_text(COUNTED)
    monkeypatch.syspath_prepend(tmp_path)
    log = tmp_path / "log"
    work = importlib.import_module("counted_work").Counted(log)
    report = run_parallel(work, range(50), label="Counting", workers=2)
    assert (report.made, report.present) == (25, 25)
    assert len(log.read_text().splitlines()) <= 2
