"""Synthetic printed digits: glyphs from fonts, and ones and zeros drawn as plain lines and rings.

They complement handwriting: a network trained on handwriting alone rejects a perfectly straight
line as a 1.
"""

import math
from functools import cache
from pathlib import Path

from matplotlib import get_data_path
from numpy.random import Generator
from PIL import Image, ImageDraw, ImageFont

from training.data.degradation import GLYPH_SIZE

FONTS = ("DejaVuSans*", "DejaVuSerif*", "STIXGeneral*", "cmr10", "cmss10", "cmtt10", "cmb10")
_GEOMETRIC_SHARE = {0: 0.4, 1: 0.5}  # by digit, drawn as a ring or a line instead of printed


def draw_digit(digit: int, rng: Generator) -> Image.Image:
    """Return a digit in a random font or drawn geometrically: mode L, 128x128, white on black."""
    large = Image.new("L", (2 * GLYPH_SIZE, 2 * GLYPH_SIZE))
    pen = ImageDraw.Draw(large)
    if rng.random() < _GEOMETRIC_SHARE.get(digit, 0):
        (_draw_ring if digit == 0 else _draw_bar)(pen, rng)
    else:
        files = _find_fonts()
        font = ImageFont.truetype(files[int(rng.integers(len(files)))], int(rng.integers(120, 220)))
        pen.text((GLYPH_SIZE, GLYPH_SIZE), str(digit), fill=255, font=font, anchor="mm")
    return large.reduce(2)


def _draw_bar(pen: ImageDraw.ImageDraw, rng: Generator) -> None:
    angle = rng.normal(0, 0.15) if rng.random() < 0.6 else 0.0
    reach = rng.uniform(60, 105)
    x, y = reach * math.sin(angle), reach * math.cos(angle)
    width = int(rng.integers(3, 44))
    ends = ((GLYPH_SIZE + x, GLYPH_SIZE - y), (GLYPH_SIZE - x, GLYPH_SIZE + y))
    pen.line(ends, fill=255, width=width)
    if rng.random() < 0.5:  # round ends
        for end in ends:
            pen.circle(end, width / 2, fill=255)


def _draw_ring(pen: ImageDraw.ImageDraw, rng: Generator) -> None:
    height = rng.uniform(60, 105)
    width = height * rng.uniform(0.45, 1.05)
    box = (GLYPH_SIZE - width, GLYPH_SIZE - height, GLYPH_SIZE + width, GLYPH_SIZE + height)
    pen.ellipse(box, outline=255, width=int(rng.integers(5, max(6, int(width * 0.6)))))


@cache
def _find_fonts() -> tuple[str, ...]:
    folder = Path(get_data_path()) / "fonts" / "ttf"
    files = sorted(path for pattern in FONTS for path in folder.glob(f"{pattern}.ttf"))
    # The STIX display fonts contain no digits.
    return tuple(str(path) for path in files if "Display" not in path.name)
