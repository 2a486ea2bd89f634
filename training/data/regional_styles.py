"""Regional handwriting styles for MNIST digits: crossed sevens, slashed zeros, ones with a flag
and a foot. Glyphs are images of mode L, white ink on black.
"""

import numpy as np
from numpy.random import Generator
from PIL import Image, ImageDraw

RESTYLED_SHARE = {0: 0.3, 1: 0.35, 7: 0.5}  # by digit


def restyle(glyph: Image.Image, digit: int, rng: Generator) -> Image.Image:
    """Return `glyph` in a regional style, for a random share of the 0s, 1s and 7s."""
    if rng.random() >= RESTYLED_SHARE.get(digit, 0.0):
        return glyph
    bounds = glyph.point(lambda value: 255 * (value > 100)).getbbox()
    if bounds is None:
        return glyph
    pixels = np.asarray(glyph) > 100
    glyph = glyph.copy()
    pen = ImageDraw.Draw(glyph)
    width = max(2.0, _measure_stroke_width(pixels) * rng.uniform(0.6, 1.0))
    for line in {0: _make_slash, 1: _make_serifs, 7: _make_crossbar}[digit](pixels, bounds, rng):
        _draw_line(pen, line, width)
    return glyph


Line = tuple[tuple[float, float], tuple[float, float]]
Bounds = tuple[int, int, int, int]
Pixels = np.ndarray[tuple[int, ...], np.dtype[np.bool_]]


def _draw_line(pen: ImageDraw.ImageDraw, line: Line, width: float) -> None:
    pen.line(line, fill=255, width=round(width))
    half = width / 2
    for x, y in line:
        pen.ellipse((x - half, y - half, x + half, y + half), fill=255)


def _measure_stroke_width(pixels: Pixels) -> float:
    """Return the stroke width in pixels: the 35th percentile of the horizontal ink runs."""
    padded = np.pad(pixels, ((0, 0), (1, 1))).astype(np.int8)
    steps = np.diff(padded, axis=1)
    runs = np.nonzero(steps == -1)[1] - np.nonzero(steps == 1)[1]
    return float(np.percentile(runs, 35)) if len(runs) else 2.0


def _make_slash(_: Pixels, bounds: Bounds, rng: Generator) -> list[Line]:
    left, top, right, bottom = bounds
    x, y = (left + right) / 2, (top + bottom) / 2
    reach = rng.uniform(0.3, 0.65)
    offset_x, offset_y = (right - left) * reach * rng.uniform(0.6, 1.1), (bottom - top) * reach
    return [((x - offset_x, y + offset_y), (x + offset_x, y - offset_y))]


def _make_serifs(pixels: Pixels, bounds: Bounds, rng: Generator) -> list[Line]:
    _, top, _, bottom = bounds
    height = bottom - top
    head = float(np.flatnonzero(pixels[min(top + 3, bottom - 1)]).mean())
    foot = float(np.flatnonzero(pixels[max(bottom - 4, top)]).mean())
    reach = rng.uniform(0.12, 0.42) * height
    drop = reach * rng.uniform(0.6, 1.4)
    lines = [((head, top + 3.0), (head - reach, top + drop))]
    if rng.random() < 0.4:
        left, right = rng.uniform(0.1, 0.3, 2) * height
        lines.append(((foot - left, bottom - 3.0), (foot + right, bottom - 3.0)))
    return lines


def _make_crossbar(pixels: Pixels, bounds: Bounds, rng: Generator) -> list[Line]:
    left, top, right, bottom = bounds
    y = top + rng.uniform(0.4, 0.65) * (bottom - top)
    stem = float(np.flatnonzero(pixels[int(y)]).max(initial=(left + right) // 2))
    reach, back = rng.uniform(0.1, 0.35, 2) * (bottom - top)
    tilt = rng.normal(-0.02, 0.06) * (bottom - top)
    return [((stem - back, y - tilt), (stem + reach, y + tilt))]
