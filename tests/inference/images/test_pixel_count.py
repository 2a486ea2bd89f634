"""The pixels that a file declares, in every supported format."""

import io

import pytest
from PIL import Image

from backend.inference.images.pixel_count import count_pixels
from tests.images import encoded, noise

MAX = 1_000_000
WIDTH, HEIGHT = 70, 50
IMAGE = noise(WIDTH, HEIGHT)


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "BMP", "AVIF", "TIFF", "JPEG2000", "PPM"])
def test_pixels_are_those_of_the_header(form: str) -> None:
    assert count_pixels(encoded(IMAGE, form), MAX) == WIDTH * HEIGHT


def test_gif_is_counted_by_its_screen() -> None:
    assert count_pixels(encoded(IMAGE.convert("P"), "GIF"), MAX) == WIDTH * HEIGHT


def test_big_endian_tiff_is_counted() -> None:
    file = io.BytesIO()
    Image.new("I;16B", (WIDTH, HEIGHT)).save(file, "TIFF")
    assert file.getvalue().startswith(b"MM")
    assert count_pixels(file.getvalue(), MAX) == WIDTH * HEIGHT


def test_comment_in_a_ppm_is_skipped() -> None:
    assert count_pixels(b"P5 # 9 9\n 70\n50 255\n", MAX) == WIDTH * HEIGHT


def test_icon_counts_as_the_largest_bitmap_or_its_png() -> None:
    assert count_pixels(encoded(noise(16, 16), "ICO"), MAX) == 256 * 256
    png = encoded(noise(500, 400))
    header = b"\0\0\1\0\1\0" + bytes(8) + len(png).to_bytes(4, "little") + b"\x16\0\0\0"
    assert count_pixels(header + png, MAX) == 500 * 400


def test_size_is_bounded() -> None:
    gif = b"GIF89a\xff\xff\xff\xff\0\0\0;"
    assert count_pixels(gif, MAX) == 4 * MAX


@pytest.mark.parametrize("data", [b"II*\0\x08\0\0\0", b"MM\0+" + bytes(20), b"\xff\xd8\xff\xd9"])
def test_missing_size_counts_as_the_maximum(data: bytes) -> None:
    assert count_pixels(data, MAX) == MAX


@pytest.mark.parametrize("data", [b"", b"hello", b"%PDF-1.7"])
def test_other_files_have_no_pixels(data: bytes) -> None:
    assert count_pixels(data, MAX) == 0
