"""Decoding of images in all formats to upright RGB, and errors for all others."""

import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from backend.inference.errors import (
    BrokenImageError,
    EmptyImageError,
    ImageError,
    ImageTooLargeError,
    UnsupportedImageError,
)
from backend.inference.images.loading import count_jpeg_scans, decode
from tests.conftest import FUZZ_FACTOR
from tests.images import encoded, noise, seven


def difference(first: Image.Image, second: Image.Image) -> int:
    """Return the largest difference of any channel of any pixel, in levels of 255."""
    return int(np.abs(np.asarray(first, dtype=int) - np.asarray(second, dtype=int)).max())


@pytest.mark.parametrize("form", ["PNG", "BMP", "GIF", "WEBP", "JPEG"])
def test_every_format_is_decoded_to_rgb(form: str) -> None:
    options = {"lossless": True} if form == "WEBP" else {"quality": 95} if form == "JPEG" else {}
    image = decode(encoded(seven(), form, **options))
    assert (image.mode, image.size) == ("RGB", (64, 64))
    assert difference(image, seven()) <= (40 if form == "JPEG" else 2)


@pytest.mark.parametrize("mode", ["L", "1", "P", "LA", "RGBA"])
def test_every_png_mode_gives_the_same_image(mode: str) -> None:
    assert (
        difference(decode(encoded(seven().convert(mode))), seven().convert("L").convert("RGB")) <= 2
    )


def test_cmyk_jpeg_gives_the_same_image_as_rgb() -> None:
    cmyk = noise().convert("CMYK")
    image = decode(encoded(cmyk, "JPEG", quality=100, subsampling=0))
    assert difference(image, cmyk.convert("RGB")) <= 8  # the loss of JPEG


def test_16_bit_image_becomes_8_bit() -> None:
    gray = noise().convert("L")
    wide = Image.fromarray(np.asarray(gray).astype(np.uint16) * 257)
    assert difference(decode(encoded(wide)), gray.convert("RGB")) <= 1


def test_transparent_image_is_composited_on_white() -> None:
    drawn = Image.new("RGBA", (8, 8), (0, 0, 0, 0))
    drawn.paste((0, 0, 0, 255), (2, 2, 6, 6))
    image = decode(encoded(drawn))
    assert image.getpixel((0, 0)) == (255, 255, 255)
    assert image.getpixel((3, 3)) == (0, 0, 0)


def test_white_ink_on_transparency_is_composited_on_black() -> None:
    drawn = Image.new("RGBA", (8, 8), (0, 0, 0, 0))
    drawn.paste((255, 255, 255, 255), (2, 2, 6, 6))
    image = decode(encoded(drawn))
    assert image.getpixel((0, 0)) == (0, 0, 0)
    assert image.getpixel((3, 3)) == (255, 255, 255)


def test_transparent_palette_entry_is_composited() -> None:
    drawn = Image.new("P", (4, 4), 0)
    drawn.putpalette([255, 0, 0, 0, 0, 255])
    drawn.putpixel((1, 1), 1)
    image = decode(encoded(drawn, "GIF", transparency=0))
    assert image.getpixel((0, 0)) == (255, 255, 255)
    assert image.getpixel((1, 1)) == (0, 0, 255)


def test_first_frame_of_a_gif_is_decoded() -> None:
    frames = [seven(), seven(ink="white", paper="black")]
    data = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert difference(decode(data), seven()) <= 2


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(orientation: int) -> None:
    turned = {
        1: [],
        2: [Image.Transpose.FLIP_LEFT_RIGHT],
        3: [Image.Transpose.ROTATE_180],
        4: [Image.Transpose.FLIP_TOP_BOTTOM],
        5: [Image.Transpose.TRANSPOSE],
        6: [Image.Transpose.ROTATE_90],
        7: [Image.Transpose.TRANSVERSE],
        8: [Image.Transpose.ROTATE_270],
    }
    stored = noise(48, 32)
    for method in turned[orientation]:
        stored = stored.transpose(method)
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = decode(encoded(stored, "PNG", exif=exif))
    assert image.size == (48, 32)
    assert difference(image, noise(48, 32)) == 0


def test_real_photos_of_every_orientation_are_alike(test_data: Path) -> None:
    for shape in ("Landscape", "Portrait"):
        paths = sorted((test_data / "exif").glob(f"{shape}_*.jpg"))
        small = [decode(path.read_bytes()).resize((24, 24)) for path in paths]
        assert len(small) == 9
        for other in small[1:]:
            gap = np.abs(np.asarray(other, dtype=int) - np.asarray(small[0], dtype=int))
            assert gap.mean() < 8


def test_damaged_exif_is_ignored() -> None:
    data = encoded(seven(), "JPEG", exif=b"Exif\x00\x00II*\x00\xff\xff\xff\xff broken")
    assert decode(data).size == (64, 64)


def test_empty_file_raises_empty_image_error() -> None:
    with pytest.raises(EmptyImageError):
        decode(b"")


@pytest.mark.parametrize("data", [b"hello", b"<svg/>", b"%PDF-1.7", bytes(1000)])
def test_other_files_raise_unsupported_image_error(data: bytes) -> None:
    with pytest.raises(UnsupportedImageError, match="JPEG, PNG, WebP, BMP or GIF"):
        decode(data)


