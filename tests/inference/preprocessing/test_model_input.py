"""What a model is given, as a picture for people."""

from io import BytesIO
from typing import Literal

import numpy as np
import pytest
from PIL import Image

from backend.inference.preprocessing import model_input
from backend.inference.preprocessing.digits import DigitPreprocess, normalize
from backend.inference.preprocessing.photos import PhotoPreprocess, prepare_photo


def opened(png: bytes) -> Image.Image:
    return Image.open(BytesIO(png))


@pytest.mark.parametrize("layout", ["NCHW", "NHWC", "NHW", "flat"])
def test_a_digit_is_seen_as_the_field_that_it_was(
    layout: Literal["NCHW", "NHWC", "NHW", "flat"],
) -> None:
    spec = DigitPreprocess(layout=layout)
    field = np.arange(784, dtype=np.uint8).reshape(28, 28)
    image = opened(model_input.png(normalize(field[np.newaxis], spec)[0], spec))
    assert image.mode == "L"
    assert (np.asarray(image) == field).all()


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_a_photograph_is_seen_in_its_colours(layout: Literal["NCHW", "NHWC"]) -> None:
    spec = PhotoPreprocess(resize=None, crop=(4, 6), layout=layout)
    pixels = np.arange(72, dtype=np.uint8).reshape(4, 6, 3) * 3
    image = opened(model_input.png(prepare_photo(Image.fromarray(pixels), spec), spec))
    assert (np.asarray(image) == pixels).all()


def test_a_model_of_grey_pictures_sees_grey() -> None:
    spec = PhotoPreprocess(resize=None, crop=(2, 2), channels=1, mean=(0.5,), std=(0.5,))
    pixels = np.array([[0, 90], [180, 255]], np.uint8)
    image = opened(model_input.png(prepare_photo(Image.fromarray(pixels), spec), spec))
    assert image.mode == "L"
    assert (np.asarray(image) == pixels).all()
