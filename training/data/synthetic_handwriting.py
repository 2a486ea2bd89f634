"""Synthetic handwritten digits: strokes with random parameters, in styles that MNIST lacks.

MNIST's writers are American. Elsewhere a 7 is crossed, a 1 has a long upstroke or a foot, a 0 may
be slashed, a 4 is open and a 9 has a straight leg.
"""

import math

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from training.data.degradation import GLYPH_SIZE

Points = NDArray[np.float64]  # (N, 2): x to the right, y down, in the unit square
Strokes = list[Points]
Pair = tuple[float, float]  # x and y


def draw_digit(digit: int, rng: Generator) -> Image.Image:
    """Return a digit in a random style: mode L, 128x128, white ink on black, anti-aliased."""
    strokes = [_add_tremor(stroke, rng) for stroke in _DIGITS[digit](rng)]
    height = rng.uniform(60, 100)
    width = height * rng.uniform(0.45, 1.0)
    slant, angle = rng.normal(0.1, 0.18), rng.normal(0, 0.08)
    shear = np.array([[1, -slant], [0, 1]])
    rotation = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    stroke_width = rng.uniform(3, 11)
    image = Image.new("L", (2 * GLYPH_SIZE, 2 * GLYPH_SIZE))
    pen = ImageDraw.Draw(image)
    for stroke in strokes:
        placed = ((stroke - 0.5) * (width, height)) @ shear.T @ rotation.T + GLYPH_SIZE / 2
        _draw_stroke(pen, placed * 2, 2 * stroke_width * rng.uniform(0.85, 1.15))
    return image.reduce(2)


def _draw_stroke(pen: ImageDraw.ImageDraw, points: Points, width: float) -> None:
    flat = [(float(x), float(y)) for x, y in points]
    pen.line(flat, fill=255, width=round(width), joint="curve")
    half = width / 2
    for x, y in (flat[0], flat[-1]):
        pen.ellipse((x - half, y - half, x + half, y + half), fill=255)


def _add_tremor(points: Points, rng: Generator) -> Points:
    """Return a stroke with small, smooth random displacements."""
    bends = rng.normal(0, 0.022, (5, 2))
    at, knots = np.linspace(0, 4, len(points)), np.arange(5)
    shift = np.stack([np.interp(at, knots, bends[:, axis]) for axis in (0, 1)], axis=1)
    return points + shift


def _curve(*knots: Pair, jitter: float, rng: Generator) -> Points:
    """Return a smooth curve through `knots` (Catmull-Rom), 12 points between adjacent knots."""
    jittered = np.array(knots) + rng.normal(0, jitter, (len(knots), 2))
    padded = np.vstack((2 * jittered[0] - jittered[1], jittered, 2 * jittered[-1] - jittered[-2]))
    t = np.linspace(0, 1, 12, endpoint=False)[:, np.newaxis]
    segments = []
    for a, b, c, d in zip(padded, padded[1:], padded[2:], padded[3:], strict=False):
        cubic = (3 * (b - c) + d - a) * t**3 + (2 * a - 5 * b + 4 * c - d) * t**2
        segments.append(b + 0.5 * (cubic + (c - a) * t))
    return np.vstack((*segments, jittered[-1:]))


def _line(*knots: Pair, jitter: float, rng: Generator) -> Points:
    """Return straight lines between `knots`, 8 points per knot."""
    jittered = np.array(knots) + rng.normal(0, jitter, (len(knots), 2))
    at = np.linspace(0, len(jittered) - 1, 8 * len(jittered))
    index = np.arange(len(jittered))
    return np.stack([np.interp(at, index, jittered[:, axis]) for axis in (0, 1)], axis=1)


def _arc(center: Pair, radii: Pair, start: float, turn: float) -> Points:
    """Return part of an ellipse; angles are in turns, clockwise from the right."""
    angle = 2 * math.pi * (start + np.linspace(0, turn, max(8, int(abs(turn) * 48))))
    x, y = center[0] + radii[0] * np.cos(angle), center[1] + radii[1] * np.sin(angle)
    return np.stack((x, y), axis=1)


def _zero(rng: Generator) -> Strokes:
    start = rng.uniform(-0.35, -0.1)
    turn = (1 if rng.random() < 0.3 else -1) * rng.uniform(0.93, 1.12)
    strokes = [_arc((0.5, 0.5), (rng.uniform(0.3, 0.5), 0.5), start, turn)]
    kind = rng.random()
    if kind < 0.35:
        reach = rng.uniform(0.2, 0.62)
        lean = rng.uniform(0.5, 1.2)
        ends = ((0.5 - reach * lean, 0.5 + reach), (0.5 + reach * lean, 0.5 - reach))
        if rng.random() < 0.12:
            ends = ((0.5 - reach * lean, 0.5 - reach), (0.5 + reach * lean, 0.5 + reach))
        strokes.append(_line(*ends, jitter=0.03, rng=rng))
    elif kind < 0.45:  # a curl at the end of the loop
        strokes.append(_curve((0.5, 0.0), (0.65, 0.08), (0.85, 0.0), jitter=0.04, rng=rng))
    return strokes


