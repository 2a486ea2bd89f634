"""Heat maps over images, and in words."""

import io

import numpy as np
import pytest
from PIL import Image

from client import Explanation
from frontend.ui import explanation
from tests.images import encoded, noise


def explain(box: tuple[int, int, int, int] | None) -> Explanation:
    """Return an explanation of 90x60 with full heat in `box`."""
    heat = Image.new("L", (90, 60))
    if box is not None:
        heat.paste(255, box)
    return Explanation("occlusion", "tabby *cat*", encoded(heat))


@pytest.mark.parametrize(
    ("box", "place"),
    [
        ((0, 0, 20, 15), "upper left"),
        ((40, 0, 55, 15), "upper"),
        ((70, 22, 90, 38), "right"),
        ((35, 22, 55, 38), "central"),
        ((0, 45, 90, 60), "lower"),
        ((75, 50, 90, 60), "lower right"),
    ],
)
def test_hottest_part_is_described(box: tuple[int, int, int, int], place: str) -> None:
    text = explanation.describe(explain(box))
    assert text == f"The {place} part of the image influenced the label “tabby *cat*” most."


def test_wide_and_missing_heat_is_described() -> None:
    assert explanation.describe(explain((5, 5, 85, 55))).startswith("Most of the image")
    assert explanation.describe(explain(None)).startswith("No part of the image")


def test_only_the_hot_part_of_the_image_is_colored() -> None:
    image = noise(180, 120)
    drawn = Image.open(io.BytesIO(explanation.overlay(encoded(image), explain((0, 0, 45, 60)))))
    assert drawn.size == image.size
    pixels = np.asarray(drawn).astype(int)
    colored = np.ptp(pixels, axis=2) > 40
    assert colored[:, :80].all()
    assert not colored[:, 100:].any()


def test_caption_names_the_method_and_escapes_the_label() -> None:
    text = explanation.caption(explain(None))
    assert r"tabby \*cat\*" in text
    assert "occlusion" in text
