"""Pictures and masks that a caller has opened already: read as their files are."""

import numpy as np
import pytest
from PIL import ExifTags, Image

from medfe.errors import MedfeError
from medfe.inference import as_mask, as_picture

HOLE = np.random.default_rng(1).random((9, 7)) < 0.4


def picture(width, height):
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize("mode", ["L", "LA", "RGBA", "P", "CMYK", "1", "I;16"])
def test_a_picture_that_was_opened_is_the_picture_of_its_file(tmp_path, mode):
    path = tmp_path / ("image.tif" if mode in ("CMYK", "I;16") else "image.png")
    if mode == "I;16":
        Image.fromarray(picture(9, 7)[..., 0].astype(np.uint16) * 257).save(path)
    else:
        source = Image.fromarray(picture(9, 7))
        if "A" in mode:
            source.putalpha(Image.fromarray(picture(9, 7)[..., 1]))
        source.convert(mode).save(path)
    with Image.open(path) as opened:
        assert opened.mode == mode
        np.testing.assert_array_equal(as_picture(opened), as_picture(path))


def test_a_damaged_picture_that_was_opened_is_refused_in_one_line(tmp_path):
    path = tmp_path / "image.png"
    Image.fromarray(picture(80, 50)).save(path)
    path.write_bytes(path.read_bytes()[:-3000])
    for damaged in (Image.open(path), Image.fromarray(np.full((80, 50), np.nan, np.float32))):
        with pytest.raises(MedfeError, match="image: cannot be read as an image") as error:
            as_picture(damaged)
        assert "\n" not in str(error.value)
    with pytest.raises(MedfeError, match="mask: cannot be read as an image"):
        as_mask(Image.open(path), (80, 50))


def test_an_opened_file_is_read_like_its_path_turned_and_transparent(tmp_path):
    """A camera's picture that lies on its side, and a drawn mask whose untouched part is white but transparent."""
    turned = Image.Exif()
    turned[ExifTags.Base.Orientation] = 6
    Image.fromarray(picture(9, 7)).save(tmp_path / "image.png", exif=turned)
    hole = HOLE
    strokes = np.where(hole, 255, 0).astype(np.uint8)
    Image.fromarray(np.dstack([np.full((9, 7, 3), 255, np.uint8), strokes])).save(tmp_path / "mask.png")
    with Image.open(tmp_path / "image.png") as image, Image.open(tmp_path / "mask.png") as drawn:
        assert as_picture(image).shape == (9, 7, 3)
        np.testing.assert_array_equal(as_picture(image), as_picture(tmp_path / "image.png"))
        np.testing.assert_array_equal(as_mask(drawn, (7, 9)), hole)
        np.testing.assert_array_equal(as_mask(drawn, (7, 9)), as_mask(tmp_path / "mask.png", (7, 9)))
