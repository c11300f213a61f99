"""Photographs for evaluation: whole, in order, and only those that can be decoded."""

import pytest
import torch
from PIL import Image

from medfe.data.folder import EvaluationPhotographs
from medfe.data.images import load_image, to_tensor
from medfe.errors import MedfeError

from .conftest import COUNT, photograph, places, squares


def test_evaluation_shows_central_squares_in_sorted_order(folder):
    dataset = EvaluationPhotographs(folder, 48)
    assert len(dataset) == COUNT
    for index, (item, expected) in enumerate(zip(dataset, squares(folder, 48), strict=True)):
        assert item["path"] == str(folder / f"{index}.png")
        assert torch.equal(item["image"], expected)


def test_evaluation_leaves_out_every_file_that_cannot_be_decoded(damaged, caplog):
    dataset = EvaluationPhotographs(damaged, 64)
    assert [path.name for path in dataset.paths] == ["0.png", "3.png"]
    assert sorted(path.name for path in dataset.unreadable) == ["1.png", "2.png"]
    assert len(caplog.records) == 2


def test_a_limit_takes_a_fair_sample_that_grows_without_changing(tmp_path):
    for number in range(60):
        Image.new("RGB", (64, 64), (number, 0, 0)).save(tmp_path / f"{number:02}.png")
    few, more = (EvaluationPhotographs(tmp_path, 64, limit=limit).paths for limit in (20, 40))
    assert (len(few), len(more)) == (20, 40)
    assert few == sorted(few)
    assert set(few) < set(more)
    assert len([path for path in few if path.stem < "30"]) in range(5, 16)  # not the first twenty by name
    assert len(EvaluationPhotographs(tmp_path, 64, limit=1000)) == 60


def test_evaluation_takes_a_part_of_the_folder(tmp_path):
    for part in ("train", "test"):
        (tmp_path / part).mkdir()
        photograph(0).save(tmp_path / part / "a.png")
    assert EvaluationPhotographs(tmp_path, 64, part="test").paths == [tmp_path / "test" / "a.png"]


def test_random_crops_are_native_spread_evenly_and_repeatable(folder):
    crops = EvaluationPhotographs(folder, 64).random_crops(3 * COUNT, seed=2)
    again = EvaluationPhotographs(folder, 64).random_crops(3 * COUNT, seed=2)
    other = EvaluationPhotographs(folder, 64).random_crops(3 * COUNT, seed=3)
    items = list(crops)
    assert [item["photograph"] for item in items] == 3 * list(range(COUNT))
    for item in items:
        assert len(places(item["image"], to_tensor(load_image(item["path"])))) == 1
    assert all(torch.equal(item["image"], again[index]["image"]) for index, item in enumerate(items))
    assert not all(torch.equal(item["image"], other[index]["image"]) for index, item in enumerate(items))
    assert not torch.equal(items[0]["image"], items[COUNT]["image"])


def test_photographs_too_small_for_a_crop_are_left_out(tmp_path):
    photograph(0, 63, 200).save(tmp_path / "narrow.png")
    with pytest.raises(MedfeError, match="none of 1 photographs is at least 64×64"):
        EvaluationPhotographs(tmp_path, 64).random_crops(2)
    photograph(1, 64, 64).save(tmp_path / "fits.png")
    crops = EvaluationPhotographs(tmp_path, 64).random_crops(2)
    assert [path.name for path in crops.paths] == ["fits.png"]
