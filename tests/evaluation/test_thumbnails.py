"""Small pictures for reports."""

import base64
import io

import numpy as np
import pytest
from PIL import Image

from evaluation import thumbnails
from evaluation.thumbnails import thumbnail
from tests.images import encoded, noise


def opened(uri: str | None) -> Image.Image:
    assert uri is not None
    head, _, data = uri.partition(",")
    assert head == "data:image/png;base64"
    return Image.open(io.BytesIO(base64.b64decode(data)))


def test_large_pictures_shrink_and_small_ones_stay() -> None:
    assert opened(thumbnail(encoded(noise(400, 200), "JPEG"))).size == (96, 48)
    assert opened(thumbnail(encoded(noise(28, 28)))).size == (28, 28)


def test_it_stands_upright() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    assert opened(thumbnail(encoded(noise(300, 150), "JPEG", exif=exif))).size == (48, 96)


def test_what_is_transparent_lies_on_white() -> None:
    assert opened(thumbnail(encoded(Image.new("RGBA", (9, 9))))).getpixel((4, 4)) == (255, 255, 255)


def test_grey_of_sixteen_bits_keeps_its_shades() -> None:
    ramp = np.linspace(0, 65535, 64 * 64).astype(np.uint16).reshape(64, 64)
    out = io.BytesIO()
    Image.fromarray(ramp).save(out, "PNG")
    shades = np.asarray(opened(thumbnail(out.getvalue())).convert("L"))
    assert len(np.unique(shades)) > 100


@pytest.mark.parametrize("content", [b"", b"no picture", encoded(noise(64, 64))[:200]])
def test_what_cannot_be_decoded_has_none(content: bytes) -> None:
    assert thumbnail(content) is None


def test_a_picture_of_too_many_pixels_is_not_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(thumbnails, "_MAX_PIXELS", 99)
    assert thumbnail(encoded(noise(10, 10))) is None
