"""Model inputs as PNGs."""

from io import BytesIO
from typing import Literal

import numpy as np
import pytest
from PIL import Image

from backend.inference.preprocessing import model_input
from backend.inference.preprocessing.digit_crop import DigitPreprocess, normalize
from backend.inference.preprocessing.photos import PhotoPreprocess, prepare_photo


def open_png(png: bytes) -> Image.Image:
    return Image.open(BytesIO(png))


@pytest.mark.parametrize("layout", ["NCHW", "NHWC", "NHW", "flat"])
def test_png_of_a_digit_equals_its_field(
    layout: Literal["NCHW", "NHWC", "NHW", "flat"],
) -> None:
    spec = DigitPreprocess(layout=layout)
    field = np.arange(784, dtype=np.uint8).reshape(28, 28)
    image = open_png(model_input.to_png(normalize(field[np.newaxis], spec)[0], spec))
    assert image.mode == "L"
    assert (np.asarray(image) == field).all()


@pytest.mark.parametrize("color", ["RGB", "BGR"])
@pytest.mark.parametrize("layout", ["NCHW", "NHWC", "flat"])
def test_png_of_a_photo_has_its_colors(
    layout: Literal["NCHW", "NHWC", "flat"], color: Literal["RGB", "BGR"]
) -> None:
    spec = PhotoPreprocess(resize=None, crop=(4, 6), layout=layout, color=color)
    pixels = np.arange(72, dtype=np.uint8).reshape(4, 6, 3) * 3
    image = open_png(model_input.to_png(prepare_photo(Image.fromarray(pixels), spec), spec))
    assert (np.asarray(image) == pixels).all()


def test_png_of_a_gray_input_is_gray() -> None:
    spec = PhotoPreprocess(resize=None, crop=(2, 2), channels=1, mean=(0.5,), std=(0.5,))
    pixels = np.array([[0, 90], [180, 255]], np.uint8)
    image = open_png(model_input.to_png(prepare_photo(Image.fromarray(pixels), spec), spec))
    assert image.mode == "L"
    assert (np.asarray(image) == pixels).all()
