"""Tests of thumbnails."""

import base64
import io

import numpy as np
import pytest
from PIL import Image

from evaluation import thumbnails
from evaluation.thumbnails import create_thumbnail, create_thumbnail_uri
from tests.images import encoded, noise


def decode(png: bytes | None) -> Image.Image:
    assert png is not None
    return Image.open(io.BytesIO(png))


def test_data_uri_has_a_png() -> None:
    uri = create_thumbnail_uri(encoded(noise(400, 200)))
    assert uri is not None
    prefix, _, data = uri.partition(",")
    assert prefix == "data:image/png;base64"
    assert decode(base64.b64decode(data)).size == (96, 48)


def test_large_images_are_reduced_and_small_ones_are_not_enlarged() -> None:
    assert decode(create_thumbnail(encoded(noise(400, 200), "JPEG"))).size == (96, 48)
    assert decode(create_thumbnail(encoded(noise(400, 200)), max_side=200)).size == (200, 100)
    assert decode(create_thumbnail(encoded(noise(28, 28)))).size == (28, 28)


def test_exif_orientation_is_applied() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    assert decode(create_thumbnail(encoded(noise(300, 150), "JPEG", exif=exif))).size == (48, 96)


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparent_pixels_show_the_background(mode: str) -> None:
    transparent = encoded(Image.new(mode, (9, 9)))
    assert decode(create_thumbnail(transparent)).getpixel((4, 4)) == (255, 255, 255)
    thumbnail = create_thumbnail(transparent, background=(1, 2, 3))
    assert decode(thumbnail).getpixel((4, 4)) == (1, 2, 3)


def test_16_bit_gray_keeps_its_shades() -> None:
    ramp = np.linspace(0, 65535, 64 * 64).astype(np.uint16).reshape(64, 64)
    content = encoded(Image.fromarray(ramp))
    shades = np.asarray(decode(create_thumbnail(content)).convert("L"))
    assert len(np.unique(shades)) > 100


@pytest.mark.parametrize("content", [b"", b"not an image", encoded(noise(64, 64))[:200]])
def test_invalid_image_has_no_thumbnail(content: bytes) -> None:
    assert create_thumbnail(content) is None
    assert create_thumbnail_uri(content) is None


def test_image_above_the_pixel_limit_is_not_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(thumbnails, "MAX_PIXELS", 99)
    assert create_thumbnail(encoded(noise(10, 10))) is None