def _one(rng: Generator) -> Strokes:
    kind = rng.random()
    foot = rng.uniform(0.35, 0.65)
    stem = _line((foot + rng.normal(0, 0.03), 0), (foot, 1), jitter=0.02, rng=rng)
    if kind < 0.15:
        return [stem]
    reach = rng.uniform(0.15, 0.5)
    drop = rng.uniform(0.6 * reach, 0.6)
    knots = ((foot - reach, drop), (foot - reach * 0.4, drop * 0.5), (foot, 0))
    up = _curve(*knots, jitter=0.02, rng=rng)
    flagged = np.vstack((up, stem[1:]))
    if kind < 0.7:
        return [flagged]
    left, right = rng.uniform(0.12, 0.4, 2)
    base = _line((foot - left, 1), (foot + right, 1), jitter=0.02, rng=rng)
    return [flagged, base] if kind < 0.94 else [stem, base]


def _two(rng: Generator) -> Strokes:
    kind = rng.random()
    top = [(0.08, 0.25), (0.3, 0.02), (0.65, 0.02), (0.88, 0.25)]
    if kind < 0.5:
        body = _curve(*top, (0.7, 0.55), (0.35, 0.82), (0.05, 1.0), jitter=0.025, rng=rng)
        base = _line((0.05, 1.0), (0.98, rng.uniform(0.92, 1.03)), jitter=0.02, rng=rng)
        return [np.vstack((body, base))]
    if kind < 0.8:
        loop = [(0.7, 0.55), (0.3, 0.92), (0.08, 0.95), (0.12, 0.78), (0.4, 0.88), (0.98, 0.98)]
        return [_curve(*top, *loop, jitter=0.025, rng=rng)]
    if kind < 0.93:
        wave = [(0.75, 0.5), (0.1, 0.95), (0.4, 0.9), (0.7, 1.0), (1.0, 0.88)]
        return [_curve(*top, *wave, jitter=0.025, rng=rng)]
    return [_line((0.05, 0.05), (0.92, 0.02), (0.05, 1.0), (0.98, 1.0), jitter=0.04, rng=rng)]


def _three(rng: Generator) -> Strokes:
    waist = rng.uniform(0.4, 0.52)
    notch = rng.uniform(0.3, 0.6)
    low = [(0.8, waist + 0.1), (0.95, 0.72), (0.75, 0.97), (0.4, 1.0), (0.05, 0.85)]
    if rng.random() < 0.65:
        high = [(0.08, 0.15), (0.4, 0.0), (0.8, 0.08), (0.82, 0.3), (0.62, waist - 0.05)]
        upper = _curve(*high, (notch, waist), jitter=0.025, rng=rng)
    else:
        upper = _line((0.08, 0.02), (0.9, 0.0), (notch, waist), jitter=0.03, rng=rng)
    return [np.vstack((upper, _curve((notch, waist), *low, jitter=0.025, rng=rng)))]


def _four(rng: Generator) -> Strokes:
    bar, stem = rng.uniform(0.5, 0.75), rng.uniform(0.55, 0.85)
    right = rng.uniform(stem + 0.05, 1.05)
    kind = rng.random()
    if kind < 0.3:  # closed, one stroke
        return [_line((stem, 1), (stem, 0), (0.02, bar), (right, bar), jitter=0.025, rng=rng)]
    start = rng.uniform(0.1, 0.55) if kind < 0.75 else rng.uniform(0.02, 0.2)
    knots = ((start, 0.0), (0.02 if kind < 0.75 else start, bar), (right, bar))
    angle = _line(*knots, jitter=0.025, rng=rng)
    top = rng.uniform(-0.02, 0.45)
    return [angle, _line((stem, top), (stem + rng.normal(-0.03, 0.05), 1), jitter=0.02, rng=rng)]


