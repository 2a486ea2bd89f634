"""Small pictures for reports, as data URIs."""

import base64
import io
from typing import Final

from PIL import Image, ImageOps

SIDE: Final = 96  # px at most
_MAX_PIXELS: Final = 50_000_000  # decoded for a thumbnail, as the backend's default


def thumbnail(content: bytes) -> str | None:
    """Shrink the file of a picture to at most 96 px; a PNG as a data URI.

    None where it cannot be decoded: a report does without it then.
    """
    try:
        with Image.open(io.BytesIO(content)) as image:
            if image.width * image.height > _MAX_PIXELS:
                return None
            image.draft("RGB", (SIDE, SIDE))
            upright = ImageOps.exif_transpose(eight_bits(image)).convert("RGBA")
        paper = Image.new("RGBA", upright.size, "white")
        paper.alpha_composite(upright)
        paper.thumbnail((SIDE, SIDE))
        file = io.BytesIO()
        paper.convert("RGB").save(file, "PNG")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


def eight_bits(image: Image.Image) -> Image.Image:
    """Bring 16-bit grey down to 8: Pillow itself would cut off what is above 255."""
    if image.mode.startswith("I"):
        return image.convert("I").point(lambda value: value * (1 / 256)).convert("L")
    return image
