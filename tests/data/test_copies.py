"""Copies of photographs in another folder."""

import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageOps

from medfe.data.copies import THRESHOLD, THUMBNAIL, find_copies
from medfe.data.evaluation_photographs import EvaluationPhotographs
from medfe.errors import MedfeError


@pytest.fixture
def folders(tmp_path):
    """Ten pictures of blurred noise to test on, ten others trained on."""
    rng = np.random.default_rng(0)
    for folder in ("test", "train"):
        (tmp_path / folder).mkdir()
        for number in range(10):
            noise = Image.fromarray(rng.integers(0, 256, (12, 12, 3), dtype=np.uint8))
            noise.resize((120, 120), Image.Resampling.BICUBIC).save(tmp_path / folder / f"{number}.png")
    return tmp_path / "test", tmp_path / "train"


def test_other_size_quality_and_colours_of_one_photograph_are_copies_and_nothing_else_is(folders):
    test, train = folders
    assert find_copies(*folders).empty
    Image.open(test / "3.png").resize((200, 200)).save(train / "small.jpg", quality=60)
    ImageEnhance.Color(Image.open(test / "7.png")).enhance(0.8).crop((1, 1, 120, 120)).save(train / "pale.png")
    ImageOps.mirror(Image.open(test / "9.png")).save(train / "mirrored.png")
    found = find_copies(*folders)
    assert list(zip(found["name"], found["copy"], found["mirrored"], strict=True)) == [
        ("3.png", "small.jpg", False), ("7.png", "pale.png", False), ("9.png", "mirrored.png", True)
    ]  # fmt: skip
    assert found["correlation"].between(THRESHOLD, 1).all()


def test_the_correlation_is_that_of_all_numbers_of_both_pictures(folders):  # the larger of plain and mirrored
    one, two = (EvaluationPhotographs(folder, THUMBNAIL) for folder in folders)
    pairs = [
        [
            np.corrcoef(picture.ravel(), b["image"].ravel())[0, 1]
            for b in two
            for picture in (a["image"], a["image"].flip(2))
        ]
        for a in one
    ]
    found = find_copies(*folders, threshold=-1)
    np.testing.assert_allclose(found["correlation"], np.max(pairs, axis=1), atol=1e-4)


def test_a_picture_of_one_colour_is_a_copy_of_nothing(tmp_path):
    for folder in ("test", "train"):
        (tmp_path / folder).mkdir()
        for level in range(0, 256, 5):
            Image.new("RGB", (50, 50), (level, level, level)).save(tmp_path / folder / f"{level}.png")
    assert find_copies(tmp_path / "test", tmp_path / "train").empty


@pytest.mark.parametrize("threshold", [94.6, -1.5, float("nan")])
def test_a_threshold_that_is_no_correlation_is_refused(folders, threshold):
    with pytest.raises(MedfeError, match=r"threshold: found .*, expected a correlation"):
        find_copies(*folders, threshold)


def test_a_folder_that_is_missing_is_named(folders):
    with pytest.raises(MedfeError, match="missing: no such folder"):
        find_copies(folders[0], folders[0] / "missing")
