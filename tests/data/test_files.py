import logging
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from medfe.config import DataConfig
from medfe.data.files import (
    PARTS,
    contents_digest,
    find_images,
    list_photographs,
    listing_digest,
    readable,
    shuffled,
    split,
)
from medfe.errors import MedfeError

NAMES = st.sets(st.text("abcxyz019", min_size=1, max_size=6), min_size=3, max_size=90)


def touch(root, *names):
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def names(paths, root):
    return [path.relative_to(root).as_posix() for path in paths]


def listed(root, **settings):
    return names(list_photographs(DataConfig(root=root, **settings)), root)


def test_images_are_found_at_any_depth_by_extension_in_sorted_order(tmp_path):
    touch(tmp_path, "b.JPG", "a/z.png", "a/deep/c.webp", "note.txt", ".hidden.png", "a.tiff", "noextension")
    touch(tmp_path, ".thumbnails/b.png", "a/.cache/z.png")
    assert names(find_images(tmp_path), tmp_path) == ["a/deep/c.webp", "a/z.png", "a.tiff", "b.JPG"]
    assert find_images(str(tmp_path)) == find_images(tmp_path)


def test_links_to_folders_are_followed_and_no_folder_is_read_twice(tmp_path):
    root, elsewhere = tmp_path / "root", tmp_path / "elsewhere"
    touch(root, "a.png", "x/b.png")
    touch(elsewhere, "c.png")
    try:
        for link, folder in {"self": ".", "x/up": "..", "again": "x", "linked": elsewhere, "a/link": "../x"}.items():
            (root / link).parent.mkdir(exist_ok=True)
            (root / link).symlink_to(folder, target_is_directory=True)
    except OSError:
        pytest.skip("links cannot be made here")
    assert names(find_images(root), root) == ["a.png", "linked/c.png", "x/b.png"]


def test_names_that_are_not_utf_8_are_names_like_others(tmp_path):
    try:
        touch(tmp_path, *(os.fsdecode(name) for name in (b"caf\xe9.png", b"b.png", b"c.png", b"d.png")))
    except OSError:
        pytest.skip("this file system takes no such names")
    paths = find_images(tmp_path)
    assert len(paths) == 4
    assert sorted(path for part in PARTS for path in split(paths, part, tmp_path)) == paths
    (tmp_path / "b.png").write_bytes(b"longer")
    assert len({listing_digest(some, tmp_path) for some in (paths, paths[1:], paths[:-1])}) == 3
    assert contents_digest(paths, tmp_path) != contents_digest(paths[::-1], tmp_path)


def test_missing_and_empty_folders_are_errors(tmp_path):
    with pytest.raises(MedfeError, match=r"absent: no such folder, expected a folder of images"):
        find_images(tmp_path / "absent")
    touch(tmp_path, "note.txt")
    with pytest.raises(MedfeError, match=r"note\.txt: is a file, expected a folder"):
        find_images(tmp_path / "note.txt")
    with pytest.raises(MedfeError, match=r"no image in it, expected files ending in .*\.jpg"):
        find_images(tmp_path)


