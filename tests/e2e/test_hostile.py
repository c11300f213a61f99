"""Files that are not what they seem: each gets its answer, and the server goes on as if nothing had happened."""

import io
import re
import struct
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medfe.benchmark.visitor import AppError, Visitor

NOISE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8))
MEGABYTE = 1_000_000
REFUSED = "413|[Rr]eset|[Bb]roken"  # the server answers, or closes, while the file is still being sent


def encoded(image, file_format, **options):
    content = io.BytesIO()
    image.save(content, format=file_format, **options)
    return content.getvalue()


def png(width, height, bits=1):
    """A PNG of so many black pixels, grey, all there."""
    packer = zlib.compressobj(1)
    row = bytes(1 + (width * bits + 7) // 8)
    data = b"".join(packer.compress(row) for _ in range(height)) + packer.flush()
    chunks = [
        (b"IHDR", struct.pack(">IIBBBBB", width, height, bits, 0, 0, 0, 0)),
        (b"IDAT", data),
        (b"IEND", b""),
    ]
    packed = (struct.pack(">I", len(d)) + n + d + struct.pack(">I", zlib.crc32(n + d)) for n, d in chunks)
    return b"\x89PNG\r\n\x1a\n" + b"".join(packed)


def exif_bomb():
    """A JPEG whose EXIF data refer to themselves and announce four thousand million entries each."""
    tags = (0x8769, 0x8825, 0xA005, 0x0112)
    entries = b"".join(struct.pack("<HHII", tag, 4, 0xFFFFFFFF, 8) for tag in tags * 1000)
    directory = b"II*\x00\x08\x00\x00\x00" + struct.pack("<H", 4 * 1000) + entries + struct.pack("<I", 8)
    return encoded(NOISE, "JPEG", exif=b"Exif\x00\x00" + directory)


def animation():
    frames = [NOISE.rotate(90 * turn, expand=False) for turn in range(4)]
    return encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])


def deep():
    return encoded(Image.fromarray(np.arange(1200, dtype=np.uint16).reshape(30, 40) * 54), "PNG")


def picture():
    return encoded(NOISE, "PNG")


def svg():
    return b"<svg xmlns='http://www.w3.org/2000/svg' width='40' height='30'><script>alert(1)</script></svg>"


# Kind → file name, content, and what the page must say.
HOSTILE = {
    "truncated": ("photo.jpg", lambda: encoded(NOISE, "JPEG")[:-400], "The upload"),
    "wrong type": ("photo.png", lambda: b"#!/bin/sh\necho no picture\n", "not a picture"),
    "bomb": ("photo.png", lambda: png(30_000, 30_000), "40 megapixels"),
    "long": ("photo.png", lambda: png(65_000, 1), "at least 16"),
    "animated": ("photo.gif", animation, "40×30"),
    "CMYK": ("photo.jpg", lambda: encoded(NOISE.convert("CMYK"), "JPEG"), "40×30"),
    "16 bits": ("photo.png", deep, "40×30"),
    "empty": ("photo.png", bytes, "not a picture"),
    "SVG": ("photo.svg", svg, "not a picture"),
    "SVG in disguise": ("photo.png", svg, "not a picture"),
    "path up": ("../../../../tmp/escaped.png", picture, "40×30"),
    "path from the root": ("/etc/escaped.png", picture, "40×30"),
    "path of Windows": ("C:\\Windows\\escaped.png", picture, "40×30"),
    "name of many kinds": ("<img src=x onerror=alert(1)>;$(id)\u202egnp.exe.png", picture, "40×30"),
    "EXIF bomb": ("photo.jpg", exif_bomb, "40×30"),
    "100 MB": ("photo.png", lambda: bytes(100 * MEGABYTE), REFUSED),
}


def peak_memory(process):
    status = Path(f"/proc/{process}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_upload_gets_a_message_and_leaves_nothing_outside_the_cache(served, kind):
    name, make, expected = HOSTILE[kind]
    content = make()
    visitor = Visitor(served.address)
    memory, started = peak_memory(served.process), time.monotonic()
    try:
        said = visitor.choose(content, name)
    except AppError as error:
        said = str(error)
    assert re.search(expected, said), said
    assert "Traceback" not in said
    assert str(served.temporary) not in said
    assert time.monotonic() - started < 60
    assert peak_memory(served.process) - memory < 300 * MEGABYTE
    assert served.outside() == []
    assert not [path for path in served.cached() if "escaped" in path.name and path.suffix != ".png"]
    assert not any(Path(folder, "escaped.png").exists() for folder in ("/tmp", "/etc"))
    # The server goes on, and the visitor with it.
    assert "40×30" in visitor.choose(NOISE)


@pytest.mark.slow
def test_a_mask_file_is_read_as_carefully_as_a_picture(visit, address):
    compare = visit(address)
    for content, part in [(b"", "mask file"), (png(30_000, 30_000), "megapixels"), (encoded(NOISE, "PNG"), "40×30")]:
        compare.upload_bytes(content, "mask.png", button="mask-file")
        compare.wait_for_status(part)


def test_a_canvas_that_is_no_canvas_is_refused(served):
    visitor = Visitor(served.address)
    visitor.choose(NOISE)
    visitor._canvas = (2000, 1500)
    with pytest.raises(AppError, match="2000×1500 pixels, expected at most 768×768"):
        visitor.fill(np.eye(30, 40, dtype=bool))
    assert "40×30" in visitor.choose(NOISE)
