"""Helpers for small images of mode L."""

import numpy as np
import pytest
from PIL import Image, ImageFilter

from backend.inference.preprocessing.strokes import dilate, to_array


@pytest.mark.parametrize("radius", [0, 1, 2, 5])
@pytest.mark.parametrize("size", [(1, 1), (1, 9), (30, 20)])
def test_dilate_uses_a_square_window(size: tuple[int, int], radius: int) -> None:
    values = np.random.default_rng(0).integers(0, 256, size, dtype=np.uint8)
    expected = Image.fromarray(values).filter(ImageFilter.MaxFilter(2 * radius + 1))
    np.testing.assert_array_equal(dilate(values, radius), to_array(expected))


def test_pixels_keep_their_rows_and_columns() -> None:
    values = np.arange(6, dtype=np.uint8).reshape(2, 3)
    np.testing.assert_array_equal(to_array(Image.fromarray(values)), values)
