import io
import struct
import zlib

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from medfe.data.images import (
    center_square,
    check_header,
    composite,
    load_image,
    resize,
    to_pil,
    to_tensor,
    to_uint8,
)
from medfe.errors import MedfeError

PIXELS = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)


def encoded(image, file_format="PNG", **options):
    buffer = io.BytesIO()
    image.save(buffer, file_format, **options)
    buffer.seek(0)
    return buffer


def png_header_only(width, height):
    """A PNG that announces its size and then ends: it cannot be decoded."""
    body = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    start = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + body + struct.pack(">I", zlib.crc32(body))
    return start + struct.pack(">I", 1000) + b"IDAT"


def assert_one_line(error, *parts):
    message = str(error.value)
    assert "\n" not in message
    for part in parts:
        assert part in message


def test_rgb_pixels_are_read_as_they_are():
    assert np.array_equal(load_image(encoded(Image.fromarray(PIXELS))), PIXELS)


@pytest.mark.parametrize("mode", ["L", "1", "P", "I;16", "I", "F"])
def test_grey_of_any_depth_gives_three_equal_channels(mode):
    levels = PIXELS[..., 0] if mode != "1" else np.where(PIXELS[..., 0] > 127, 255, 0).astype(np.uint8)
    image = {
        "L": lambda: Image.fromarray(levels),
        "1": lambda: Image.fromarray(levels).convert("1", dither=Image.Dither.NONE),
        "P": lambda: Image.fromarray(levels).convert("P"),
        "I;16": lambda: Image.fromarray(levels.astype(np.uint16) * 257),
        "I": lambda: Image.fromarray(levels.astype(np.int32) * 257),
        "F": lambda: Image.fromarray(levels.astype(np.float32) / 255),
    }[mode]()
    assert image.mode == mode
    loaded = np.asarray(load_image(encoded(image, "TIFF")))
    assert np.array_equal(loaded, np.repeat(levels[..., None], 3, axis=2))


@pytest.mark.parametrize("limit", [1.0, 255.0, 65535.0])
def test_floats_are_scaled_from_the_smallest_usual_range(limit):
    values = np.array([[0.0, limit / 2, limit]], dtype=np.float32)
    assert np.asarray(load_image(encoded(Image.fromarray(values), "TIFF")))[0, :, 0].tolist() == [0, 128, 255]


def test_big_endian_16_bit_png_is_scaled_like_little_endian():
    values = np.array([[0, 257, 32768, 65535]], dtype=np.uint16)
    for order in ("<u2", ">u2"):
        buffer = encoded(Image.fromarray(values.astype(order)), "TIFF")
        assert np.asarray(load_image(buffer))[0, :, 0].tolist() == [0, 1, 128, 255]


def test_pixels_that_are_not_finite_are_an_error():
    values = np.array([[0.0, np.nan]], dtype=np.float32)
    with pytest.raises(MedfeError) as error:
        load_image(encoded(Image.fromarray(values), "TIFF"))
    assert_one_line(error, "not finite")


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparent_pixels_show_white_and_half_transparent_ones_are_mixed(mode):
    grey = np.array([[[100, 0], [100, 255], [100, 102]]], dtype=np.uint8)  # 102 / 255 = 0.4
    image = Image.fromarray(grey, "LA").convert(mode)
    loaded = np.asarray(load_image(encoded(image)))
    assert loaded[0, :, 0].tolist() == [255, 100, round(0.4 * 100 + 0.6 * 255)]


def test_a_palette_with_a_transparent_entry_shows_the_background():
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 200, 100, 50])
    image.putpixel((1, 0), 1)
    loaded = load_image(encoded(image, transparency=0), background=(1, 2, 3))
    assert [loaded.getpixel((x, 0)) for x in (0, 1)] == [(1, 2, 3), (200, 100, 50)]


@pytest.mark.parametrize("file_format", ["TIFF", "JPEG"])
def test_cmyk_is_not_inverted(file_format):
    ink = Image.new("CMYK", (16, 16), (0, 255, 255, 0))  # no cyan, full magenta and yellow: red
    assert np.abs(np.asarray(load_image(encoded(ink, file_format)), dtype=int) - [255, 0, 0]).max() <= 6


