"""How a digit reaches a picture: rough renderings of scanners, pens, paper and light.

A channel takes a glyph (mode L, 128x128, white ink on black) and returns a picture (mode L) as
somebody might send it. The preprocessing of the model then finds the digit in it.
"""

import math

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image, ImageChops, ImageFilter

SIDE = 128  # of a glyph, in pixels
SMOOTH = (Image.Resampling.BILINEAR, Image.Resampling.BICUBIC, Image.Resampling.LANCZOS)


def glyph_of(pixels: NDArray[np.uint8], scale: int) -> Image.Image:
    """Enlarge a small field (H, W), white ink on black, to the middle of a glyph."""
    height, width = pixels.shape
    large = Image.fromarray(pixels).resize(
        (width * scale, height * scale), Image.Resampling.BICUBIC
    )
    glyph = Image.new("L", (SIDE, SIDE))
    glyph.paste(large, ((SIDE - large.width) // 2, (SIDE - large.height) // 2))
    return glyph


def lean(glyph: Image.Image, rng: Generator) -> Image.Image:
    """Slant, turn and stretch a glyph about its middle."""
    turn, slant = rng.normal(0, 0.1), rng.normal(0.05, 0.18)
    wide, tall = 1 / rng.uniform(0.75, 1.15), 1 / rng.uniform(0.85, 1.1)
    cos, sin = math.cos(turn), math.sin(turn)
    a, b = wide * cos, wide * (sin + slant * cos)
    d, e = -tall * sin, tall * (cos - slant * sin)
    middle = SIDE / 2
    coefficients = (a, b, middle * (1 - a - b), d, e, middle * (1 - d - e))
    return glyph.transform(
        (SIDE, SIDE), Image.Transform.AFFINE, coefficients, Image.Resampling.BILINEAR
    )


def repen(glyph: Image.Image, rng: Generator) -> Image.Image:
    """Write a glyph with a thicker or thinner pen."""
    blur = rng.uniform(1.0, 4.0)
    level = rng.uniform(0.2, 0.62)
    blurred = np.asarray(glyph.filter(ImageFilter.GaussianBlur(blur)), dtype=np.float32)
    inked = np.clip((blurred / 255 - level) * 4 * blur + 0.5, 0, 1)
    before = float((blurred > 96).sum())
    if not 0.35 * before < inked.sum() < 1.7 * before:  # strokes would vanish or holes close
        return glyph
    return Image.fromarray((inked * 255).astype(np.uint8))


def coarse_scan(glyph: Image.Image, rng: Generator) -> Image.Image:
    """A binary scan of about 16x16, stretched to fill it, enlarged smoothly on white paper."""
    tight = _tight(glyph)
    side = 16 if rng.random() < 0.7 else int(rng.integers(11, 25))
    ratio = min(tight.size) / max(tight.size)
    stretch = 1.0 if rng.random() < 0.7 else rng.uniform(0.3, 1.0)
    short = max(2, round(side * ratio ** (1 - stretch)))
    size = (short, side) if tight.width < tight.height else (side, short)
    grey = np.asarray(tight.resize(size, Image.Resampling.BOX))
    # Scanners hold thin strokes together: at least this share of the cells is inked.
    level = min(rng.uniform(90, 150), float(np.quantile(grey, 1 - rng.uniform(0.15, 0.32))))
    bits = Image.fromarray(np.where(grey > level, 0, 255).astype(np.uint8))
    zoom = rng.uniform(2, 6)
    filters = (*SMOOTH, Image.Resampling.NEAREST)
    resampling = filters[int(rng.choice(4, p=(0.3, 0.3, 0.3, 0.1)))]
    margin = int(rng.integers(0, 5)) if rng.random() < 0.5 else 0
    framed = Image.new("L", (size[0] + 2 * margin, size[1] + 2 * margin), 255)
    framed.paste(bits, (margin, margin))
    enlarged = framed.resize((round(framed.width * zoom), round(framed.height * zoom)), resampling)
    paper = Image.new("L", (enlarged.width + 24, enlarged.height + 24), 255)
    paper.paste(enlarged, (12, 12))
    return paper


def pen_scan(glyph: Image.Image, rng: Generator) -> Image.Image:
    """A pen on paper of any brightness, scanned or photographed, or a drawing on a screen."""
    kind = rng.random()
    tight = _tight(glyph)
    scale = rng.uniform(0.2, 1.0)
    small = tight.resize(
        (max(4, round(tight.width * scale)), max(4, round(tight.height * scale))),
        Image.Resampling.BILINEAR,
    )
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
    light = (
        np.linspace(0, slope[0], width)[np.newaxis]
        + np.linspace(0, slope[1], height)[:, np.newaxis]
    )
    cover = np.asarray(alpha, dtype=np.float32) / 255
    values = (paper + light) * (1 - cover) + ink * cover
    values += rng.normal(0, rng.uniform(0, 10), values.shape)
    picture = Image.fromarray(np.clip(values, 0, 255).astype(np.uint8))
    return ImageChops.invert(picture) if rng.random() < 0.15 else picture


def cropped(glyph: Image.Image, rng: Generator) -> Image.Image:
    """A digit that runs off the picture a little, or touches its border."""
    tight = _tight(glyph)
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


def _tight(glyph: Image.Image) -> Image.Image:
    bounds = glyph.point(lambda value: 255 * (value > 90)).getbbox()
    return glyph if bounds is None else glyph.crop(bounds)
