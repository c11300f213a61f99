import io

import numpy as np
import pytest
from gradio.components.image_editor import EditorData, EditorDataBlobs
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from demo.holes import RULES, HoleEditor, by_rule, from_canvas, from_file, grown, on_canvas
from demo.pictures import VIEW_SIDE, canvas_size
from medfe.errors import MedfeError

MASKS = arrays.arrays(bool, st.tuples(st.integers(16, 60), st.integers(16, 60)))


def as_png(alpha):
    layer = np.zeros((*alpha.shape, 4), dtype=np.uint8)
    layer[..., 3] = alpha
    content = io.BytesIO()
    Image.fromarray(layer).save(content, format="PNG")
    return content.getvalue()


def received(*layers):
    """What the canvas gives for layers that a browser sent."""
    editor = HoleEditor(render=False)
    editor.blob_storage["1"] = EditorDataBlobs(background=b"never read", layers=list(layers), composite=b"never read")
    value = editor.preprocess(EditorData(id="1"))
    assert "1" not in editor.blob_storage
    return value


@settings(deadline=None)  # a loaded machine is no failure
@given(MASKS)
def test_a_hole_that_is_put_on_the_canvas_comes_back_exactly(hole):
    picture = Image.new("RGB", (hole.shape[1], hole.shape[0]))
    value = on_canvas(picture, hole)
    assert value["background"].size == value["layers"][0].size == canvas_size(picture.size)
    alpha = np.asarray(value["layers"][0].getchannel("A"))
    assert np.array_equal(from_canvas(alpha >= 128, picture.size), hole)


def test_the_hole_is_where_any_layer_is_at_least_half_opaque():
    one, two = np.zeros((2, 8, 8), dtype=np.uint8)
    one[0, :3] = (127, 128, 255)
    two[7, 7] = 200
    hole = received(as_png(one), None, as_png(two))
    assert np.argwhere(hole).tolist() == [[0, 1], [0, 2], [7, 7]]


def test_a_large_picture_gets_the_hole_drawn_on_its_small_view():
    size = (4 * VIEW_SIDE, 2 * VIEW_SIDE)
    drawn = np.zeros(canvas_size(size)[::-1], dtype=bool)
    drawn[100:200, 300:400] = True
    hole = from_canvas(drawn, size)
    assert hole.shape == size[::-1]
    assert hole[400:800, 1200:1600].all()
    assert hole.sum() == 400 * 400


def test_nothing_drawn_is_an_empty_hole():
    assert received() is None
    assert HoleEditor(render=False).preprocess(None) is None
    assert HoleEditor(render=False).preprocess(EditorData(id="of another server")) is None
    assert not from_canvas(None, (20, 30)).any()


def test_a_drawing_of_another_picture_is_refused():
    with pytest.raises(MedfeError, match="choose the picture again"):
        from_canvas(np.ones((10, 10), dtype=bool), (20, 30))


@pytest.mark.parametrize(
    "layers",
    [
        [b"", b""],
        [b"GIF89a"],
        [as_png(np.zeros((VIEW_SIDE + 1, 4), dtype=np.uint8))],
        [as_png(np.zeros((4, 4), dtype=np.uint8)), as_png(np.zeros((5, 4), dtype=np.uint8))],
    ],
)
def test_a_drawing_that_no_canvas_makes_is_refused(layers):
    with pytest.raises(MedfeError, match="drawing"):
        received(*layers)


@pytest.mark.parametrize("button", RULES)
@pytest.mark.parametrize("size", [(120, 120), (200, 90)])
def test_every_button_draws_the_same_hole_for_the_same_seed(button, size):
    hole = by_rule(button, size, 3)
    assert hole.shape == size[::-1]
    assert 0 < hole.mean() < 1
    assert np.array_equal(hole, by_rule(button, size, 3))
    assert button == "Centre" or not np.array_equal(hole, by_rule(button, size, 4))


def test_a_mask_file_must_have_the_picture_s_size(tmp_path):
    path = tmp_path / "private.png"
    mask = np.zeros((30, 20), dtype=np.uint8)
    mask[3:5, 7:9] = 255
    Image.fromarray(mask).save(path)
    assert np.array_equal(from_file(path, "The mask file", (20, 30)), mask > 0)
    with pytest.raises(MedfeError, match="The mask file: mask is 20×30, image is 30×20"):
        from_file(path, "The mask file", (30, 20))


@settings(deadline=None)  # a loaded machine is no failure
@given(MASKS, st.integers(1, 4))
def test_growing_adds_shrinking_takes_away_and_both_mirror_each_other(hole, pixels):
    larger, smaller = grown(hole, pixels), grown(hole, -pixels)
    assert (larger >= hole).all()
    assert (smaller <= hole).all()
    assert np.array_equal(~grown(~hole, pixels), smaller)


def test_a_single_pixel_grows_into_a_disc():
    hole = np.zeros((41, 41), dtype=bool)
    hole[20, 20] = True
    disc = grown(hole, 10)
    rows, columns = np.mgrid[-20:21, -20:21]
    distance = np.hypot(rows, columns)
    assert disc[distance <= 9].all()
    assert not disc[distance >= 11].any()
