import re
from typing import get_args

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from medfe.config import MaskKind
from medfe.data.masks import (
    AREA_BINS,
    IRREGULAR,
    GeneratedMasks,
    MaskFolder,
    area_bin,
    center_mask,
    check_mask,
    load_mask,
    make_mask,
    mask_to_tensor,
    parse_masks,
)
from medfe.errors import MedfeError

KINDS = get_args(MaskKind)


def masks(kind, size, count, seed=0):
    rng = np.random.default_rng(seed)
    return np.array([make_mask(kind, size, rng) for _ in range(count)])


def with_hole(height, width, rows):
    mask = np.zeros((height, width), dtype=bool)
    mask[:rows] = True
    return mask


def save(mask, path):
    Image.fromarray(np.where(mask, 255, 0).astype(np.uint8)).save(path)
    return path


@settings(deadline=None)
@given(st.sampled_from(KINDS), st.integers(4, 300), st.integers(0, 2**32))
def test_a_mask_is_never_empty_never_full_and_repeats_with_its_seed(kind, size, seed):
    mask = make_mask(kind, size, np.random.default_rng(seed))
    assert mask.shape == (size, size)
    assert mask.dtype == bool
    assert 0 < mask.mean() <= 0.5
    assert np.array_equal(mask, make_mask(kind, size, np.random.default_rng(seed)))
    if size >= 64:
        assert area_bin(mask) is not None


@pytest.mark.parametrize("size", [64, 66, 256])
def test_the_centre_mask_is_the_middle_half_of_rows_and_columns(size):
    mask = center_mask(size)
    inside = (np.arange(size) >= size // 4) & (np.arange(size) < 3 * size // 4)
    assert np.array_equal(mask, np.outer(inside, inside))


def test_a_box_is_one_rectangle_with_sides_of_a_quarter_to_a_half():
    boxes = masks("box", 64, 300)
    rows, columns = boxes.any(axis=2), boxes.any(axis=1)
    assert np.array_equal(boxes, rows[:, :, None] & columns[:, None, :])
    for covered in (rows, columns):
        sides = covered.sum(axis=1)
        assert (np.abs(np.diff(covered.astype(int), axis=1)).sum(axis=1) <= 2).all()  # one run
        assert (sides.min(), sides.max()) == (16, 32)
    assert rows.any(axis=0).all()
    assert columns.any(axis=0).all()


@pytest.mark.parametrize("kind", ["brush", *IRREGULAR])
def test_random_holes_reach_every_pixel_and_differ(kind):
    drawn = masks(kind, 64, 300)
    assert drawn.any(axis=0).all()
    assert not drawn.all(axis=0).any()
    assert len({mask.tobytes() for mask in drawn}) == 300


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("column", [0, 1])
def test_the_documented_areas_hold(kind, column):
    (row,) = re.findall(rf"\| {kind} \|(.*)\|\n", make_mask.__doc__)
    mean, deviation = map(float, row.split("|")[column].split("±"))
    shares = 100 * masks(kind, (64, 128)[column], 400, seed=1).mean(axis=(1, 2))
    assert abs(shares.mean() - mean) <= 4 * deviation / np.sqrt(400) + 0.05
    assert abs(shares.std() - deviation) <= 0.2 * deviation


def test_thick_holes_are_thicker_than_medium_ones_and_those_than_thin_ones():
    def half_width(mask):
        return cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, 3).max()

    thin, medium, thick = (np.mean([half_width(mask) for mask in masks(kind, 128, 200)]) for kind in IRREGULAR)
    assert 1.5 * thin < medium < thick / 1.3


def test_an_unknown_kind_or_a_tiny_size_is_an_error():
    rng = np.random.default_rng(0)
    with pytest.raises(MedfeError, match="unknown mask 'star', expected one of: center, box"):
        make_mask("star", 64, rng)
    with pytest.raises(MedfeError, match="size 3, expected at least 4"):
        make_mask("box", 3, rng)


def test_mask_tensors_are_one_in_the_hole():
    mask = with_hole(3, 5, 1)
    tensor = mask_to_tensor(mask)
    assert tensor.dtype == torch.float32
    assert tensor.tolist() == [[[1] * 5, [0] * 5, [0] * 5]]


def test_empty_and_full_masks_are_errors_that_name_the_file():
    check_mask(with_hole(4, 4, 1))
    with pytest.raises(MedfeError, match=r"^a\.png: empty"):
        check_mask(with_hole(4, 4, 0), "a.png")
    with pytest.raises(MedfeError, match=r"^mask: full"):
        check_mask(with_hole(4, 4, 4))


def test_a_mask_file_is_cut_at_128(tmp_path):
    Image.fromarray(np.array([[0, 127, 128, 255]], dtype=np.uint8)).save(tmp_path / "mask.png")
    assert load_mask(tmp_path / "mask.png").tolist() == [[False, False, True, True]]
    assert load_mask(tmp_path / "mask.png", hole="black").tolist() == [[True, True, False, False]]


@pytest.mark.parametrize("mode", ["1", "L", "RGB", "RGBA", "P", "LA"])
def test_masks_of_any_mode_are_read(tmp_path, mode):
    mask = np.random.default_rng(0).random((20, 30)) < 0.3
    Image.fromarray(np.where(mask, 255, 0).astype(np.uint8)).convert(mode).save(tmp_path / "mask.png")
    assert np.array_equal(load_mask(tmp_path / "mask.png", (30, 20)), mask)


