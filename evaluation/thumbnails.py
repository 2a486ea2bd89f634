"""Thumbnails of images, for reports and for the frontend."""

import base64
import io
from typing import Final

from PIL import Image, ImageOps

MAX_SIDE: Final = 96  # px
MAX_PIXELS: Final = 50_000_000  # larger images are not decoded; the backend's default limit

Color = tuple[int, int, int]
WHITE: Final[Color] = (255, 255, 255)


def create_thumbnail(
    content: bytes, max_side: int = MAX_SIDE, background: Color = WHITE
) -> bytes | None:
    """Return an upright RGB PNG of at most `max_side` x `max_side` px.

    Transparent pixels show the `background`. Return None if the image cannot be decoded.
    """
    try:
        with Image.open(io.BytesIO(content)) as image:
            if image.width * image.height > MAX_PIXELS:
                return None
            image.draft("RGB", (max_side, max_side))
            small = convert_to_8_bit(image)
            mode = "RGBA" if small.has_transparency_data else "RGB"
            if small.mode != mode:
                small = small.convert(mode)
            small.thumbnail((max_side, max_side))  # before turning it, which copies the image
            small = ImageOps.exif_transpose(small)
        if small.mode == "RGBA":
            small = Image.alpha_composite(Image.new("RGBA", small.size, background), small)
        file = io.BytesIO()
        small.convert("RGB").save(file, "PNG")
    except Exception:  # Pillow raises a dozen types; a thumbnail is optional
        return None
    return file.getvalue()


def create_thumbnail_uri(content: bytes) -> str | None:
    """Return a thumbnail on white as a data URI, or None if the image cannot be decoded."""
    png = create_thumbnail(content)
    if png is None:
        return None
    return "data:image/png;base64," + base64.b64encode(png).decode()


def convert_to_8_bit(image: Image.Image) -> Image.Image:
    """Scale 16-bit gray to 8 bits; Pillow would clip values above 255."""
    if image.mode.startswith("I"):
        return image.convert("I").point(lambda value: value * (1 / 256)).convert("L")
    return image
