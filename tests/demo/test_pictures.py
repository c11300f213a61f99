import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from demo.pictures import MAX_FOLDER, VIEW_SIDE, Library, Picture, canvas_size, read_upload, view_size
from medfe.errors import MedfeError

SIDES = st.integers(1, 9000)


def png_header(width, height):
    """A PNG that announces a size and brings no pixels."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(b"")), (b"IEND", b"")]
    packed = (
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(packed)


def encoded(image, file_format, **options):
    content = io.BytesIO()
    image.save(content, format=file_format, **options)
    return content.getvalue()


def hostile():
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8))
    return {
        "truncated.jpg": encoded(noise, "JPEG")[:400],
        "text.png": b"hello",
        "empty.png": b"",
        "bomb.png": png_header(30000, 30000),
        "long.png": png_header(65000, 1),
        "nothing.png": png_header(100, 100),
        "drawing.svg": b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>",
        "program.jpg": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 64 64\nshowpage\n",
        "tiny.png": encoded(noise.crop((0, 0, 1, 1)), "PNG"),
    }


@pytest.mark.parametrize("name", hostile())
def test_what_is_no_picture_is_refused_in_one_line_that_names_no_path(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(hostile()[name])
    with pytest.raises(MedfeError) as error:
        read_upload(path, "The upload")
    assert str(error.value).startswith("The upload")
    assert "\n" not in str(error.value)
    assert str(tmp_path) not in str(error.value)


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK", "P", "LA", "RGBA", "I;16", "1"])
def test_every_usual_mode_is_read_as_rgb_whatever_the_name_says(tmp_path, mode):
    path = tmp_path / "picture.txt"
    image = Image.new(mode, (40, 30)) if mode == "I;16" else Image.new("RGB", (40, 30), "teal").convert(mode)
    path.write_bytes(encoded(image, "JPEG" if mode == "CMYK" else "PNG"))
    read = read_upload(path, "The upload")
    assert (read.mode, read.size) == ("RGB", (40, 30))


def test_nothing_but_pixels_survives_an_upload(tmp_path):
    exif = Image.Exif()
    exif[0x010E] = "home address"
    path = tmp_path / "photo.jpg"
    path.write_bytes(encoded(Image.new("RGB", (40, 30)), "JPEG", exif=exif, comment=b"private", icc_profile=b"profile"))
    read = read_upload(path, "The upload")
    assert read.info == {}
    assert not read.getexif()


@settings(deadline=None)  # a loaded machine is no failure
@given(SIDES, SIDES)
def test_pictures_are_shown_as_they_are_or_shrunk_to_the_view(width, height):
    shown = view_size((width, height))
    assert max(shown) <= VIEW_SIDE
    assert min(shown) >= 1
    assert shown == (width, height) or max(shown) == VIEW_SIDE < max(width, height)


@settings(deadline=None)  # a loaded machine is no failure
@given(SIDES, SIDES)
def test_the_canvas_is_a_whole_multiple_of_what_is_shown_and_more_than_half_as_large_as_allowed(width, height):
    (shown_width, shown_height), canvas = view_size((width, height)), canvas_size((width, height))
    factor = canvas[0] // shown_width
    assert canvas == (factor * shown_width, factor * shown_height)
    assert VIEW_SIDE / 2 < max(canvas) <= VIEW_SIDE


def test_a_folder_is_offered_before_the_samples_under_neutral_names(tmp_path):
    for number in range(MAX_FOLDER + 2):
        Image.new("RGB", (20, 20)).save(tmp_path / f"secret{number:03}.png")
    (tmp_path / "secret000.png").write_bytes(b"damaged")
    library = Library(tmp_path)
    own = [picture for picture in library.pictures if picture.path is not None]
    assert len(own) == MAX_FOLDER - 1
    assert library.pictures[0].title == "Picture 1"
    assert not any("secret" in picture.title for picture in library.pictures)
    assert len(library.thumbnails) == len(library.pictures)
    assert {"Astronaut", "Grace Hopper"} <= {picture.title for picture in library.pictures}


def test_a_folder_without_a_readable_picture_is_an_error(tmp_path):
    (tmp_path / "a.png").write_bytes(b"damaged")
    with pytest.raises(MedfeError, match=r"a\.png"):
        Library(tmp_path)


def test_an_upload_that_has_been_cleared_away_is_told(tmp_path):
    with pytest.raises(MedfeError, match="no longer on the server"):
        Picture("The upload", path=tmp_path / "gone.png").load()
