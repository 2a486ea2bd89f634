"""Images of a digit in its surroundings, with the mask of its strokes.

`draw_scene` places a glyph on paper: plain, ruled or in a frame, in any light, on a desk, among
other marks. The segmentation network (`training/segmentation.py`) is trained on such pairs. All
images are (H, W) with levels 0-255; masks are (H, W) in [0, 1].
"""

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from training.data import (
    degradation,
    negatives,
    regional_styles,
    synthetic_handwriting,
    synthetic_print,
)
from training.data.digits import Digits

# The segments of each digit: pairs of points, as the indices of a column and a row.
_TOP, _MIDDLE, _BOTTOM = ((0, 0), (1, 0)), ((0, 1), (1, 1)), ((0, 2), (1, 2))
_LEFT, _LEFT_FOOT = ((0, 0), (0, 1)), ((0, 1), (0, 2))
_RIGHT, _RIGHT_FOOT = ((1, 0), (1, 1)), ((1, 1), (1, 2))
_SEGMENTS = (
    (_TOP, _BOTTOM, _LEFT, _LEFT_FOOT, _RIGHT, _RIGHT_FOOT),
    (_RIGHT, _RIGHT_FOOT),
    (_TOP, _RIGHT, _MIDDLE, _LEFT_FOOT, _BOTTOM),
    (_TOP, _RIGHT, _MIDDLE, _RIGHT_FOOT, _BOTTOM),
    (_LEFT, _MIDDLE, _RIGHT, _RIGHT_FOOT),
    (_TOP, _LEFT, _MIDDLE, _RIGHT_FOOT, _BOTTOM),
    (_TOP, _LEFT, _MIDDLE, _LEFT_FOOT, _RIGHT_FOOT, _BOTTOM),
    (_TOP, _RIGHT, _RIGHT_FOOT),
    (_TOP, _MIDDLE, _BOTTOM, _LEFT, _LEFT_FOOT, _RIGHT, _RIGHT_FOOT),
    (_TOP, _MIDDLE, _BOTTOM, _LEFT, _RIGHT, _RIGHT_FOOT),
)

Levels = NDArray[np.floating]


@dataclass(frozen=True)
class Scene:
    """An image and the mask of its digit's strokes.

    The mask is 0 without a digit, and None where any mask is right: letters and scribbles have
    strokes too.
    """

    image: Levels
    mask: Levels | None


def draw_scene(digits: tuple[Digits, ...], rng: Generator) -> Scene:
    """Return a random scene with one of `digits` or a synthetic digit, or without a digit."""
    kind = rng.random()
    if kind < 0.22:
        draw = negatives.choose_kind(rng)
        gray = np.asarray(negatives.finish(draw(rng), rng).convert("L"), dtype=np.float32)
        mask = None if draw in negatives.WITH_STROKES else np.zeros_like(gray)
        return Scene(gray, mask)
    size = _draw_size(rng)
    if kind < 0.27:  # paper on which nothing is written
        blank = Image.new("L", size)
        return _draw_paper(blank, blank, rng)
    glyph = draw_glyph(digits, rng)
    ink = _place(glyph, size, rng)
    if kind < 0.31:
        return _draw_on_background(ink, rng)
    marks = _draw_marks(ink, digits, rng) if rng.random() < 0.5 else Image.new("L", size)
    scene = _draw_paper(ink, marks, rng)
    if rng.random() < 0.2:
        return _put_on_desk(scene, rng)
    return scene


def draw_glyph(digits: tuple[Digits, ...], rng: Generator) -> Image.Image:
    """Return a digit in mode L, 128x128, white ink on black, of random origin and style."""
    kind = rng.random()
    if kind < 0.07:
        glyph = _draw_segments(int(rng.integers(10)), rng)
    elif kind < 0.62:
        source = digits[int(rng.integers(len(digits)))]
        index = int(rng.integers(len(source)))
        pixels = source.pixels[index]
        glyph = degradation.to_glyph(pixels, 4 if len(pixels) > 20 else 12)
        glyph = regional_styles.restyle(glyph, int(source.labels[index]), rng)
    else:
        synthetic = synthetic_print if kind > 0.85 else synthetic_handwriting
        glyph = synthetic.draw_digit(int(rng.integers(10)), rng)
    if rng.random() < 0.5:
        glyph = degradation.distort(glyph, rng)
    if rng.random() < 0.5:
        glyph = degradation.change_stroke_width(glyph, rng)
    return _split(glyph, rng) if rng.random() < 0.12 else glyph