def _five(rng: Generator) -> Strokes:
    kind = rng.random()
    start = rng.uniform(0.12, 0.32)
    waist = rng.uniform(0.38, 0.5)
    bowl = [(0.6, waist - 0.06), (0.92, 0.62), (0.8, 0.92), (0.45, 1.0), (0.03, 0.88)]
    body = _curve((start * 0.8, waist), *bowl, jitter=0.025, rng=rng)
    right = rng.uniform(0.75, 1.05)
    if kind < 0.35:
        corner = _line((right, 0), (start, 0.02), (start * 0.8, waist), jitter=0.025, rng=rng)
        return [np.vstack((corner, body))]
    stem = _line((start, 0.02), (start * 0.8, waist), jitter=0.02, rng=rng)
    gap = max(0.0, rng.normal(0, 0.08))
    ends = ((start + gap, rng.normal(0, 0.03)), (right, rng.normal(-0.01, 0.04)))
    bar = _line(*ends, jitter=0.015, rng=rng)
    if kind < 0.85:
        return [np.vstack((stem, body)), bar]
    wave = [(0.9, 0.05), (0.4, 0.02), (0.12, 0.2), (0.3, 0.42), (0.75, 0.55), (0.9, 0.78)]
    return [_curve(*wave, (0.5, 1.0), (0.05, 0.9), jitter=0.025, rng=rng)]


def _six(rng: Generator) -> Strokes:
    top = rng.uniform(0.4, 0.95)
    height = rng.uniform(0.38, 0.6)
    middle = 1 - height / 2
    body = [(top, 0.0), (0.3, 0.25), (0.04, 0.62), (0.2, 0.95), (0.6, 0.99), (0.92, middle + 0.05)]
    closing = [(0.7, 1 - height), (0.35, 1 - height * 0.85), (0.08, rng.uniform(0.7, 0.9))]
    if rng.random() < 0.25:
        closing = closing[:2]
    return [_curve(*body, *closing, jitter=0.025, rng=rng)]


def _seven(rng: Generator) -> Strokes:
    foot = rng.uniform(0.15, 0.6)
    right = rng.uniform(0.8, 1.0)
    top = _line((0.02, rng.uniform(-0.02, 0.1)), (right, 0.0), jitter=0.02, rng=rng)
    if rng.random() < 0.3:  # the bar starts with a tick
        tick = _line((0.02, rng.uniform(0.12, 0.25)), (0.04, 0.02), jitter=0.02, rng=rng)
        top = np.vstack((tick, top))
    if rng.random() < 0.25:
        top[:, 1] += 0.06 * np.sin(np.linspace(0, 2 * math.pi, len(top)))
    bend = rng.normal(0, 0.06)
    middle = ((right + foot) / 2 + bend, 0.5)
    stem = _curve((right, 0.0), middle, (foot, 1.0), jitter=0.015, rng=rng)
    strokes = [np.vstack((top, stem))]
    if rng.random() < 0.6:
        height = rng.uniform(0.35, 0.65)
        across = right + (foot - right) * height + bend
        left, reach = rng.uniform(0.12, 0.42), rng.uniform(0.1, 0.4)
        tilt = rng.normal(-0.02, 0.06)
        ends = ((across - left, height - tilt), (across + reach, height + tilt))
        strokes.append(_line(*ends, jitter=0.015, rng=rng))
    return strokes


def _eight(rng: Generator) -> Strokes:
    waist = rng.uniform(0.4, 0.52)
    slim = rng.uniform(0.28, 0.46)
    if rng.random() < 0.3:
        upper = _arc((0.5, waist / 2), (slim, waist / 2), rng.uniform(0, 1), 1.03)
        low = (1 - waist) / 2
        return [upper, _arc((0.5, 1 - low), (rng.uniform(0.36, 0.5), low), rng.uniform(0, 1), 1.03)]
    down = [(0.8, 0.1), (0.5, 0.0), (0.5 - slim, 0.18), (0.5, waist), (0.93, 0.75), (0.5, 1.0)]
    up = [(0.06, 0.76), (0.48, waist + 0.03), (0.5 + slim, 0.22), (0.75, rng.uniform(0, 0.12))]
    return [_curve(*down, *up, jitter=0.025, rng=rng)]


def _nine(rng: Generator) -> Strokes:
    low = rng.uniform(0.4, 0.6)
    right = rng.uniform(0.75, 0.95)
    start = (right, rng.uniform(0.12, 0.25))
    loop = [start, (0.5, 0.0), (0.08, low / 2), (0.4, low), (right, low / 2)]
    kind = rng.random()
    if kind < 0.4:
        tail = [(right, 0.55), (rng.uniform(0.5, 0.9), 1.0)]
    elif kind < 0.8:
        tail = [(right, 0.6), (0.7, 0.95), (0.4, 1.0), (0.1, rng.uniform(0.82, 0.98))]
    else:
        ring = _arc((0.45, low / 2), (0.4, low / 2), rng.uniform(0, 1), 1.02)
        stem = _line((right, rng.uniform(-0.05, 0.2)), (right - 0.05, 1.0), jitter=0.02, rng=rng)
        return [ring, stem]
    return [_curve(*loop, *tail, jitter=0.025, rng=rng)]


_DIGITS = (_zero, _one, _two, _three, _four, _five, _six, _seven, _eight, _nine)
