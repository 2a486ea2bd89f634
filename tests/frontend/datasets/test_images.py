"""Previews of whatever people upload."""

from io import BytesIO

import pytest
from PIL import Image

from frontend.datasets.images import BACKDROP, SIDE, Picture
from tests.pictures import encoded, seven


def opened(content: bytes) -> Image.Image:
    preview = Picture("x", content).preview
    assert preview is not None
    image = Image.open(BytesIO(preview))
    image.load()
    return image


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "BMP", "GIF"])
def test_a_large_picture_is_shown_small(form: str) -> None:
    assert opened(encoded(seven(1200), form)).size == (SIDE, SIDE)


def test_a_photo_is_shown_upright() -> None:
    photo = Image.new("RGB", (60, 20))
    exif = Image.Exif()
    exif[0x0112] = 6  # lies on its side
    assert opened(encoded(photo, "JPEG", exif=exif)).size == (20, 60)


def test_transparent_ink_can_be_seen() -> None:
    assert opened(encoded(Image.new("RGBA", (8, 8), (0, 0, 0, 0)))).getpixel((4, 4)) == BACKDROP


def test_sixteen_bits_keep_their_shades() -> None:
    pixel = opened(encoded(Image.new("I;16", (8, 8), 128 * 256))).getpixel((4, 4))
    assert pixel == (128, 128, 128)


@pytest.mark.parametrize("content", [b"", b"hello", encoded(seven())[:200], b"\x89PNG\r\n\x1a\n"])
def test_what_cannot_be_shown_has_no_preview(content: bytes) -> None:
    assert Picture("x", content).preview is None


def test_a_picture_too_large_to_decode_is_left_alone() -> None:
    assert Picture("x", encoded(Image.new("1", (8000, 8000)))).preview is None
