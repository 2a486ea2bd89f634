"""Draw the example digits: `python -m frontend.examples.make_examples`.

The strokes are points in a unit square, defined by hand and smoothed by a Catmull-Rom spline;
nothing comes from a dataset.
"""

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageFilter

from frontend.examples import FOLDER

Point = tuple[float, float]
Color = tuple[int, int, int]

SIDE = 240  # px
OVERSAMPLING = 3  # drawn larger and then reduced, for smooth edges

STROKES: dict[str, list[list[Point]]] = {
    "two": [[(0.24, 0.3), (0.4, 0.12), (0.66, 0.2), (0.64, 0.44), (0.4, 0.68), (0.2, 0.86)],
            [(0.2, 0.86), (0.45, 0.84), (0.8, 0.87)]],
    "three": [[(0.26, 0.2), (0.5, 0.1), (0.7, 0.24), (0.6, 0.42), (0.42, 0.47)],
            [(0.42, 0.47), (0.66, 0.52), (0.75, 0.7), (0.55, 0.89), (0.24, 0.82)]],
    "four": [[(0.58, 0.1), (0.4, 0.36), (0.2, 0.6)], [(0.2, 0.6), (0.5, 0.6), (0.82, 0.58)],
             [(0.62, 0.34), (0.61, 0.6), (0.6, 0.92)]],
    "five": [[(0.34, 0.12), (0.31, 0.28), (0.28, 0.45)],
            [(0.28, 0.45), (0.55, 0.4), (0.72, 0.58), (0.64, 0.8), (0.42, 0.9), (0.22, 0.82)],
             [(0.34, 0.12), (0.52, 0.12), (0.74, 0.1)]],
    "seven": [[(0.2, 0.17), (0.48, 0.15), (0.79, 0.14)],
            [(0.79, 0.14), (0.62, 0.42), (0.5, 0.65), (0.42, 0.92)]],
    "eight": [[(0.68, 0.24), (0.48, 0.11), (0.31, 0.25), (0.45, 0.45), (0.66, 0.6), (0.68, 0.8)],
            [(0.68, 0.8), (0.48, 0.91), (0.29, 0.78), (0.36, 0.58), (0.58, 0.44), (0.68, 0.24)]],
}  # fmt: skip


@dataclass(frozen=True)
class Style:
    """Style of a digit: colors, pen width in px, scale, position, tilt in degrees, shading."""

    paper: Color
    ink: Color
    pen: float
    scale: float = 0.8
    position: Point = (0.5, 0.5)
    tilt: float = 0.0
    shade: int = 0


STYLES = {
    "two": Style(paper=(247, 241, 224), ink=(32, 64, 168), pen=6, tilt=6),
    "three": Style(paper=(255, 255, 255), ink=(17, 17, 17), pen=15, tilt=-4),
    "four": Style(paper=(255, 255, 255), ink=(30, 30, 30), pen=6, scale=0.36, position=(0.7, 0.32)),
    "five": Style(paper=(188, 188, 184), ink=(74, 74, 78), pen=9, tilt=3, shade=36),
    "seven": Style(paper=(20, 24, 22), ink=(240, 240, 232), pen=12, tilt=-3),
    "eight": Style(paper=(252, 252, 250), ink=(200, 30, 45), pen=24, scale=0.72),
}


def draw(name: str) -> Image.Image:
    """Return the example of that name as RGB, SIDE x SIDE."""
    style = STYLES[name]
    rng = random.Random(name)
    side = SIDE * OVERSAMPLING
    ink = Image.new("L", (side, side))
    canvas = ImageDraw.Draw(ink)
    for stroke in STROKES[name]:
        points = [_transform(point, style, rng, side) for point in stroke]
        for x, y in _smooth(points):
            r = style.pen * OVERSAMPLING / 2 * rng.uniform(0.94, 1.06)
            canvas.ellipse((x - r, y - r, x + r, y + r), fill=255)
    mask = ink.resize((SIDE, SIDE), Image.Resampling.LANCZOS).filter(ImageFilter.GaussianBlur(0.4))
    image = _create_paper(style)
    image.paste(style.ink, (0, 0), mask)
    return image


def _transform(point: Point, style: Style, rng: random.Random, side: int) -> Point:
    """Scale, tilt and shift a point of the unit square, with random jitter."""
    angle = math.radians(style.tilt)
    x = (point[0] - 0.5) * style.scale + rng.uniform(-0.006, 0.006)
    y = (point[1] - 0.5) * style.scale + rng.uniform(-0.006, 0.006)
    return (
        (style.position[0] + x * math.cos(angle) - y * math.sin(angle)) * side,
        (style.position[1] + x * math.sin(angle) + y * math.cos(angle)) * side,
    )


def _smooth(points: Sequence[Point]) -> list[Point]:
    """Return a dense uniform Catmull-Rom curve through the points; strokes end at corners."""
    curve = []
    padded = [points[0], *points, points[-1]]
    for i in range(len(points) - 1):
        a, b, c, d = padded[i : i + 4]
        for step in range(120):
            t = step / 120
            curve.append((_spline(a[0], b[0], c[0], d[0], t), _spline(a[1], b[1], c[1], d[1], t)))
    return [*curve, points[-1]]


def _spline(a: float, b: float, c: float, d: float, t: float) -> float:
    square, cube = 2 * a - 5 * b + 4 * c - d, 3 * b - a - 3 * c + d
    return 0.5 * (2 * b + (c - a) * t + square * t**2 + cube * t**3)


def _create_paper(style: Style) -> Image.Image:
    """Return a plain background, darkened towards the bottom by `style.shade`."""
    paper = Image.new("RGB", (SIDE, SIDE), style.paper)
    if style.shade:
        gradient = Image.linear_gradient("L").resize((SIDE, SIDE))
        dark = Image.new("RGB", (SIDE, SIDE), tuple(c - style.shade for c in style.paper))
        paper.paste(dark, (0, 0), gradient)
    return paper


if __name__ == "__main__":
    for stem in STYLES:
        draw(stem).quantize(64).save(FOLDER / f"{stem}.png", optimize=True)
