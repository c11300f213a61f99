import math

import numpy as np
import pytest
import torch
from PIL import Image

from demo.comparison import FILL, MASKED, TRUTH, compare, differences, downloads, hole_metrics, rehearse, shown
from demo.pictures import VIEW_SIDE
from medfe.data.samples import portraits
from medfe.errors import MedfeError
from medfe.evaluation.metrics import image_metrics

SIDE = 110
PORTRAIT = portraits()["astronaut"]


def square_hole(top=40, left=30, side=25, shape=(SIDE, SIDE)):
    hole = np.zeros(shape, dtype=bool)
    hole[top : top + side, left : left + side] = True
    return hole


def pixels(path):
    return np.asarray(Image.open(path))


@pytest.fixture(scope="module")
def result(contenders, tmp_path_factory):
    return compare(PORTRAIT, square_hole(), contenders, tmp_path_factory.mktemp("cache"))


def test_known_pixels_of_every_file_equal_the_input(result):
    truth, known = np.asarray(PORTRAIT), ~square_hole()
    assert list(result.pictures()) == [TRUTH, MASKED, "MEDFE", "MEDFE+CAE", "MEDFE, no target"]
    for path in result.pictures().values():
        assert np.array_equal(pixels(path)[known], truth[known])
    assert np.array_equal(pixels(result.truth), truth)
    assert (pixels(result.masked)[~known] == FILL).all()
    assert np.array_equal(pixels(result.hole) > 0, ~known)
    assert result.share == 625 / SIDE**2


def test_a_run_knows_all_its_files_and_has_a_name_of_its_own(result, contenders, tmp_path):
    assert {path.parent.name for path in result.files()} == {result.name}
    assert sorted(result.files()) == sorted(path for path in result.truth.parent.iterdir() if path.is_file())
    other = compare(PORTRAIT, square_hole(), contenders[:1], tmp_path)
    assert other.name != result.name


def test_each_panel_is_its_model_s_own_work(result, contenders):
    for panel, (title, inpainter) in zip(result.panels, contenders, strict=True):
        assert panel.title == title
        assert np.array_equal(pixels(panel.file), np.asarray(inpainter(PORTRAIT, square_hole())))
        assert panel.milliseconds > 0


def test_a_blind_comparison_shuffles_and_names_neither_titles_nor_files(contenders, tmp_path):
    orders = set()
    for _ in range(12):
        blind = compare(
            PORTRAIT.resize((64, 64)), square_hole(shape=(64, 64), top=20), contenders, tmp_path, blind=True
        )
        orders.add(tuple(panel.title for panel in blind.panels))
        assert list(blind.pictures()) == [TRUTH, MASKED, "Picture A", "Picture B", "Picture C"]
        assert [panel.file.name for panel in blind.panels] == ["1.png", "2.png", "3.png"]
    assert len(orders) > 1  # 1 in 6^11 fails by chance
    named = blind.named().pictures()
    assert [named[panel.title] for panel in blind.panels] == [panel.file for panel in blind.panels]


@pytest.mark.parametrize("hole", [np.zeros((SIDE, SIDE), dtype=bool), np.ones((SIDE, SIDE), dtype=bool)])
def test_an_empty_or_a_full_hole_is_refused_and_leaves_nothing(contenders, tmp_path, hole):
    with pytest.raises(MedfeError, match="hole"):
        compare(PORTRAIT, hole, contenders, tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "hole",
    [square_hole(), square_hole(0, 0, 3), square_hole(100, 100, 20), square_hole(0, 60, 119), square_hole(60, 60, 1)],
)
def test_metrics_from_the_hole_s_surroundings_are_those_of_the_whole_picture(hole):
    rng = np.random.default_rng(0)
    truth = np.asarray(PORTRAIT)
    filled = truth.copy()
    filled[hole] = rng.integers(0, 256, (hole.sum(), 3))
    one, two = (torch.from_numpy(array.copy()).permute(2, 0, 1)[None] for array in (filled, truth))
    whole = image_metrics(one, two, torch.from_numpy(hole)[None, None].float())
    expected = [float(whole[name]) for name in ("l1_hole", "psnr_hole", "ssim_hole")]
    found = hole_metrics(Image.fromarray(filled), PORTRAIT, hole)
    assert found == pytest.approx(expected, rel=1e-9, nan_ok=True)


def test_a_perfect_result_has_perfect_numbers():
    l1, psnr, ssim = hole_metrics(PORTRAIT, PORTRAIT, square_hole())
    assert (l1, ssim) == pytest.approx((0, 1))
    assert math.isinf(psnr)


def test_differences_share_a_scale_and_known_pixels_are_black(result):
    pictures, end = differences(result)
    hole = square_hole()
    errors = [np.abs(pixels(panel.file)[hole].astype(float) - np.asarray(PORTRAIT)[hole]) for panel in result.panels]
    assert end == pytest.approx(np.percentile(np.stack(errors).mean(axis=2) / 255, 99.5), rel=1e-5)
    for picture in pictures:
        colors = np.asarray(picture).astype(int).sum(axis=2)
        assert colors[~hole].max() <= 4  # the darkest colour of the map
        assert colors[hole].max() > 300


def test_large_pictures_are_shown_shrunk_and_saved_whole(contenders, tmp_path):
    photograph = PORTRAIT.resize((1600, 1200))
    large = compare(photograph, square_hole(400, 500, 300, shape=(1200, 1600)), contenders[:1], tmp_path)
    assert shown(large.truth).size == (VIEW_SIDE, VIEW_SIDE * 3 // 4)
    files = {path.name: Image.open(path) for path in downloads(large)}
    assert set(files) == {"grid.png", "ground-truth.png", "masked-input.png", "medfe.png", "mask.png"}
    assert files["medfe.png"].size == (1600, 1200)
    known = ~square_hole(400, 500, 300, shape=(1200, 1600))
    assert np.array_equal(np.asarray(files["medfe.png"])[known], np.asarray(photograph)[known])
    assert files["grid.png"].width > 3 * VIEW_SIDE
    assert all(set(image.info) <= {"interlace"} for image in files.values())


def test_small_pictures_are_shown_from_their_very_files(result):
    assert shown(result.truth) == result.truth


def test_a_rehearsal_leaves_nothing(contenders, tmp_path):
    rehearse(contenders, tmp_path)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
