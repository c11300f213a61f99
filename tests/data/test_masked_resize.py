"""Pictures with a hole at another size."""

import numpy as np
import pytest
from PIL import Image

from medfe.data.images import resize
from medfe.data.masked_resize import resize_with_hole, touched

SIDES = [(90, 64), (96, 128), (110, 128), (178, 128), (64, 64), (215, 128)]


def scattered(side, seed=0):
    """Some rectangles anywhere, S×S."""
    rng = np.random.default_rng(seed)
    hole = np.zeros((side, side), dtype=bool)
    for _ in range(6):
        top, left = rng.integers(0, side - 12, 2)
        height, width = rng.integers(1, 12, 2)
        hole[top : top + height, left : left + width] = True
    return hole


@pytest.mark.parametrize(("before", "after"), SIDES)
def test_known_pixels_of_one_colour_keep_it_beside_the_hole_too(before, after):
    for seed, level in enumerate((3, 90, 200, 252)):
        hole = scattered(before, seed)
        picture = np.where(hole[..., None], 255 - level, level).astype(np.uint8).repeat(3, axis=2)
        pixels, small = resize_with_hole(picture, hole, after)
        assert (pixels[~small] == level).all()


@pytest.mark.parametrize(("before", "after"), SIDES)
def test_a_cell_is_of_the_hole_when_any_pixel_below_it_is(before, after):
    hole, expected = scattered(before), np.zeros((after, after), dtype=bool)
    for row, column in np.argwhere(hole):  # the pixel is [row, row + 1), the cell [i, i + 1) · before / after
        rows, columns = (
            [i for i in range(after) if i * before < (x + 1) * after and (i + 1) * before > x * after]
            for x in (row, column)
        )
        expected[np.ix_(rows, columns)] = True
    np.testing.assert_array_equal(touched(hole, after), expected)


def test_far_from_the_hole_it_is_the_plain_resize():
    picture = np.random.default_rng(0).integers(60, 200, (150, 150, 3), dtype=np.uint8)
    hole = np.zeros((150, 150), dtype=bool)
    hole[100:, 100:] = True
    pixels, _ = resize_with_hole(picture, hole, 96)
    plain = np.asarray(resize(Image.fromarray(picture), 96)).astype(int)
    assert np.abs(pixels[:55, :55] - plain[:55, :55]).max() <= 1  # Pillow rounds 8-bit pictures after each direction
