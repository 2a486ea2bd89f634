"""Simulated capture conditions for digit images: scanners, pens, paper and light.

The `render_*` functions take a glyph (mode L, 128x128, white ink on black) and return an image
(mode L) that resembles a user's upload. The preprocessing of the model then extracts the digit.
"""

import math

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image, ImageChops, ImageFilter

GLYPH_SIZE = 128  # width and height of a glyph in pixels
SMOOTH_FILTERS = (Image.Resampling.BILINEAR, Image.Resampling.BICUBIC, Image.Resampling.LANCZOS)


def to_glyph(pixels: NDArray[np.uint8], scale: int) -> Image.Image:
    """Return a glyph with `pixels` (H, W), white ink on black, enlarged and centered."""
    height, width = pixels.shape
    size = (width * scale, height * scale)
    large = Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC)
    glyph = Image.new("L", (GLYPH_SIZE, GLYPH_SIZE))
    glyph.paste(large, ((GLYPH_SIZE - large.width) // 2, (GLYPH_SIZE - large.height) // 2))
    return glyph


def distort(glyph: Image.Image, rng: Generator) -> Image.Image:
    """Slant, rotate and scale a glyph about its center."""
    angle, slant = rng.normal(0, 0.1), rng.normal(0.05, 0.18)
    scale_x, scale_y = 1 / rng.uniform(0.75, 1.15), 1 / rng.uniform(0.85, 1.1)
    cos, sin = math.cos(angle), math.sin(angle)
    a, b = scale_x * cos, scale_x * (sin + slant * cos)
    d, e = -scale_y * sin, scale_y * (cos - slant * sin)
    center = GLYPH_SIZE / 2
    coefficients = (a, b, center * (1 - a - b), d, e, center * (1 - d - e))
    size, affine = (GLYPH_SIZE, GLYPH_SIZE), Image.Transform.AFFINE
    return glyph.transform(size, affine, coefficients, Image.Resampling.BILINEAR)


def change_stroke_width(glyph: Image.Image, rng: Generator) -> Image.Image:
    """Thicken or thin the strokes of a glyph."""
    blur = rng.uniform(1.0, 4.0)
    threshold = rng.uniform(0.2, 0.62)
    blurred = np.asarray(glyph.filter(ImageFilter.GaussianBlur(blur)), dtype=np.float32)
    inked = np.clip((blurred / 255 - threshold) * 4 * blur + 0.5, 0, 1)
    ink_before = float((blurred > 96).sum())
    if not 0.35 * ink_before < inked.sum() < 1.7 * ink_before:  # strokes vanish or holes close
        return glyph
    return Image.fromarray((inked * 255).astype(np.uint8))


def render_coarse_scan(glyph: Image.Image, rng: Generator) -> Image.Image:
    """Return a binary scan of about 16x16 pixels, enlarged on white paper."""
    tight = crop_to_ink(glyph)
    size = 16 if rng.random() < 0.7 else int(rng.integers(11, 25))
    ratio = min(tight.size) / max(tight.size)
    stretch = 1.0 if rng.random() < 0.7 else rng.uniform(0.3, 1.0)
    short = max(2, round(size * ratio ** (1 - stretch)))
    scan_size = (short, size) if tight.width < tight.height else (size, short)
    gray = np.asarray(tight.resize(scan_size, Image.Resampling.BOX))
    # Scanners keep thin strokes connected: at least this share of the cells is inked.
    threshold = min(rng.uniform(90, 150), float(np.quantile(gray, 1 - rng.uniform(0.15, 0.32))))
    bits = Image.fromarray(np.where(gray > threshold, 0, 255).astype(np.uint8))
    zoom = rng.uniform(2, 6)
    filters = (*SMOOTH_FILTERS, Image.Resampling.NEAREST)
    resampling = filters[int(rng.choice(4, p=(0.3, 0.3, 0.3, 0.1)))]
    margin = int(rng.integers(0, 5)) if rng.random() < 0.5 else 0
    framed = Image.new("L", (scan_size[0] + 2 * margin, scan_size[1] + 2 * margin), 255)
    framed.paste(bits, (margin, margin))
    enlarged = framed.resize((round(framed.width * zoom), round(framed.height * zoom)), resampling)
    paper = Image.new("L", (enlarged.width + 24, enlarged.height + 24), 255)
    paper.paste(enlarged, (12, 12))
    return paper


def render_pen_on_paper(glyph: Image.Image, rng: Generator) -> Image.Image:
    """Return a pen stroke on paper, scanned or photographed, or a drawing on a screen."""
    kind = rng.random()
    tight = crop_to_ink(glyph)
    scale = rng.uniform(0.2, 1.0)
    size = (max(4, round(tight.width * scale)), max(4, round(tight.height * scale)))
    small = tight.resize(size, Image.Resampling.BILINEAR)
    left, top, right, bottom = (int(side) for side in rng.integers(1, 24, 4))
    width, height = small.width + left + right, small.height + top + bottom
    alpha = Image.new("L", (width, height))
    alpha.paste(small, (left, top))
    if rng.random() < 0.4:
        alpha = alpha.filter(ImageFilter.GaussianBlur(rng.uniform(0.3, 1.5)))
    if kind < 0.45:
        return ImageChops.invert(alpha) if kind < 0.35 else alpha
    paper, ink = rng.uniform(130, 255), rng.uniform(0, 90)
    slope = rng.normal(0, 25, 2)
    light = np.linspace(0, slope[0], width)[np.newaxis]
    light = light + np.linspace(0, slope[1], height)[:, np.newaxis]
    cover = np.asarray(alpha, dtype=np.float32) / 255
    values = (paper + light) * (1 - cover) + ink * cover
    values += rng.normal(0, rng.uniform(0, 10), values.shape)
    image = Image.fromarray(np.clip(values, 0, 255).astype(np.uint8))
    return ImageChops.invert(image) if rng.random() < 0.15 else image


def render_clipped(glyph: Image.Image, rng: Generator) -> Image.Image:
    """Return a digit that touches the border of the image or extends slightly past it."""
    tight = crop_to_ink(glyph)
    cuts = np.maximum(rng.normal(0.0, 0.035, 4), 0)
    box = (
        round(cuts[0] * tight.width),
        round(cuts[1] * tight.height),
        max(2, round((1 - cuts[2]) * tight.width)),
        max(2, round((1 - cuts[3]) * tight.height)),
    )
    padded = Image.new("L", (tight.width + 12, tight.height + 12))
    padded.paste(tight.crop(box), (6, 6))
    return ImageChops.invert(padded)


def crop_to_ink(glyph: Image.Image) -> Image.Image:
    bounds = glyph.point(lambda value: 255 * (value > 90)).getbbox()
    return glyph if bounds is None else glyph.crop(bounds)
