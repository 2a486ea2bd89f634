"""What people send."""

import base64
import io
import random

import pytest
from PIL import Image, UnidentifiedImageError

from benchmarks.load import images


def test_a_photograph_is_as_a_phone_makes_it() -> None:
    name, data, kind = images.photographs()[0]
    with Image.open(io.BytesIO(data)) as image:
        assert (image.format, image.size) == ("JPEG", (4032, 3024))
        assert image.getexif()[0x0112] == 6, "to be turned upright"
    assert 2e6 < len(data) < 5e6
    assert (name, kind) == ("IMG_0.jpg", "image/jpeg")
    assert len({one for _, one, _ in images.photographs()}) == len(images.photographs())


def test_digits_are_pictures_of_which_no_two_are_alike() -> None:
    digits = images.digits()
    assert len({data for _, data, _ in digits}) == len(digits) == 100
    for _, data, _ in digits[::10]:
        with Image.open(io.BytesIO(data)) as image:
            image.load()


@pytest.mark.parametrize("mistake", images.mistakes(), ids=lambda mistake: str(mistake[0]))
def test_a_mistake_is_no_picture(mistake: images.Picture) -> None:
    _, data, _ = mistake

    def read() -> None:
        with Image.open(io.BytesIO(data)) as image:
            image.load()

    with pytest.raises((UnidentifiedImageError, OSError, SyntaxError)):
        read()


def test_a_form_has_a_field_for_each_picture() -> None:
    body, kind = images.form(("a.png", b"one", "image/png"), ("b.jpg", b"two", "image/jpeg"))
    boundary = kind.partition("boundary=")[2].encode()
    assert body.count(b"--" + boundary + b"\r\n") == 2
    assert body.count(b'name="file"') == 2
    assert b'filename="b.jpg"\r\nContent-Type: image/jpeg\r\n\r\ntwo' in body


def test_no_two_strokes_are_asked_alike() -> None:
    rng = random.Random(0)
    strokes = {images.stroke(rng) for _ in range(10)}
    assert len(strokes) == 10
    with Image.open(io.BytesIO(base64.b64decode(strokes.pop().partition(",")[2]))) as image:
        assert image.size == (images.PAD, images.PAD)