def test_tiff_raises_unsupported_image_error() -> None:
    with pytest.raises(UnsupportedImageError):
        decode(encoded(seven(), "TIFF"))


@pytest.mark.parametrize("form", ["PNG", "BMP", "GIF", "WEBP", "JPEG"])
def test_truncated_file_raises_broken_image_error(form: str) -> None:
    data = encoded(noise(200, 200), form)
    with pytest.raises(BrokenImageError, match="damaged"):
        decode(data[: len(data) // 2])


def test_pixel_limit_applies_before_decoding() -> None:
    width, height = 100_000, 100_000
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(b"")), (b"IEND", b"")]
    bomb = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        for name, body in chunks
    )
    with pytest.raises(ImageTooLargeError, match="100000 x 100000"):
        decode(bomb)
    with pytest.raises(ImageTooLargeError):
        decode(encoded(seven(64)), max_pixels=64 * 64 - 1)
    assert decode(encoded(seven(64)), max_pixels=64 * 64).size == (64, 64)


def test_jpeg_with_a_thousand_scans_is_rejected() -> None:
    data = encoded(Image.new("L", (2000, 2000)), "JPEG", progressive=True)
    last = data.rindex(b"\xff\xda")
    bomb = data[:last] + data[last:-2] * 1000 + data[-2:]
    assert decode(data).size == (2000, 2000)
    with pytest.raises(ImageTooLargeError, match="scans"):
        decode(bomb)


def test_bytes_after_a_jpeg_or_in_its_segments_are_not_scans() -> None:
    data = encoded(noise(2000, 1500), "JPEG", progressive=True)
    trailer = b"\xff\xda random bytes of a motion photo " * 10_000
    assert count_jpeg_scans(data + trailer) == count_jpeg_scans(data) == data.count(b"\xff\xda")
    comment = b"\xff\xfe" + (2 + len(trailer[:60_000])).to_bytes(2, "big") + trailer[:60_000]
    assert count_jpeg_scans(data[:2] + comment + data[2:]) == count_jpeg_scans(data)
    assert decode(data + trailer).size == (2000, 1500)


def chunk(name: bytes, body: bytes) -> bytes:
    checksum = zlib.crc32(name + body)
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", checksum)


PNG = encoded(seven())
GIF = encoded(seven(), "GIF")
SEGMENTED_FILES = {
    "JPEG of comments": b"\xff\xd8" + b"\xff\xfe\x00\x02" * 1_000_000,
    "JPEG of fill bytes": b"\xff\xd8" + b"\xff" * 5_000_000,
    "JPEG of profiles": b"\xff\xd8" + b"\xff\xe2\x00\x10ICC_PROFILE\x00\x01\x01" * 300_000,
    "PNG of texts": PNG[:33] + chunk(b"tEXt", b"a\x00b") * 300_000 + PNG[33:],
    "PNG of empty data": PNG[:-12] + chunk(b"IDAT", b"") * 300_000 + PNG[-12:],
    "GIF of comments": GIF[:13] + b"\x21\xfe\x00" * 1_000_000 + GIF[13:],
}


@pytest.mark.parametrize("name", SEGMENTED_FILES)
def test_file_with_a_million_segments_is_rejected(name: str) -> None:
    with pytest.raises(BrokenImageError, match="too many segments"):
        decode(SEGMENTED_FILES[name])


@pytest.mark.parametrize(
    ("image", "options", "factor"),
    [
        (Image.new("RGB", (100, 100)), {}, 1),
        (Image.new("RGBA", (100, 100)), {}, 2),
        (Image.new("P", (100, 100)), {"transparency": 0}, 2),
        (Image.new("L", (1, 10_000)), {}, 64),
    ],
)
def test_expensive_images_count_as_more_pixels(
    image: Image.Image, options: dict[str, Any], factor: int
) -> None:
    data = encoded(image, **options)
    assert decode(data, max_pixels=10_000 * factor).size == image.size
    with pytest.raises(ImageTooLargeError):
        decode(data, max_pixels=10_000 * factor - 1)


def test_real_corrupt_pngs_raise_image_error(test_data: Path) -> None:
    paths = sorted((test_data / "bad" / "pngsuite").glob("*.png"))
    assert len(paths) == 14
    for path in paths:
        if path.name == "xcsn0g01.png":  # a wrong checksum: both outcomes are valid
            continue
        with pytest.raises(ImageError):
            decode(path.read_bytes())


SAMPLE_FILES = [encoded(noise(), form) for form in ("PNG", "BMP", "GIF", "WEBP", "JPEG")]


@settings(max_examples=300 * FUZZ_FACTOR, deadline=None)
@given(
    data=st.sampled_from(SAMPLE_FILES),
    edits=st.lists(st.tuples(st.floats(0, 0.999), st.integers(0, 255)), max_size=20),
    length=st.floats(0.1, 1),
)
def test_damaged_file_is_decoded_or_raises_image_error(
    data: bytes, edits: list[tuple[float, int]], length: float
) -> None:
    damaged = bytearray(data[: max(1, int(len(data) * length))])
    for place, value in edits:
        damaged[int(place * len(damaged))] = value
    try:
        image = decode(bytes(damaged), max_pixels=1_000_000)
    except ImageError:
        return
    assert image.mode == "RGB"
