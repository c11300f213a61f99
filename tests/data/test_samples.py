import numpy as np
import pooch
import pytest
import skimage.data
from matplotlib import cbook
from PIL import Image

from medfe.data.samples import portraits, scenes


def test_portraits_are_two_square_faces_in_colour():
    faces = portraits()
    assert {name: face.size for name, face in faces.items()} == {"astronaut": (110, 110), "grace_hopper": (215, 215)}
    assert all(face.mode == "RGB" for face in faces.values())


# Eyes and mouth, (x, y) in pixels of the whole photograph, found by hand.
LANDMARKS = {
    "astronaut": [(201.9, 101.3), (246.9, 103.1), (223.8, 145.4)],
    "grace_hopper": [(223.1, 189.6), (304.9, 185.9), (267.8, 277.1)],
}
# The same in the mean of UTKFace's aligned faces, as shares of width and height.
MEAN_FACE = [(0.29, 0.29), (0.69, 0.29), (0.49, 0.69)]


def whole(name):
    if name == "astronaut":
        return Image.fromarray(skimage.data.astronaut())
    return Image.open(cbook.get_sample_data("grace_hopper.jpg", asfileobj=False)).convert("RGB")


@pytest.mark.parametrize("name", LANDMARKS)
def test_portraits_are_cut_so_that_eyes_and_mouth_lie_as_in_aligned_faces(name):
    """Least squares: landmark ≈ corner + side · place in the mean face, in x and y."""
    rows = [row for x, y in MEAN_FACE for row in ([1, 0, x], [0, 1, y])]
    (left, top, side), *_ = np.linalg.lstsq(np.array(rows), np.array(LANDMARKS[name]).flatten())
    side = round(side)
    left, top = round(left), round(top)
    cut = whole(name).crop((left, top, left + side, top + side))
    assert np.array_equal(np.asarray(portraits()[name]), np.asarray(cut))
    for (x, y), (share_x, share_y) in zip(LANDMARKS[name], MEAN_FACE, strict=True):
        assert abs((x - left) / side - share_x) < 0.02
        assert abs((y - top) / side - share_y) < 0.03


@pytest.mark.parametrize("make", [portraits, scenes])
def test_sample_photographs_are_read_without_network(make, monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("download")

    monkeypatch.setattr(pooch.Pooch, "fetch", refuse)
    monkeypatch.setattr(pooch, "retrieve", refuse)
    assert make()


def test_scenes_are_large_rgb_photographs():
    pictures = scenes()
    assert len(pictures) >= 6
    for picture in pictures.values():
        assert picture.mode == "RGB"
        assert min(picture.size) >= 256
        assert np.asarray(picture).std() > 10