@pytest.mark.parametrize(
    ("orientation", "upright"),
    [
        (1, PIXELS),
        (2, PIXELS[:, ::-1]),
        (3, PIXELS[::-1, ::-1]),
        (4, PIXELS[::-1]),
        (5, PIXELS.transpose(1, 0, 2)),
        (6, np.rot90(PIXELS, -1)),
        (7, PIXELS[::-1, ::-1].transpose(1, 0, 2)),
        (8, np.rot90(PIXELS)),
    ],
)
def test_the_orientation_in_exif_is_applied(orientation, upright):
    exif = Image.Exif()
    exif[0x0112] = orientation
    assert np.array_equal(load_image(encoded(Image.fromarray(PIXELS), exif=exif)), upright)


def test_damaged_exif_does_not_hide_intact_pixels():
    assert np.array_equal(load_image(encoded(Image.fromarray(PIXELS), exif=b"Exif\0\0no tiff header")), PIXELS)


def test_the_first_frame_of_an_animation_is_read():
    frames = [Image.new("RGB", (8, 8), color) for color in ("red", "blue")]
    loaded = load_image(encoded(frames[0], "GIF", save_all=True, append_images=frames[1:]))
    assert loaded.getpixel((0, 0)) == (255, 0, 0)


def test_a_single_pixel_is_read():
    assert load_image(encoded(Image.new("RGB", (1, 1), (1, 2, 3)))).getpixel((0, 0)) == (1, 2, 3)


@pytest.mark.parametrize(("width", "height"), [(10_000, 5_000), (20_000, 20_000)])
def test_too_many_pixels_are_refused_before_decoding(tmp_path, width, height):
    path = tmp_path / "large.png"
    path.write_bytes(png_header_only(width, height))
    for read in (load_image, check_header):
        with pytest.raises(MedfeError) as error:
            read(path)
        assert_one_line(error, str(path), "at most 40", "megapixels")


def test_the_limit_of_pixels_is_the_callers():
    buffer = encoded(Image.fromarray(PIXELS))
    assert load_image(buffer, max_pixels=2400).size == (60, 40)
    buffer.seek(0)
    with pytest.raises(MedfeError, match=r"60×40 is 0\.0024 megapixels"):
        load_image(buffer, max_pixels=2399)


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP"])
def test_a_truncated_file_is_an_error_that_its_header_does_not_show(tmp_path, file_format):
    path = tmp_path / "half"
    data = encoded(Image.fromarray(PIXELS).resize((600, 400)), file_format).getvalue()
    path.write_bytes(data[: len(data) // 2])
    if file_format != "WEBP":  # its header names the length of the file
        assert check_header(path) == (600, 400)
    with pytest.raises(MedfeError) as error:
        load_image(path)
    assert_one_line(error, str(path))


@given(st.binary(max_size=200), st.sampled_from(["JPEG", "PNG", "GIF", "TIFF", "BMP"]), st.integers(0, 300))
def test_no_damage_raises_anything_but_the_projects_error(noise, file_format, at):
    data = encoded(Image.fromarray(PIXELS), file_format).getvalue()
    try:
        loaded = load_image(io.BytesIO(data[:at] + noise + data[at + len(noise) :]))
    except MedfeError as error:
        assert "\n" not in str(error)  # noqa: PT017
    else:
        assert loaded.mode == "RGB"


def test_what_is_no_image_is_named(tmp_path):
    text = tmp_path / "text.png"
    text.write_text("hello")
    with pytest.raises(MedfeError) as error:
        load_image(text)
    assert_one_line(error, str(text), "not an image")
    with pytest.raises(MedfeError) as error:
        load_image(tmp_path)
    assert_one_line(error, str(tmp_path), "is a folder")
    with pytest.raises(MedfeError) as error:
        load_image(tmp_path / "absent.png")
    assert_one_line(error, "absent.png", "no such file")


def test_a_format_whose_reading_runs_another_program_is_not_read(tmp_path):
    path = tmp_path / "picture.jpg"
    Image.new("RGB", (8, 8)).save(path, format="EPS")
    assert Image.open(path).format == "EPS"
    for read in (load_image, check_header):
        with pytest.raises(MedfeError, match=r"picture\.jpg: not an image of a known format"):
            read(path)


def test_a_large_jpeg_may_be_decoded_at_a_reduced_size(tmp_path):
    ramp = np.linspace(0, 255, 1600).astype(np.uint8)
    path = tmp_path / "ramp.jpg"
    Image.fromarray(np.broadcast_to(ramp[None, :, None], (1200, 1600, 3)).copy()).save(path, quality=95)
    reduced = load_image(path, at_least=128)
    assert reduced.size == (200, 150)  # 1/8: the smallest that is no shorter than 128
    whole = resize(load_image(path), (200, 150))
    assert np.abs(np.asarray(reduced, dtype=int) - np.asarray(whole, dtype=int)).max() <= 3


def test_all_256_levels_survive_the_round_trip():
    levels = np.arange(256, dtype=np.uint8).reshape(16, 16, 1).repeat(3, axis=2)
    tensor = to_tensor(levels)
    assert tensor.dtype == torch.float32
    assert tensor.shape == (3, 16, 16)
    assert (tensor.min(), tensor.max()) == (-1, 1)
    assert np.array_equal(to_uint8(tensor), levels)
    assert np.array_equal(to_uint8(tensor.double()), levels)


@given(arrays.arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9), st.just(3))))
def test_arrays_and_pil_images_survive_the_round_trip(array):
    assert np.array_equal(to_uint8(to_tensor(array)), array)
    assert np.array_equal(to_pil(to_tensor(Image.fromarray(array))), array)


