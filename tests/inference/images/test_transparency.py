"""Compositing of images with transparency."""

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFilter

from backend.inference.images.loading import decode
from backend.inference.images.transparency import flatten
from tests.images import encoded

WHITE, BLACK = (255, 255, 255), (0, 0, 0)
Color = tuple[int, ...]


def stroke(color: Color, width: int, size: int = 200) -> Image.Image:
    """Return an L-shaped stroke on transparency."""
    image = Image.new("RGBA", (size, size), (*color, 0))
    corners = [(size // 4, size // 5), (size // 4, size * 3 // 4), (size * 3 // 4, size * 3 // 4)]
    ImageDraw.Draw(image).line(corners, (*color, 255), width, joint="curve")
    return image


def background(image: Image.Image) -> Color:
    """Return the color that a transparent corner gets."""
    color = flatten(image).getpixel((0, 0))
    assert isinstance(color, tuple)
    return color


@pytest.mark.parametrize("size", [60, 200, 1500])
@pytest.mark.parametrize(
    ("fill", "outline", "expected"),
    [
        (WHITE, BLACK, BLACK),
        (BLACK, WHITE, WHITE),
        ((250, 230, 60), BLACK, BLACK),
        ((200, 20, 20), BLACK, WHITE),
        (WHITE, WHITE, BLACK),
        (BLACK, BLACK, WHITE),
    ],
)
def test_outline_does_not_decide_the_background(
    fill: Color, outline: Color, expected: Color, size: int
) -> None:
    image = stroke(outline, size // 8, size)
    image.alpha_composite(stroke(fill, size // 14, size))
    assert background(image) == expected


@pytest.mark.parametrize(("ink", "expected"), [(WHITE, BLACK), (BLACK, WHITE)])
def test_soft_shadow_does_not_decide_the_background(ink: Color, expected: Color) -> None:
    image = stroke(BLACK, 16).filter(ImageFilter.GaussianBlur(5))
    image.putalpha(image.getchannel("A").point(lambda level: level // 2))
    image.alpha_composite(stroke(ink, 12))
    assert background(image) == expected


def test_light_strokes_with_dark_soft_edges_are_composited_on_black() -> None:
    levels = stroke(WHITE, 3, 28).getchannel("A").filter(ImageFilter.GaussianBlur(1))
    assert background(Image.merge("RGBA", (levels,) * 4)) == BLACK


def test_sheet_with_writing_and_photograph_are_composited_on_white() -> None:
    sheet = Image.new("RGBA", (200, 200), (*WHITE, 0))
    sheet.paste((*WHITE, 255), (20, 20, 180, 180))
    sheet.alpha_composite(stroke(BLACK, 12))
    assert background(sheet) == WHITE
    noise = np.random.default_rng(0).integers(0, 256, (200, 200, 4), dtype=np.uint8)
    noise[..., 3] = np.asarray(sheet)[..., 3]
    assert background(Image.fromarray(noise)) == WHITE


def test_nearly_transparent_and_fully_transparent_images_are_accepted() -> None:
    for alpha in (0, 1, 3):
        assert flatten(Image.new("RGBA", (5, 300), (0, 0, 0, alpha))).mode == "RGB"


def test_transparent_gray_level_of_16_bits_is_composited() -> None:
    values = np.full((40, 40), 1000, dtype=np.uint16)
    values[10:30, 18:22] = 0
    image = decode(encoded(Image.fromarray(values), transparency=1000))
    assert image.getpixel((0, 0)) == WHITE
    assert image.getpixel((20, 20)) == BLACK
