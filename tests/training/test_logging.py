"""What a run writes about itself, and what is left of it after a kill."""

import json
import time
from types import SimpleNamespace

import torch
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from medfe.training.logging import RunLog


def rows(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def log(folder, step=0):
    return RunLog(folder, step, last_step=10, batch_size=4)


def test_rows_hold_step_images_and_values_and_progress_is_printed(tmp_path, capsys):
    run = log(tmp_path)
    run.row(5, {"l1": 0.25, "total": 1.5})
    run.close()
    assert rows(tmp_path) == [{"step": 5, "images": 20, "l1": 0.25, "total": 1.5}]
    printed = capsys.readouterr().err
    for part in ("step 5/10", "images/s", "left", "l1 0.25", "total 1.5"):
        assert part in printed


def test_where_rows_are_far_apart_progress_is_printed_every_half_minute(tmp_path, capsys, monkeypatch):
    run = log(tmp_path)
    seconds = iter((29.0, 31.0, 31.0, 60.0, 61.0))  # looked at once a step, and where something is printed
    clock = SimpleNamespace(monotonic=lambda: run.started + next(seconds))
    monkeypatch.setattr("medfe.training.logging.time", clock)  # not the module's own, which other threads read
    for step in (1, 2, 3):
        run.advance(step, {"l1": 1.0}, row=False)
    run.advance(4, {"l1": 1.0}, row=True)
    run.close()
    printed = capsys.readouterr().err
    assert [step for step in range(1, 5) if f"step {step}/10" in printed] == [2, 4]
    assert [row["step"] for row in rows(tmp_path)] == [4]


def test_going_on_drops_rows_beyond_the_state_and_a_row_cut_short(tmp_path):
    run = log(tmp_path)
    for step in (1, 2, 3):
        run.row(step, {"l1": step})
    run.close()
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 4, "ima')
    run = log(tmp_path, step=2)
    run.row(3, {"l1": 33})
    run.close()
    assert [(row["step"], row["l1"]) for row in rows(tmp_path)] == [(1, 1), (2, 2), (3, 33)]


def test_tensorboard_shows_what_the_last_start_computed(tmp_path):
    for value, start in ((1.0, 0), (2.0, 2)):
        time.sleep(1 - time.time() % 1)  # files are read in the order of their names, which hold the second
        run = log(tmp_path, step=start)
        for step in range(start + 1, 5):
            run.row(step, {"l1": value})
        run.grid(4, [torch.zeros(2, 3, 8, 8)])  # flushes, as a kill would not
    events = EventAccumulator(str(tmp_path)).Reload()
    assert {event.step: event.value for event in events.Scalars("l1")} == {1: 1.0, 2: 1.0, 3: 2.0, 4: 2.0}
    assert [event.step for event in events.Images("samples")] == [4]


def test_a_grid_holds_a_row_for_each_batch(tmp_path):
    run = log(tmp_path)
    run.grid(7, [torch.full((3, 3, 8, 10), value) for value in (-1.0, 1.0)])
    run.close()
    with Image.open(tmp_path / "samples" / "step_0000007.png") as grid:
        assert grid.size == (30, 16)
        assert [grid.getpixel((0, y)) for y in (0, 15)] == [(0, 0, 0), (255, 255, 255)]


def test_pictures_that_a_kill_left_unfinished_are_removed(tmp_path):
    (tmp_path / "samples").mkdir()
    for name in (".0123.png", "step_0000001.png"):
        (tmp_path / "samples" / name).write_bytes(b"")
    log(tmp_path).close()
    assert [path.name for path in (tmp_path / "samples").iterdir()] == ["step_0000001.png"]
