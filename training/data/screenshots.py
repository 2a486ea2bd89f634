"""Synthetic screenshots: windows with a title bar, a side bar, paragraphs, buttons and a table."""

from numpy.random import Generator
from PIL import Image, ImageDraw, ImageFont

from training.data.negatives import random_color, random_font, random_word

MARGIN = 12
ROW = 26  # height of a line of controls, in pixels


def draw_screenshot(rng: Generator) -> Image.Image:
    """Return a random screenshot without photographs: mode RGB, 360 to 1600 pixels per side."""
    width, height = int(rng.integers(360, 1600)), int(rng.integers(360, 1200))
    is_dark = rng.random() < 0.4
    paper, ink = ((30, 32, 36), (222, 222, 226)) if is_dark else ((255, 255, 255), (34, 36, 40))
    accent = random_color(rng)
    page = Image.new("RGB", (width, height), paper)
    pen = ImageDraw.Draw(page)
    font = random_font(rng, 12, 20)
    pen.rectangle((0, 0, width, 2 * ROW), fill=accent if rng.random() < 0.5 else _gray(paper, 16))
    pen.text((MARGIN, ROW // 2), _sentence(rng, 4), ink, font)
    left = MARGIN
    if rng.random() < 0.6:
        left = int(rng.integers(110, 200))
        pen.rectangle((0, 2 * ROW, left - MARGIN, height), fill=_gray(paper, 10))
        for top in range(3 * ROW, height - ROW, ROW):
            pen.text((MARGIN, top), random_word(rng), ink, font)
    top = 3 * ROW
    while top < height - 3 * ROW:
        draw = (_draw_paragraph, _draw_controls, _draw_table)[int(rng.integers(3))]
        top = draw(pen, (left, top, width - MARGIN), font, ink, accent, rng) + ROW
    return page


Span = tuple[int, int, int]  # left, top, right
Color = tuple[int, int, int]


def _draw_paragraph(
    pen: ImageDraw.ImageDraw,
    span: Span,
    font: ImageFont.FreeTypeFont,
    ink: Color,
    accent: Color,
    rng: Generator,
) -> int:
    """Draw lines of text; return the y coordinate below them, as the functions below do."""
    left, top, right = span
    pen.text((left, top), _sentence(rng, 3), accent, font)
    for _ in range(int(rng.integers(2, 9))):
        top += ROW - 4
        pen.text((left, top), _sentence(rng, max(1, (right - left) // 80)), ink, font)
    return top


def _draw_controls(
    pen: ImageDraw.ImageDraw,
    span: Span,
    font: ImageFont.FreeTypeFont,
    ink: Color,
    accent: Color,
    rng: Generator,
) -> int:
    left, top, right = span
    for x in range(left, max(left + 1, right - 120), 140):
        fill = accent if rng.random() < 0.3 else None
        pen.rounded_rectangle((x, top, x + 120, top + ROW), 5, fill=fill, outline=ink)
        pen.text((x + 8, top + 4), random_word(rng), ink, font)
    return top + ROW


def _draw_table(
    pen: ImageDraw.ImageDraw,
    span: Span,
    font: ImageFont.FreeTypeFont,
    ink: Color,
    accent: Color,
    rng: Generator,
) -> int:
    left, top, right = span
    step = int(rng.integers(80, 180))
    for _ in range(int(rng.integers(2, 9))):
        for x in range(left, max(left + 1, right - step), step):
            pen.rectangle((x, top, x + step, top + ROW), outline=ink)
            pen.text((x + 4, top + 4), random_word(rng), accent if x == left else ink, font)
        top += ROW
    return top


def _sentence(rng: Generator, words: int) -> str:
    return " ".join(random_word(rng) for _ in range(words))


def _gray(paper: Color, step: int) -> Color:
    """Return a slightly different color than `paper`, for areas."""
    sign = 1 if paper[0] < 128 else -1
    red, green, blue = (value + sign * step for value in paper)
    return red, green, blue
