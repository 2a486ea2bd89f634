"""Digits as they are printed, and as a ruler and a compass draw them: glyphs without a tremble.

Handwriting alone would teach a model that a line without a flaw is no 1.
"""

import math
from functools import cache
from pathlib import Path

from matplotlib import get_data_path
from numpy.random import Generator
from PIL import Image, ImageDraw, ImageFont

SIDE = 128  # of a glyph, in pixels
FAMILIES = ("DejaVuSans*", "DejaVuSerif*", "STIXGeneral*", "cmr10", "cmss10", "cmtt10", "cmb10")
_DRAWN = {0: 0.4, 1: 0.5}  # the share of the 0s and 1s that are drawn instead of printed


def write(digit: int, rng: Generator) -> Image.Image:
    """A digit in a random typeface, or drawn with a ruler: mode L, 128x128, white on black."""
    large = Image.new("L", (2 * SIDE, 2 * SIDE))
    pen = ImageDraw.Draw(large)
    if rng.random() < _DRAWN.get(digit, 0):
        (_ring if digit == 0 else _bar)(pen, rng)
    else:
        faces = _faces()
        font = ImageFont.truetype(faces[int(rng.integers(len(faces)))], int(rng.integers(120, 220)))
        pen.text((SIDE, SIDE), str(digit), fill=255, font=font, anchor="mm")
    return large.reduce(2)


def _bar(pen: ImageDraw.ImageDraw, rng: Generator) -> None:
    lean = rng.normal(0, 0.15) if rng.random() < 0.6 else 0.0
    reach = rng.uniform(60, 105)
    x, y = reach * math.sin(lean), reach * math.cos(lean)
    width = int(rng.integers(3, 44))
    pen.line((SIDE + x, SIDE - y, SIDE - x, SIDE + y), fill=255, width=width)
    if rng.random() < 0.5:  # round ends
        for end_x, end_y in ((SIDE + x, SIDE - y), (SIDE - x, SIDE + y)):
            pen.circle((end_x, end_y), width / 2, fill=255)


def _ring(pen: ImageDraw.ImageDraw, rng: Generator) -> None:
    tall = rng.uniform(60, 105)
    wide = tall * rng.uniform(0.45, 1.05)
    box = (SIDE - wide, SIDE - tall, SIDE + wide, SIDE + tall)
    pen.ellipse(box, outline=255, width=int(rng.integers(5, max(6, int(wide * 0.6)))))


@cache
def _faces() -> tuple[str, ...]:
    folder = Path(get_data_path()) / "fonts" / "ttf"
    found = sorted(path for family in FAMILIES for path in folder.glob(f"{family}.ttf"))
    # STIX's fonts of sizes and of signs have no digits of their own.
    return tuple(str(path) for path in found if "Display" not in path.name)
