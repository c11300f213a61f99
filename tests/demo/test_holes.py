import base64
import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from demo.holes import RULES, Canvas, by_rule, from_canvas, from_file, grown, on_canvas, read_drawing
from demo.pictures import VIEW_SIDE, canvas_size
from medfe.errors import MedfeError

MASKS = arrays.arrays(bool, st.tuples(st.integers(16, 60), st.integers(16, 60)))


def as_url(content):
    return "data:image/png;base64," + base64.b64encode(content).decode()


def layer(alpha, file_format="PNG"):
    """A layer of a canvas as the browser sends it."""
    pixels = np.zeros((*alpha.shape, 4), dtype=np.uint8)
    pixels[..., 3] = alpha
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, format=file_format)
    return as_url(content.getvalue())


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
    hole = read_drawing(f"{layer(one)}\n{layer(two)}")
    assert np.argwhere(hole).tolist() == [[0, 1], [0, 2], [7, 7]]


def test_a_large_picture_gets_the_hole_drawn_on_its_small_view():
    size = (4 * VIEW_SIDE, 2 * VIEW_SIDE)
    drawn = np.zeros(canvas_size(size)[::-1], dtype=bool)
    drawn[100:200, 300:400] = True
    hole = from_canvas(drawn, size)
    assert hole.shape == size[::-1]
    assert hole[400:800, 1200:1600].all()
    assert hole.sum() == 400 * 400


@pytest.mark.parametrize("sent", [None, "", "\n"])
def test_nothing_drawn_is_an_empty_hole(sent):
    assert read_drawing(sent) is None
    assert not from_canvas(None, (20, 30)).any()


def test_a_drawing_of_another_picture_is_refused():
    with pytest.raises(MedfeError, match="choose the picture again"):
        from_canvas(np.ones((10, 10), dtype=bool), (20, 30))


SQUARE = np.zeros((4, 4), dtype=np.uint8)


@pytest.mark.parametrize(
    "sent",
    [
        "no address",
        "data:image/png;base64,",
        "data:image/png;base64,?!",
        as_url(b"GIF89a"),
        layer(SQUARE, "WEBP"),
        layer(np.zeros((VIEW_SIDE + 1, 4), dtype=np.uint8)),
        f"{layer(SQUARE)} {layer(SQUARE[1:])}",
        " ".join([layer(SQUARE)] * 9),
    ],
)
def test_a_drawing_that_no_canvas_makes_is_refused(sent):
    with pytest.raises(MedfeError, match="drawing"):
        read_drawing(sent)


def test_a_layer_that_is_too_large_is_not_decoded(monkeypatch):
    sent = layer(np.zeros((VIEW_SIDE + 1, 4), dtype=np.uint8))
    monkeypatch.setattr(Image.Image, "convert", lambda *_: pytest.fail("it was decoded"))
    with pytest.raises(MedfeError, match=f"4×{VIEW_SIDE + 1} pixels"):
        read_drawing(sent)


def test_the_canvas_takes_no_pictures_of_its_own_accord():
    """What Gradio keeps of these for later stays until somebody asks for it: anyone could fill the memory with it."""
    canvas = Canvas(render=False)
    assert canvas.server_fns == []
    assert not hasattr(canvas.accept_blobs, "_is_server_fn")


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
