"""Images for tests."""

import io
from typing import Any

import numpy as np
from PIL import Image, ImageDraw


def seven(size: int = 64, *, ink: str = "black", paper: str = "white") -> Image.Image:
    """Return an image of a seven drawn with one line."""
    image = Image.new("RGB", (size, size), paper)
    points = [(0.28, 0.25), (0.72, 0.25), (0.45, 0.8)]
    ImageDraw.Draw(image).line(
        [(x * size, y * size) for x, y in points], fill=ink, width=max(2, size // 12)
    )
    return image


def noise(width: int = 32, height: int = 32, seed: int = 0) -> Image.Image:
    """Return smooth color noise, which lossy formats preserve well."""
    pixels = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    return Image.fromarray(pixels).resize((width, height), Image.Resampling.BICUBIC)


def encoded(image: Image.Image, form: str = "PNG", **options: Any) -> bytes:
    """Return the image as a file in the format `form`."""
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()
