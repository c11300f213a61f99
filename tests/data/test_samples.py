import numpy as np
import pooch
import pytest

from medfe.data.samples import portraits, scenes


def test_portraits_are_two_square_faces_in_colour():
    faces = portraits()
    assert {name: face.size for name, face in faces.items()} == {"astronaut": (110, 110), "grace_hopper": (215, 215)}
    assert all(face.mode == "RGB" for face in faces.values())


@pytest.mark.parametrize("name", ["astronaut", "grace_hopper"])
def test_eyes_lie_where_aligned_faces_have_them(name):
    grey = np.asarray(portraits()[name].convert("L").resize((100, 100)))
    for column in (29, 69):
        around = grey[20:40, column - 14 : column + 15].astype(float)
        darkest = np.argwhere(around < np.percentile(around, 5)).mean(axis=0)  # pupil and lashes
        assert np.abs(darkest - (9, 14)).max() < 6


def test_the_portrait_of_the_astronaut_is_cut_from_the_scene():
    whole, face = np.asarray(scenes()["astronaut"]), np.asarray(portraits()["astronaut"])
    assert np.array_equal(face, whole[70:180, 170:280])


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
