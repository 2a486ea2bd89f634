"""Memory that decoding an image takes, by format. docs/api.md repeats the table."""

import math
from typing import Final

from PIL import Image

# Bytes per decoded pixel at the peak of decoding and preprocessing, measured. The second number is
# for images with transparency.
_BYTES_PER_PIXEL: Final = {
    "AVIF": (11, 18),
    "HEIF": (6.2, 13.5),
    "WEBP": (17, 22),
    "JPEG2000": (20, 26),
}
_OTHER: Final = (7, 14)
_TURNED: Final = 9  # with an EXIF block, which may say that a copy is turned upright
_WIDE: Final = 18  # 16 bits and more per channel, or LAB
_CMYK: Final = 13
# In the info of an image that is decoded at a reduced scale: its full size, and a divisor that its
# plugin applies only when it decodes.
FULL_SIZE: Final = "full size"
DIVISOR: Final = "divisor"
# In the info of any image: bytes that decoding takes beside the pixels.
EXTRA_BYTES: Final = "extra bytes"
# In the info of a TIFF that another process reads: pixels of a tile.
TILE_PIXELS: Final = "tile pixels"
_MIN_ROW_PIXELS: Final = 64  # cost of a row, however short
_TILE_SIDES: Final = (322, 323)  # tags of a TIFF


def count_pixels(image: Image.Image) -> int:
    """Return the pixels to decode; a short row counts as _MIN_ROW_PIXELS.

    At least one whole tile of a TIFF is decoded, which can be larger than the image.
    """
    divisor: int = image.info.get(DIVISOR, 1)
    width, height = -(-image.width // divisor), -(-image.height // divisor)
    tile: int = image.info.get(TILE_PIXELS, 0)
    return max(max(width, _MIN_ROW_PIXELS) * height, tile)


def count_tile_pixels(image: Image.Image) -> int:
    """Return the pixels of a tile of a TIFF; 0 for other images."""
    sides = [getattr(image, "tag_v2", {}).get(tag, 0) for tag in _TILE_SIDES]
    return math.prod(side if isinstance(side, int) else 0 for side in sides)


def estimate_memory(image: Image.Image) -> int:
    """Return the bytes that decoding and preprocessing an opened image takes at most."""
    plain, transparent = _BYTES_PER_PIXEL.get(image.format or "", _OTHER)
    bytes_per_pixel = transparent if image.has_transparency_data else plain
    if image.mode in ("F", "LAB") or image.mode.startswith("I"):
        bytes_per_pixel = max(bytes_per_pixel, _WIDE)
    elif image.mode == "CMYK":
        bytes_per_pixel = max(bytes_per_pixel, _CMYK)
    if "exif" in image.info and image.format != "HEIF":  # its decoder turns the image
        bytes_per_pixel = max(bytes_per_pixel, _TURNED)
    return int(bytes_per_pixel * count_pixels(image)) + int(image.info.get(EXTRA_BYTES, 0))