def _draw_segments(digit: int, rng: Generator) -> Image.Image:
    """Return a digit of straight segments, as on a seven-segment display."""
    glyph = Image.new("L", (degradation.GLYPH_SIZE,) * 2)
    pen = ImageDraw.Draw(glyph)
    width, height = rng.uniform(18, 42), rng.uniform(30, 55)
    line = int(rng.integers(3, 22))
    middle = degradation.GLYPH_SIZE / 2
    columns, rows = (middle - width, middle + width), (middle - height, middle, middle + height)
    for segment in _SEGMENTS[digit]:
        (x1, y1), (x2, y2) = segment
        pen.line((columns[x1], rows[y1], columns[x2], rows[y2]), fill=255, width=line)
        for x, y in segment:
            half = line / 2
            pen.rectangle(
                (columns[x] - half, rows[y] - half, columns[x] + half - 1, rows[y] + half - 1),
                fill=255,
            )
    return glyph


def _split(glyph: Image.Image, rng: Generator) -> Image.Image:
    """Return a glyph with a gap, whose strokes are detached like the bar of a 5."""
    glyph = glyph.copy()
    left, top, right, bottom = glyph.getbbox() or (0, 0, *glyph.size)
    x, y = rng.uniform(left, right), rng.uniform(top, bottom)
    dx, dy = 200 * (
        np.array((1, rng.normal(0, 0.3)))
        if rng.random() < 0.7
        else np.array((rng.normal(0, 0.3), 1))
    )
    ImageDraw.Draw(glyph).line(
        (x - dx, y - dy, x + dx, y + dy), fill=0, width=int(rng.integers(3, 9))
    )
    return glyph


def _draw_size(rng: Generator) -> tuple[int, int]:
    side = 32 * 2 ** rng.uniform(0, 2.6)
    ratio = 2 ** rng.normal(0, 0.3)
    return max(24, round(side * ratio)), max(24, round(side / ratio))


def _place(glyph: Image.Image, size: tuple[int, int], rng: Generator) -> Image.Image:
    """Return the amount of ink on paper of `size`: mode L; the digit fills 8-100% of a side."""
    tight = degradation.crop_to_ink(glyph)
    share = rng.uniform(0.35, 0.95) if rng.random() < 0.7 else rng.uniform(0.1, 0.4)
    if rng.random() < 0.05:
        share = 1.0
    scale = share * min(size[0] / tight.width, size[1] / tight.height)
    width, height = (max(3, round(scale * side)) for side in tight.size)
    small = tight.resize(
        (width, height), Image.Resampling.BICUBIC if scale > 1 else Image.Resampling.BOX
    )
    ink = Image.new("L", size)
    place = [int(rng.integers(max(0, a - b) + 1)) for a, b in zip(size, small.size, strict=True)]
    ink.paste(small, (place[0], place[1]))
    return ink


def _draw_marks(ink: Image.Image, digits: tuple[Digits, ...], rng: Generator) -> Image.Image:
    """Return marks that do not belong to the digit: mode L, none of them touches its strokes."""
    marks = Image.new("L", ink.size)
    pen = ImageDraw.Draw(marks)
    width, height = ink.size
    bounds = ink.point(lambda value: 255 * (value > 60)).getbbox() or (0, 0, width, height)
    left, top, right, bottom = bounds
    kind = int(rng.choice(6, p=(0.2, 0.28, 0.12, 0.15, 0.13, 0.12)))
    line = max(1, round(rng.uniform(0.005, 0.03) * min(width, height)))
    if kind == 0:  # specks
        for _ in range(int(rng.integers(1, 30))):
            x, y, radius = *(rng.uniform(0, 1, 2) * ink.size), rng.uniform(0.3, 0.012 * width + 1)
            pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=255)
    elif kind == 1:  # a frame around the digit, or the border of the image
        space = [left, top, width - 1 - right, height - 1 - bottom]
        gaps = [rng.uniform(0, 0.85) * max(0, each) for each in space]
        if rng.random() < 0.3:
            gaps = [0.0] * 4
        pen.rectangle(
            (gaps[0], gaps[1], width - 1 - gaps[2], height - 1 - gaps[3]), outline=255, width=line
        )
    elif kind == 2:  # an underline
        y = bottom + rng.uniform(0.06, 0.3) * (bottom - top) + line
        reach = rng.uniform(0.05, 0.5, 2) * (right - left)
        pen.line(
            (left - reach[0], y, right + reach[1], y + rng.normal(0, 0.02) * width),
            fill=255,
            width=line,
        )
    elif kind == 3:  # parts of other digits at the sides
        for side in (-1, 1):
            if rng.random() < 0.7:
                other = degradation.crop_to_ink(draw_glyph(digits, rng))
                scale = (bottom - top) / other.height * rng.uniform(0.8, 1.1)
                other = other.resize([max(2, round(scale * each)) for each in other.size])
                x = -rng.uniform(0.2, 0.8) * other.width
                marks.paste(
                    other,
                    (
                        round(x if side < 0 else width + x),
                        round(top + rng.normal(0, 0.05) * height),
                    ),
                )
    elif kind == 4:  # a corner or an edge of something else
        far = rng.uniform(0.05, 0.35, 2) * ink.size
        x, y = (float(rng.choice((0, each))) for each in ink.size)
        corners = ((x, y), (abs(x - far[0]), y), (x, abs(y - far[1])))
        pen.polygon(corners, fill=255)
    else:  # stray strokes near the border
        for _ in range(int(rng.integers(1, 4))):
            x, y = rng.uniform(0, 1, 2) * ink.size
            dx, dy = rng.normal(0, 0.12, 2) * ink.size
            pen.line((x, y, x + dx, y + dy), fill=255, width=line)
    if rng.random() < 0.5:
        marks = marks.filter(ImageFilter.GaussianBlur(rng.uniform(0.3, 1)))
    near = ink.filter(ImageFilter.MaxFilter(5))
    clear = np.asarray(near) < 60
    return Image.fromarray(np.asarray(marks) * clear)