def test_to_uint8_rounds_clamps_and_keeps_leading_axes():
    values = torch.tensor([-2.0, 0.4 / 127.5 - 1, 0.6 / 127.5 - 1, 2.0]).expand(2, 5, 3, 1, 4)
    converted = to_uint8(values)
    assert converted.shape == (2, 5, 1, 4, 3)
    assert converted[0, 0, 0, :, 0].tolist() == [0, 0, 1, 255]


def test_arrays_of_another_kind_are_an_error():
    for array in (PIXELS[..., 0], PIXELS.astype(np.float32), PIXELS[None]):
        with pytest.raises(MedfeError, match="expected an array of uint8 H×W×3"):
            to_tensor(array)


@pytest.mark.parametrize(("size", "box"), [((60, 40), (10, 0, 50, 40)), ((40, 61), (0, 10, 40, 50))])
def test_center_square_is_the_largest_in_the_middle(size, box):
    image = Image.fromarray(np.random.default_rng(1).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8))
    assert np.array_equal(center_square(image), image.crop(box))


def test_resize_is_antialiased():
    stripes = np.zeros((64, 64, 3), dtype=np.uint8)
    stripes[:, ::2] = 255
    inner = np.asarray(resize(Image.fromarray(stripes), 16))[:, 2:-2]
    assert np.abs(inner.astype(int) - 127).max() <= 2  # every fourth pixel alone would be all 0 or all 255


@pytest.mark.parametrize("size", [(23, 17), (130, 90)])
def test_resize_agrees_with_torch(size):
    pixels = PIXELS // 2 + 64  # no overshoot beyond 0…255, which Pillow clips after each of its two passes
    resized = np.asarray(resize(Image.fromarray(pixels), size), dtype=int)
    planes = torch.from_numpy(pixels).permute(2, 0, 1)[None].double()
    expected = torch.nn.functional.interpolate(planes, size[::-1], mode="bicubic", antialias=True)
    levels = expected[0].permute(1, 2, 0).round().clamp(0, 255).numpy()
    assert np.abs(resized - levels).max() <= 1


def test_composite_keeps_known_pixels_bit_for_bit_and_nothing_of_the_output():
    torch.manual_seed(0)
    image, mask = torch.rand(2, 3, 8, 8), (torch.rand(2, 1, 8, 8) < 0.5).float()
    output = torch.full_like(image, torch.nan).masked_fill(mask.bool(), 0.25).requires_grad_()
    result = composite(output, image, mask)
    assert torch.equal(result, torch.where(mask.bool().expand_as(image), torch.tensor(0.25), image))
    result.sum().backward()
    assert torch.equal(output.grad, mask.expand_as(image))