@given(NAMES)
def test_the_parts_are_disjoint_cover_everything_and_depend_on_relative_names_alone(stems):
    here, there = ([root / f"{stem}.png" for stem in stems] for root in (Path("here"), Path("/somewhere/else")))
    parts = {part: split(here, part) for part in PARTS}
    assert sorted(path for part in PARTS for path in parts[part]) == split(here, "all") == sorted(here)
    held_out = max(1, len(stems) // 20)
    assert (len(parts["val"]), len(parts["test"])) == (held_out, held_out)
    for part in PARTS:
        assert parts[part] == sorted(parts[part])
        assert [path.name for path in split(there[::-1], part)] == [path.name for path in parts[part]]


def test_a_split_of_a_thousand_is_the_same_on_every_machine():
    paths = [Path(f"root/{number:04}.png") for number in range(1000)]
    sizes = {part: len(split(paths, part)) for part in PARTS}
    assert sizes == {"train": 900, "val": 50, "test": 50}
    smallest_digests = ["0261.png", "0807.png", "0653.png"]  # found with sha256sum and sort
    assert [path.name for path in shuffled(paths)[:3]] == smallest_digests


def test_names_count_from_the_root_that_is_given():
    paths = [Path(f"root/only/{number}.png") for number in range(50)]
    assert shuffled(paths, Path("root")) != shuffled(paths)
    assert shuffled(paths, Path("root/only")) == shuffled(paths)


def test_two_images_are_too_few_to_split(tmp_path):
    touch(tmp_path, "a.png", "b.png")
    assert len(listed(tmp_path)) == 2
    with pytest.raises(MedfeError, match="2 images, expected at least 3"):
        listed(tmp_path, split="train")


def test_folders_named_like_parts_are_the_split(tmp_path):
    touch(tmp_path, "train/a.png", "train/sub/b.png", "test/c.png")
    assert listed(tmp_path, split="train") == ["train/a.png", "train/sub/b.png"]
    assert listed(tmp_path, split="test") == ["test/c.png"]
    assert len(listed(tmp_path)) == 3
    with pytest.raises(MedfeError, match="no folder val in it, found train, test"):
        listed(tmp_path, split="val")


def test_a_configuration_without_a_folder_is_an_error():
    with pytest.raises(MedfeError, match=r"data\.root: not set"):
        list_photographs(DataConfig())


PARTITION = "000001.jpg 0\n000002.jpg 0\n000003.jpg 1\n000004.jpg 2\n"


@pytest.mark.parametrize(
    ("root", "listing"),
    [
        ("celeba", "celeba/list_eval_partition.txt"),
        ("celeba/img_align_celeba", "celeba/list_eval_partition.txt"),
        ("celeba/Img", "celeba/Eval/list_eval_partition.txt"),
        ("celeba", "celeba/Eval/list_eval_partition.txt"),
    ],
)
def test_celeba_is_split_by_its_official_list_wherever_the_release_puts_it(tmp_path, root, listing):
    images = "celeba/Img/img_align_celeba" if root.endswith("Img") else "celeba/img_align_celeba"
    touch(tmp_path, *(f"{images}/00000{number}.jpg" for number in range(1, 5)), listing)
    (tmp_path / listing).write_text(PARTITION)
    found = {
        part: [Path(name).stem[-1] for name in listed(tmp_path / root, layout="celeba", split=part)]
        for part in ("all", *PARTS)
    }
    assert found == {"all": ["1", "2", "3", "4"], "train": ["1", "2"], "val": ["3"], "test": ["4"]}


def test_celeba_without_list_or_with_another_list_is_an_error(tmp_path):
    touch(tmp_path, "000001.jpg")
    with pytest.raises(MedfeError, match=r"list_eval_partition\.txt not found"):
        listed(tmp_path, layout="celeba", split="train")
    (tmp_path / "list_eval_partition.txt").write_text("image_id,partition\n")
    with pytest.raises(MedfeError, match=r"line 1 is 'image_id,partition', expected a file name and 0, 1 or 2"):
        listed(tmp_path, layout="celeba", split="train")
    (tmp_path / "list_eval_partition.txt").write_text("000001.jpg 0\n000002.jpg 1\n")
    with pytest.raises(MedfeError, match=r"none of the 1 images that list_eval_partition\.txt lists for val"):
        listed(tmp_path, layout="celeba", split="val")


def test_images_of_celeba_that_are_missing_are_counted(tmp_path, caplog):
    touch(tmp_path, "000001.jpg")
    (tmp_path / "list_eval_partition.txt").write_text(PARTITION)
    assert listed(tmp_path, layout="celeba", split="train") == ["000001.jpg"]
    assert "1 of 2 images of train are missing" in caplog.text


def test_unreadable_files_are_listed_counted_and_named(tmp_path, caplog):
    Image.fromarray(np.zeros((4, 4, 3), dtype=np.uint8)).save(tmp_path / "good.png")
    touch(tmp_path, "empty.jpg")
    (tmp_path / "text.png").write_text("hello")
    with caplog.at_level(logging.INFO):
        good, bad = readable(find_images(tmp_path))
    assert names(good, tmp_path) == ["good.png"]
    assert names(bad, tmp_path) == ["empty.jpg", "text.png"]
    summary, *details = (record.getMessage() for record in caplog.records)
    assert summary.startswith("2 of 3 files skipped; the first: ")
    assert ["empty.jpg" in details[0], "text.png" in details[1]] == [True, True]
    with pytest.raises(MedfeError, match=r"none of 2 files can be read; the first: .*empty\.jpg"):
        readable(bad)
