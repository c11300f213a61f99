"""Pictures that are written: exact, whole or not at all, and never lossy."""

import numpy as np
import pytest
from PIL import Image

from medfe.data.images import load_image, save_png
from medfe.errors import MedfeError

PIXELS = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)


def test_a_png_keeps_every_pixel_and_its_folder_is_made(tmp_path):
    path = tmp_path / "new" / "folder" / "out.png"
    save_png(PIXELS, path)
    assert np.array_equal(load_image(path), PIXELS)
    assert [item.name for item in path.parent.iterdir()] == ["out.png"]


def test_an_interrupted_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "out.png"
    save_png(PIXELS, path)

    def half(self, file, **options):
        file.write_bytes(b"\x89PNG half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", half)
    with pytest.raises(MedfeError, match=r"out\.png: cannot be written \(No space left on device\)"):
        save_png(PIXELS[::-1].copy(), path)
    monkeypatch.undo()
    assert np.array_equal(load_image(path), PIXELS)
    assert list(tmp_path.iterdir()) == [path]


def test_a_lossy_or_unusable_name_is_refused(tmp_path):
    with pytest.raises(MedfeError, match=r"out\.jpg: expected a name ending in \.png"):
        save_png(PIXELS, tmp_path / "out.jpg")
    (tmp_path / "file").write_text("")
    with pytest.raises(MedfeError, match="cannot be written"):
        save_png(PIXELS, tmp_path / "file" / "out.png")
