"""Test sets: the same images and masks for everybody, and clear words where there are not enough."""

import shutil

import numpy as np
import pytest
from PIL import Image

from medfe.config import DataConfig
from medfe.data.files import list_photographs
from medfe.data.masks import center_mask
from medfe.errors import MedfeError
from medfe.evaluation.testset import TestSet, age_group


def write_masks(folder, count, size):
    folder.mkdir()
    for i in range(count):
        mask = np.zeros((size, size), dtype=np.uint8)
        mask[2 : 6 + i, 3:9] = 255
        Image.fromarray(mask).save(folder / f"{i}.png")
    return folder


def test_masks_depend_on_the_seed_alone(faces):
    sets = [TestSet(faces, 32, 8) for _ in range(3)]
    for testset, seed in zip(sets, (1, 1, 2), strict=True):
        testset.draw_masks("irregular", 2, seed)
    assert len(sets[0]) == 16
    np.testing.assert_array_equal(sets[0].packed_masks, sets[1].packed_masks)
    assert (sets[0].packed_masks != sets[2].packed_masks).any()
    assert sets[0].digest == sets[1].digest


def test_stored_masks_come_back_bit_for_bit(faces):
    drawn, restored = TestSet(faces, 33, 4), TestSet(faces, 33, 4)  # 33² is no multiple of 8
    drawn.draw_masks("center", 3, 0)
    restored.set_masks(drawn.packed_masks)
    assert restored.masks_per_image == 3
    for item in range(12):
        np.testing.assert_array_equal(restored.mask(item), center_mask(33))


def test_a_batch_pairs_each_image_with_its_masks(faces):
    testset = TestSet(faces, 32, 5)
    testset.draw_masks("irregular_thick", 2, 0)
    images, masks = testset.batch(range(3, 7))
    for place, item in enumerate(range(3, 7)):
        assert (images[place] == testset.image(item // 2)).all()
        assert (masks[place, 0].numpy() == testset.mask(item)).all()


def test_files_of_a_folder_are_used_equally_often(faces, tmp_path):
    folder = write_masks(tmp_path / "masks", 4, 32)
    testset = TestSet(faces, 32, 12)
    testset.draw_masks(str(folder), 1, 0)
    areas = [int(testset.mask(item).sum()) for item in range(12)]
    assert sorted(areas) == sorted(3 * [6 * (4 + i) for i in range(4)])
    assert areas != sorted(areas)


def test_masks_of_another_size_are_refused_unless_they_may_be_resized(faces, tmp_path):
    folder = write_masks(tmp_path / "masks", 2, 16)
    testset = TestSet(faces, 32, 4)
    with pytest.raises(MedfeError, match=r"mask is 16×16, image is 32×32; --resize-masks"):
        testset.draw_masks(str(folder), 1, 0)
    testset.draw_masks(str(folder), 1, 0, resize=True)
    assert testset.mask(0).shape == (32, 32)


def test_an_empty_mask_is_named(faces, tmp_path):
    folder = tmp_path / "masks"
    folder.mkdir()
    Image.new("L", (32, 32)).save(folder / "nothing.png")
    with pytest.raises(MedfeError, match=r"nothing\.png: empty"):
        TestSet(faces, 32, 4).draw_masks(str(folder), 1, 0)


def test_a_part_is_what_training_on_the_rest_leaves_out(faces):
    trained = list_photographs(DataConfig(root=faces, split="train"))
    val, test = (TestSet(faces, 32, part=part).names for part in ("val", "test"))
    assert sorted([*val, *test, *(path.name for path in trained)]) == TestSet(faces, 32).names


def test_celeba_s_test_part_is_that_of_its_list(faces, tmp_path):
    shutil.copytree(faces, tmp_path / "img_align_celeba")
    names = sorted(path.name for path in faces.iterdir())
    (tmp_path / "list_eval_partition.txt").write_text("\n".join(f"{name} {i % 3}" for i, name in enumerate(names)))
    testset = TestSet(tmp_path, 32, part="test", layout="celeba")
    assert testset.names == [f"img_align_celeba/{name}" for name in names[2::3]]


def test_fewer_images_than_asked_for_are_counted(faces):
    with pytest.raises(MedfeError, match=r"found 12 images, expected 2048"):
        TestSet(faces, 32, 2048)


def test_crops_of_one_photograph_stay_together(faces):
    testset = TestSet(faces, 32, 30, crop="random", seed=3)
    assert len(testset.images) == 30
    assert len(np.unique(testset.photographs)) == 12
    assert [testset.names[i] for i in (0, 12, 24)] == [testset.names[0]] * 3
    assert (testset.image(0) != testset.image(12)).any()


def test_age_and_sex_come_from_utkfaces_names(faces, tmp_path):
    testset = TestSet(faces, 32, 12)
    testset.draw_masks("center", 2, 0)
    table = testset.table()
    assert len(table) == 24
    for row in table.itertuples():
        age, sex = row.photograph.split("_")[:2]
        assert (row.age, row.sex) == (int(age), ["male", "female"][int(sex)])
    assert set(table["area_bin"]) == {"20-30"}


def test_a_face_whose_name_says_no_sex_is_in_no_group_and_the_others_are(faces, tmp_path):
    wrong, *rest = sorted(faces.iterdir())[:5]
    (tmp_path / "61_3_20170109150557335.png").write_bytes(wrong.read_bytes())  # as in UTKFace
    for path in rest:
        (tmp_path / path.name).write_bytes(path.read_bytes())
    testset = TestSet(tmp_path, 32)
    testset.draw_masks("center", 1, 0)
    table = testset.table().set_index("photograph")
    assert table.loc["61_3_20170109150557335.png", ["age", "sex"]].isna().all()
    for path in rest:
        assert table.loc[path.name, "age"] == int(path.name.split("_")[0])
        assert table.loc[path.name, "sex"] in ("male", "female")


def test_other_names_say_nothing_about_people(faces, tmp_path):
    for i, path in enumerate(sorted(faces.iterdir())[:5]):
        name = f"portrait{i}.png" if i > 1 else f"2{i}_0_1_2017.png"  # by chance like UTKFace's
        (tmp_path / name).write_bytes(path.read_bytes())
    testset = TestSet(tmp_path, 32)
    testset.draw_masks("center", 1, 0)
    assert not {"age", "sex"} & set(testset.table().columns)


@pytest.mark.parametrize(
    ("age", "group"), [(0, "0-12"), (12, "0-12"), (13, "13-19"), (59, "40-59"), (116, "60 and over")]
)
def test_ages_fall_into_groups(age, group):
    assert age_group(age) == group
