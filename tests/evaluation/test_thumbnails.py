"""Tests of thumbnails."""

import base64
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from backend.inference.images import loading
from evaluation import thumbnails
from evaluation.thumbnails import create_thumbnail, create_thumbnail_uri
from tests.images import encoded, noise

HEIC = Path(__file__).parents[1] / "inference" / "images" / "data"


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


def test_float_gray_keeps_its_shades() -> None:
    ramp = np.linspace(0, 1, 64 * 64).astype(np.float32).reshape(64, 64)
    content = encoded(Image.fromarray(ramp), "TIFF")
    assert len(np.unique(np.asarray(decode(create_thumbnail(content)).convert("L")))) > 100


@pytest.mark.parametrize("form", ["AVIF", "TIFF", "JPEG2000", "ICO", "PPM"])
def test_formats_of_phones_and_scanners_have_a_thumbnail(form: str) -> None:
    assert decode(create_thumbnail(encoded(noise(64, 64), form))).size == (64, 64)


def test_heic_has_an_upright_thumbnail() -> None:
    content = (HEIC / "noise_turned.heic").read_bytes()
    thumbnail = np.asarray(decode(create_thumbnail(content)), dtype=int)
    assert np.abs(thumbnail - np.asarray(noise(96, 64), dtype=int)).mean() < 3


def test_profile_is_converted_to_srgb(test_data: Path) -> None:
    for name in ("p3_chiton.png", "cmyk_icc_doberman.jpg"):
        content = (test_data / "formats" / name).read_bytes()
        thumbnail = decode(create_thumbnail(content, max_side=64))
        expected = loading.decode(content).resize(thumbnail.size)
        gap = np.abs(np.asarray(thumbnail, dtype=int) - np.asarray(expected, dtype=int)).mean()
        assert gap < 6, name
        assert "icc_profile" not in thumbnail.info


def test_damaged_profile_is_ignored() -> None:
    content = encoded(noise(20, 20), icc_profile=b"no profile")
    assert decode(create_thumbnail(content)).size == (20, 20)


def test_damaged_metadata_and_a_missing_end_marker_are_tolerated() -> None:
    png = encoded(noise(20, 20))
    text = b"\0\0\0\3tEXta\0b????"
    assert decode(create_thumbnail(png[:33] + text + png[33:])).size == (20, 20)
    assert decode(create_thumbnail(encoded(noise(20, 20), "JPEG")[:-2])).size == (20, 20)


@pytest.mark.parametrize("content", [b"", b"not an image", encoded(noise(64, 64))[:200]])
def test_invalid_image_has_no_thumbnail(content: bytes) -> None:
    assert create_thumbnail(content) is None
    assert create_thumbnail_uri(content) is None


def test_image_above_the_pixel_limit_is_not_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(thumbnails, "MAX_PIXELS", 99)
    assert create_thumbnail(encoded(noise(10, 10))) is None
