"""Generated images on which the answers of two networks are compared.

They are the same for every model of a kind, on every machine. Photo models get scenes of textured
and shaded shapes; digit models get printed digits of several sizes, angles and colors.
"""

from collections.abc import Iterator
from typing import Final

import numpy as np
from numpy.random import Generator
from PIL import Image, ImageDraw, ImageFont

from backend.inference.preprocessing.digit_crop import DigitPreprocess
from backend.inference.preprocessing.model_input import Preprocess
from backend.inference.types import Floats

COUNT: Final = 200
_SCENE: Final = (256, 256)  # width and height
_SHAPES: Final = (3, 15)  # per scene


def draw_probes(spec: Preprocess, seed: int = 0) -> Iterator[Image.Image]:
    """Yield COUNT RGB images that suit the model's kind of preprocessing."""
    rng = np.random.default_rng(seed)
    for index in range(COUNT):
        if isinstance(spec, DigitPreprocess):
            yield _draw_digit(index % 10, rng)
        else:
            yield _draw_scene(rng)


def _draw_digit(digit: int, rng: Generator) -> Image.Image:
    """Return a printed digit, dark on light or light on dark."""
    side = int(rng.integers(80, 240))
    paper, ink = int(rng.integers(190, 256)), int(rng.integers(0, 70))
    if rng.random() < 0.5:
        paper, ink = ink, paper
    image = Image.new("L", (side, side), paper)
    font = ImageFont.load_default(side * float(rng.uniform(0.4, 0.7)))
    pen = ImageDraw.Draw(image)
    stroke = side * float(rng.uniform(0, 0.02))
    pen.text((side / 2, side / 2), str(digit), ink, font, anchor="mm", stroke_width=stroke)
    angle, shear = float(rng.uniform(-12, 12)), float(rng.uniform(-0.2, 0.2))
    image = image.rotate(angle, Image.Resampling.BICUBIC, fillcolor=paper)
    matrix = (1, shear, -shear * side / 2, 0, 1, 0)
    image = image.transform(
        image.size, Image.Transform.AFFINE, matrix, Image.Resampling.BICUBIC, fillcolor=paper
    )
    return image.convert("RGB")


def _draw_scene(rng: Generator) -> Image.Image:
    """Return textured and shaded shapes, which cover each other, in front of a texture."""
    scene = _draw_texture(rng)
    width, height = _SCENE
    for _ in range(int(rng.integers(*_SHAPES))):
        mask = Image.new("L", _SCENE)
        pen = ImageDraw.Draw(mask)
        x, y = rng.uniform(0, width), rng.uniform(0, height)
        across, down = rng.uniform(0.03, 0.35, 2) * width
        if rng.random() < 0.5:
            pen.ellipse((x - across, y - down, x + across, y + down), 255)
        else:
            angles = np.sort(rng.uniform(0, 2 * np.pi, int(rng.integers(3, 8))))
            corners = np.stack([x + across * np.cos(angles), y + down * np.sin(angles)], axis=1)
            pen.polygon([(float(a), float(b)) for a, b in corners], 255)
        scene.paste(_draw_texture(rng), mask=mask)
    return scene


def _draw_texture(rng: Generator) -> Image.Image:
    """Return a random color with shades at several scales, as natural surfaces have."""
    width, height = _SCENE
    shades = np.zeros((height, width, 1), dtype=np.float32)
    for side in (2, int(rng.integers(4, 128))):
        shades += float(rng.exponential(25)) * _smooth_noise(side, rng)
    color = rng.uniform(0, 255, 3).astype(np.float32)
    tint = rng.uniform(0.5, 1.5, 3).astype(np.float32)
    return Image.fromarray((color + shades * tint).clip(0, 255).astype(np.uint8))


def _smooth_noise(side: int, rng: Generator) -> Floats:
    """Return noise of `side` cells in each direction, shape (height, width, 1), about [-1, 1]."""
    cells = Image.fromarray(rng.uniform(-1, 1, (side, side)).astype(np.float32))
    return np.asarray(cells.resize(_SCENE, Image.Resampling.BICUBIC))[..., np.newaxis]