@pytest.mark.parametrize("hole", ["white", "black"])
def test_transparent_pixels_are_known(tmp_path, hole):
    level = 255 if hole == "white" else 0
    Image.fromarray(np.array([[[level, 255], [level, 0]]], dtype=np.uint8), "LA").save(tmp_path / "mask.png")
    assert load_mask(tmp_path / "mask.png", hole=hole).tolist() == [[True, False]]


def test_a_mask_of_another_size_is_an_error(tmp_path):
    path = save(with_hole(90, 100, 10), tmp_path / "mask.png")
    with pytest.raises(MedfeError, match=r"mask\.png: mask is 100×90, image is 128×128$"):
        load_mask(path, (128, 128))


@given(arrays.arrays(bool, (20, 20)))
def test_the_area_bin_contains_the_share(mask):
    name, share = area_bin(mask), mask.sum() / 400
    if name is None:
        assert share <= 0.01 or share > 0.6
    else:
        low, high = (int(bound) / 100 for bound in name.split("-"))
        assert low < share <= high


@pytest.mark.parametrize(
    ("cells", "name"),
    [(4, None), (5, "1-10"), (40, "1-10"), (41, "10-20"), (200, "40-50"), (240, "50-60"), (241, None)],
)
def test_area_bins_contain_their_upper_bound(cells, name):
    assert area_bin(np.arange(400).reshape(20, 20) < cells) == name


@pytest.fixture
def mask_files(tmp_path):
    """Six masks with 5, 15, …, 55 % of the rows, largest first by name."""
    for index, rows in enumerate([55, 45, 35, 25, 15, 5]):
        save(with_hole(100, 100, rows), tmp_path / f"{index}.png")
    return tmp_path


def test_a_folder_gives_all_its_masks_at_the_size_asked_for(mask_files):
    folder = MaskFolder(mask_files)
    assert [path.name for path in folder.paths] == [f"{index}.png" for index in range(6)]
    assert [round(folder.load(index, 20).mean(), 2) for index in range(6)] == [0.55, 0.45, 0.35, 0.25, 0.15, 0.05]
    rng = np.random.default_rng(0)
    shares = {round(folder.mask(20, rng).mean(), 2) for _ in range(60)}
    assert len(shares) == 6
    again = MaskFolder(mask_files).sample(20, np.random.default_rng(3))
    assert np.array_equal(again, folder.sample(20, np.random.default_rng(3)))


def test_the_other_polarity_inverts_a_folder(mask_files):
    assert np.array_equal(MaskFolder(mask_files, "black").load(2, 50), ~MaskFolder(mask_files).load(2, 50))


@pytest.mark.parametrize("name", list(AREA_BINS))
def test_a_folder_is_narrowed_to_an_area_bin(mask_files, name):
    (path,) = MaskFolder(mask_files, area=name).paths
    assert area_bin(load_mask(path)) == name


def test_area_bins_that_do_not_exist_or_are_empty_are_errors(mask_files):
    with pytest.raises(MedfeError, match="unknown area bin '0-1'"):
        MaskFolder(mask_files, area="0-1")
    (mask_files / "5.png").unlink()
    with pytest.raises(MedfeError, match="none of 5 masks has a hole of 1-10 %"):
        MaskFolder(mask_files, area="1-10")


def test_unusable_files_of_a_folder_give_way_to_the_next_and_are_reported(tmp_path, caplog):
    save(with_hole(8, 8, 0), tmp_path / "0_empty.png")
    (tmp_path / "1_broken.png").write_bytes(b"no image")
    with pytest.raises(MedfeError, match="none of 2 masks is usable at 8×8"):
        MaskFolder(tmp_path).sample(8, np.random.default_rng(0))
    caplog.clear()
    save(with_hole(8, 8, 2), tmp_path / "2_good.png")
    folder, rng = MaskFolder(tmp_path), np.random.default_rng(0)
    assert all(folder.sample(8, rng).sum() == 16 for _ in range(20))
    for name in ("1_broken.png", "0_empty.png"):
        assert sum(name in record.getMessage() for record in caplog.records) == 1


def test_an_area_bin_skips_unreadable_files(mask_files):
    (mask_files / "broken.png").write_bytes(b"no image")
    assert len(MaskFolder(mask_files, area="10-20").paths) == 1


def test_the_share_of_centre_masks_is_kept_and_the_others_are_equally_likely():
    rng, source = np.random.default_rng(0), GeneratedMasks(center_share=0.5)
    drawn = [source.mask(32, rng) for _ in range(600)]
    centers = sum(np.array_equal(mask, center_mask(32)) for mask in drawn)
    assert abs(centers - 300) < 4 * np.sqrt(150)
    assert all(np.array_equal(GeneratedMasks(1.0).mask(32, rng), center_mask(32)) for _ in range(20))


@pytest.mark.parametrize("rule", [*KINDS, "irregular"])
def test_rules_of_the_command_line_yield_their_masks(rule):
    source, rng = parse_masks(rule), np.random.default_rng(0)
    drawn = [source.mask(64, rng) for _ in range(30)]
    kinds = IRREGULAR if rule == "irregular" else (rule,)
    assert source.kinds == kinds
    centers = [np.array_equal(mask, center_mask(64)) for mask in drawn]
    assert all(centers) if rule == "center" else not any(centers)


def test_a_rule_may_be_a_folder(mask_files):
    source = parse_masks(str(mask_files), hole="black")
    assert source.mask(20, np.random.default_rng(0)).mean() > 0.4


def test_what_is_neither_rule_nor_folder_is_an_error(tmp_path):
    with pytest.raises(MedfeError, match="'centre' is no folder and no rule, expected one of: center, box"):
        parse_masks("centre")
    with pytest.raises(MedfeError, match="no image in it"):
        parse_masks(str(tmp_path))
