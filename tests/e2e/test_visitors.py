"""Many visitors on one server, each alone with their own."""

import time

import pytest

from medfe.benchmark.app import make_task, many_visitors
from medfe.benchmark.visitor import AppError, Visitor
from medfe.inference import Inpainter


@pytest.fixture(scope="session")
def inpainters(run_folders):
    return [Inpainter.from_pretrained(folder, "cpu") for folder in run_folders]


def test_twenty_visitors_at_once_get_their_own_right_results(served, inpainters):
    tasks = [make_task(seed, inpainters) for seed in range(20)]
    assert len(many_visitors(served.address, tasks)) == 20


@pytest.mark.slow
def test_pictures_are_deleted_by_age_and_a_visitor_is_told(start, run_folders, inpainters):
    with start("--no-shipped", "--models", *run_folders, "--keep-minutes", 0.5) as server:
        before = server.cached()
        task, visitor = make_task(0, inpainters), Visitor(server.address)
        visitor.choose(task.picture)
        task.check(visitor.fill(task.hole))
        assert server.cached() > before
        deadline = time.monotonic() + 180
        while server.cached() != before and time.monotonic() < deadline:
            time.sleep(0.5)
        assert server.cached() == before
        with pytest.raises(AppError, match="no longer on the server"):
            visitor.fill(task.hole)
        visitor.choose(task.picture)
        task.check(visitor.fill(task.hole))
