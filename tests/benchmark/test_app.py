import numpy as np
import pytest
import torch

from medfe.benchmark import app
from medfe.benchmark.app import Server, benchmark_app, make_task
from medfe.benchmark.visitor import AppError
from medfe.config import GeneratorConfig
from medfe.errors import MedfeError
from medfe.inference import Inpainter
from medfe.models.generator import build_generator
from medfe.weightfiles import save_weights

HOLE_COLOR = (123, 104, 117)


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Weight files of two untrained models."""
    folder = tmp_path_factory.mktemp("models")
    config = GeneratorConfig.preset("tiny")
    for seed, arm in enumerate(("low_resolution", "none")):
        torch.manual_seed(seed)
        tensors = {f"generator.{name}": value for name, value in build_generator(config).state_dict().items()}
        metadata = {"kind": "generator", "config": config.model_dump(mode="json"), "target": {"arm": arm}}
        save_weights(folder / f"{arm}.safetensors", tensors, metadata)
    return [str(path) for path in sorted(folder.iterdir())]


@pytest.fixture(scope="module")
def inpainters(models):
    return [Inpainter.from_pretrained(model, "cpu") for model in models]


def served(task):
    """What the app serves for a task."""
    masked = np.array(task.picture)
    masked[task.hole] = HOLE_COLOR
    return [np.asarray(task.picture), masked, *(picture.copy() for picture in task.expected)]


def test_no_two_visitors_have_the_same_task(inpainters):
    tasks = [make_task(seed, inpainters) for seed in range(4)]
    assert len({task.picture.tobytes() for task in tasks}) == 4
    assert len({task.hole.tobytes() for task in tasks}) == 4
    for task in tasks:
        task.check(served(task))
        for other in tasks:
            if other is not task:
                with pytest.raises(AppError, match="somebody else's"):
                    task.check(served(other))


def test_a_result_may_be_off_by_rounding_in_the_hole_and_not_at_all_elsewhere(inpainters):
    task = make_task(0, inpainters)
    inside, outside = np.argwhere(task.hole)[0], np.argwhere(~task.hole)[0]
    for place, levels, right in [(inside, 1, True), (inside, 2, False), (outside, 1, False)]:
        pictures = served(task)
        pictures[2][tuple(place)] = np.clip(pictures[2][tuple(place)].astype(int) + levels, 0, 255)
        if right:
            task.check(pictures)
        else:
            with pytest.raises(AppError, match="off by"):
                task.check(pictures)


def test_two_results_in_the_wrong_order_are_found(inpainters):
    task = make_task(1, inpainters)
    original, masked, one, two = served(task)
    with pytest.raises(AppError, match="off by"):
        task.check([original, masked, two, one])


def test_an_app_that_ends_is_reported_with_what_it_said():
    with pytest.raises(MedfeError, match="'absent'"), app.running(["absent"]):
        pytest.fail("it was started")


def test_an_app_that_is_not_installed_is_named(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(MedfeError, match="not installed"), app.running([]):
        pytest.fail("it was started")


def test_a_process_tells_its_memory():
    import os

    memory = Server("", os.getpid()).memory()
    if not memory:
        pytest.skip("needs /proc")
    assert 10e6 < memory["VmRSS"] <= memory["VmHWM"]


@pytest.mark.parametrize("counts", [(0, 20), (500, 0), (-1, 1)])
def test_no_requests_or_no_visitors_is_a_mistake(counts):
    with pytest.raises(MedfeError, match="at least 1"):
        benchmark_app(*counts)


@pytest.mark.slow
def test_the_benchmark_runs_the_app_and_checks_what_comes_back(models):
    result = benchmark_app(requests=3, visitors=2, models=models)
    one, many = result.rows
    assert one.time.best > one.floor.best > 0
    assert many.time.median > 0
    assert "95th percentile of 3 runs" in result.notes[0]
