"""Test uploads have the intended formats."""

import base64
import io
import random

import pytest
from PIL import Image, UnidentifiedImageError

from benchmarks.load import images


def test_photograph_is_like_one_from_a_phone() -> None:
    name, content, media_type = images.make_photographs()[0]
    with Image.open(io.BytesIO(content)) as image:
        assert (image.format, image.size) == ("JPEG", (4032, 3024))
        assert image.getexif()[0x0112] == 6, "rotated by EXIF"
    assert 2e6 < len(content) < 5e6
    assert (name, media_type) == ("IMG_0.jpg", "image/jpeg")
    assert len({one for _, one, _ in images.make_photographs()}) == len(images.make_photographs())


def test_digits_are_distinct_images() -> None:
    digits = images.make_digits()
    assert len({content for _, content, _ in digits}) == len(digits) == 100
    for _, content, _ in digits[::10]:
        with Image.open(io.BytesIO(content)) as image:
            image.load()


@pytest.mark.parametrize("upload", images.make_invalid_files(), ids=lambda upload: str(upload[0]))
def test_invalid_file_is_not_an_image(upload: images.Upload) -> None:
    _, content, _ = upload

    def read() -> None:
        with Image.open(io.BytesIO(content)) as image:
            image.load()

    with pytest.raises((UnidentifiedImageError, OSError, SyntaxError)):
        read()


def test_form_has_a_field_for_each_upload() -> None:
    body, content_type = images.encode_form(
        ("a.png", b"one", "image/png"), ("b.jpg", b"two", "image/jpeg")
    )
    boundary = content_type.partition("boundary=")[2].encode()
    assert body.count(b"--" + boundary + b"\r\n") == 2
    assert body.count(b'name="file"') == 2
    assert b'filename="b.jpg"\r\nContent-Type: image/jpeg\r\n\r\ntwo' in body


def test_strokes_are_distinct_images() -> None:
    rng = random.Random(0)
    strokes = {images.make_stroke(rng) for _ in range(10)}
    assert len(strokes) == 10
    with Image.open(io.BytesIO(base64.b64decode(strokes.pop().partition(",")[2]))) as image:
        assert image.size == (images.PAD_SIZE, images.PAD_SIZE)
