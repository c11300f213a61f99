import numpy as np
import pooch
import pytest

from medfe.data.samples import portraits, scenes


def test_portraits_are_two_square_faces_in_colour():
    faces = portraits()
    assert {name: face.size for name, face in faces.items()} == {"astronaut": (120, 120), "grace_hopper": (188, 188)}
    assert all(face.mode == "RGB" for face in faces.values())


def test_the_portrait_of_the_astronaut_is_cut_from_the_scene():
    whole, face = np.asarray(scenes()["astronaut"]), np.asarray(portraits()["astronaut"])
    assert np.array_equal(face, whole[65:185, 165:285])


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
