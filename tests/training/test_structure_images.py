"""Structure images are made before the first step: each process its share, and not for longer than there is time."""

from types import SimpleNamespace

import pytest

from medfe.config import DataConfig, RtvConfig
from medfe.data.folder import TrainingSamples
from medfe.targets.rtv_cache import RtvCache
from medfe.training.generator import make_structure_images
from medfe.training.loop import StopRequest


@pytest.fixture
def samples(pictures, tmp_path, monkeypatch):
    monkeypatch.setattr("medfe.training.generator.available_cores", lambda: 1)  # in this process
    cache = RtvCache(RtvConfig(iterations=1), tmp_path / "cache")
    return TrainingSamples(DataConfig(root=pictures), 64, 0, 6, structure=cache)


def fabric(rank, processes, gathered=lambda flag: flag, machines=1):
    """What is asked of one of several processes; `gathered` stands for what the others say."""
    return SimpleNamespace(
        global_rank=rank, world_size=processes, is_global_zero=rank == 0, all_gather=gathered,
        strategy=SimpleNamespace(num_nodes=machines),
    )  # fmt: skip


def made(samples):
    return [path.stem for path in samples.paths if samples.structure.entry(samples.prepare(path)).exists()]


def test_every_process_makes_its_share_and_together_they_make_all(samples):
    assert make_structure_images(samples, fabric(1, 3), StopRequest())
    assert made(samples) == ["1", "4"]
    assert make_structure_images(samples, fabric(0, 3), StopRequest())
    assert make_structure_images(samples, fabric(2, 3), StopRequest())
    assert made(samples) == list("012345")


@pytest.mark.parametrize(("processes", "machines", "workers"), [(1, 1, 8), (4, 1, 2), (4, 2, 4), (16, 1, 1)])
def test_processes_of_one_machine_share_its_cores(samples, monkeypatch, processes, machines, workers):
    asked = {}
    monkeypatch.setattr("medfe.training.generator.available_cores", lambda: 8)
    monkeypatch.setattr(RtvCache, "fill", lambda *_, **options: asked.update(options) or SimpleNamespace(interrupted=0))
    assert make_structure_images(samples, fabric(0, processes, machines=machines), StopRequest())
    assert asked["workers"] == workers


def test_one_that_is_interrupted_stops_all(samples):
    assert not make_structure_images(samples, fabric(0, 6, lambda flag: flag + 1), StopRequest())


def test_when_the_time_is_over_it_stops_but_every_start_gets_further(samples):
    counts = [0]
    while not make_structure_images(samples, fabric(0, 1), StopRequest(0)):
        assert len(made(samples)) > counts[-1]
        counts.append(len(made(samples)))
    assert counts[1] < 6
    assert len(made(samples)) == 6