def _draw_paper(ink: Image.Image, marks: Image.Image, rng: Generator) -> Scene:
    """Return the ink and marks on paper in random light."""
    width, height = ink.size
    cover = np.asarray(ink, dtype=np.float32) / 255
    mask = _full_strokes(cover)
    if rng.random() < 0.5:
        soft = ink.filter(ImageFilter.GaussianBlur(rng.uniform(0.2, 0.012 * min(ink.size) + 0.4)))
        cover = np.asarray(soft, dtype=np.float32) / 255
        mask = _full_strokes(cover)
    paper = rng.uniform(120, 255)
    contrast = rng.uniform(0.35, 1) if rng.random() < 0.8 else rng.uniform(0.15, 0.5)
    level = np.full((height, width), paper, dtype=np.float32)
    ink_level = paper * (1 - contrast)
    if rng.random() < 0.35:
        _rule(level, paper - rng.uniform(0.1, 0.85) * (paper - ink_level), rng)
    if rng.random() < 0.2:  # structure of the paper
        grain = rng.normal(0, rng.uniform(1, 10), (height // 3 + 1, width // 3 + 1))
        level += _enlarge(grain.astype(np.float32), (width, height))
    mark_cover = np.asarray(marks, dtype=np.float32) / 255
    mark_level = paper * (1 - contrast * rng.uniform(0.6, 1.1))
    level += (mark_level - level) * mark_cover
    level += (ink_level - level) * cover
    if rng.random() < 0.75:
        level *= draw_light((width, height), rng)
    if rng.random() < 0.25:
        level = 255 - level
    level += rng.normal(0, rng.uniform(0, 8), level.shape).astype(np.float32)
    return Scene(np.clip(level, 0, 255), mask)


def draw_light(size: tuple[int, int], rng: Generator) -> Levels:
    """Return a factor for each pixel: smooth gradients, vignettes, and shadows with edges."""
    width, height = size
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j].astype(np.float32)
    slope_x, slope_y, bend = rng.normal(0, (0.25, 0.25, 0.1)).astype(np.float32)
    light: Levels = 1 + slope_x * x + slope_y * y + bend * (x * x + y * y)
    for _ in range(int(rng.choice(3, p=(0.45, 0.4, 0.15)))):
        light = light * _draw_shadow(size, rng)
    lit: Levels = np.maximum(light / max(1.0, float(light.max())), 0.12)
    return lit


def _draw_shadow(size: tuple[int, int], rng: Generator) -> Levels:
    shade = Image.new("L", size)
    pen = ImageDraw.Draw(shade)
    if rng.random() < 0.6:  # a half-plane
        angle, middle = rng.uniform(0, 2 * np.pi), rng.uniform(0.15, 0.85, 2) * size
        far = 2.0 * max(size)
        along, across = (
            np.array((np.cos(angle), np.sin(angle))),
            np.array((-np.sin(angle), np.cos(angle))),
        )
        corners = [middle - far * along, middle + far * along]
        corners += [corners[1] + far * across, corners[0] + far * across]
        pen.polygon([(float(a), float(b)) for a, b in corners], fill=255)
    elif rng.random() < 0.5:  # a hand or a head
        x, y = rng.uniform(-0.1, 1.1, 2) * size
        a, b = rng.uniform(0.15, 0.6, 2) * size
        pen.ellipse((x - a, y - b, x + a, y + b), fill=255)
    else:
        corners = [rng.uniform(-0.2, 1.2, 2) * size for _ in range(int(rng.integers(3, 6)))]
        pen.polygon([(float(a), float(b)) for a, b in corners], fill=255)
    if rng.random() < 0.8:
        shade = shade.filter(ImageFilter.GaussianBlur(rng.uniform(0.003, 0.08) * max(size)))
    depth = rng.uniform(0.15, 0.65)
    return 1 - np.float32(depth / 255) * np.asarray(shade, dtype=np.float32)


def _rule(level: Levels, line_level: float, rng: Generator) -> None:
    """Draw the lines of ruled or squared paper into `level`, in place."""
    height, width = level.shape
    spacing = max(5.0, rng.uniform(0.06, 0.35) * min(width, height))
    thickness = max(1, round(rng.uniform(0.03, 0.12) * spacing))
    if rng.random() < 0.3:
        spacing *= 2
    directions = (0,) if rng.random() < 0.45 else (0, 1) if rng.random() < 0.8 else (1,)
    lines = Image.new("L", (width, height))
    pen = ImageDraw.Draw(lines)
    tilt = rng.normal(0, 0.03) if rng.random() < 0.4 else 0.0
    for direction in directions:
        length, count = (width, height) if direction == 0 else (height, width)
        for start in np.arange(rng.uniform(0, spacing), count, spacing).tolist():
            ends = (0, start, length, start + tilt * length)
            if direction:
                ends = (start, 0, start - tilt * length, length)
            pen.line(ends, fill=255, width=thickness)
    if rng.random() < 0.3:
        lines = lines.filter(ImageFilter.GaussianBlur(rng.uniform(0.3, 0.8)))
    level += (np.float32(line_level) - level) * np.asarray(lines, dtype=np.float32) / 255


def _put_on_desk(scene: Scene, rng: Generator) -> Scene:
    """Return the scene as a sheet of paper on a desk, turned by some degrees."""
    height, width = scene.image.shape
    size = tuple(round(each * rng.uniform(1.1, 2)) for each in (width, height))
    desk = _draw_background((size[0], size[1]), rng)
    if rng.random() < 0.6:  # most desks are darker than paper
        desk *= np.float32(rng.uniform(0.2, 0.7) * scene.image.mean() / max(1.0, desk.mean()))
    angle = rng.normal(0, 6)
    place = [
        int(rng.integers(max(0, a - b) + 1)) for a, b in zip(size, (width, height), strict=True)
    ]

    def turn(values: Levels) -> Levels:
        canvas = Image.new("F", (size[0], size[1]))
        canvas.paste(Image.fromarray(values), (place[0], place[1]))
        center = (place[0] + width / 2, place[1] + height / 2)
        return np.asarray(canvas.rotate(angle, Image.Resampling.BILINEAR, center=center))

    sheet = turn(np.ones_like(scene.image))
    image = turn(scene.image) + desk * (1 - sheet)
    mask = None if scene.mask is None else turn(scene.mask)
    return Scene(np.clip(image, 0, 255), mask)


def _draw_on_background(ink: Image.Image, rng: Generator) -> Scene:
    """Return a digit in a busy scene."""
    background = _draw_background(ink.size, rng)
    cover = np.asarray(ink, dtype=np.float32) / 255
    level = 0.0 if background[cover > 0.5].mean() > 128 else 255.0
    return Scene(background + (np.float32(level) - background) * cover, _full_strokes(cover))


def _draw_background(size: tuple[int, int], rng: Generator) -> Levels:
    draw = (negatives.draw_dead_leaves, negatives.draw_clouds, negatives.crop_photograph)
    if rng.random() < 0.35:
        wood = np.full((size[1], size[0]), rng.uniform(20, 230), dtype=np.float32)
        wood += rng.uniform(0, 15) * np.sin(np.arange(size[1]) / rng.uniform(2, 9))[:, None]
        return wood * draw_light(size, rng)
    image = draw[int(rng.integers(3))](rng).convert("L").resize(size)
    return np.asarray(image, dtype=np.float32)


def _full_strokes(cover: Levels) -> Levels:
    """Return the cover with thin strokes at full strength."""
    inked = cover[cover > 0.1]
    full = float(np.quantile(inked, 0.9)) if inked.size else 1.0
    strokes: Levels = np.minimum(cover / full, 1) if full < 1 else cover
    return strokes


def _enlarge(values: Levels, size: tuple[int, int]) -> Levels:
    return np.asarray(Image.fromarray(values).resize(size, Image.Resampling.BILINEAR))
