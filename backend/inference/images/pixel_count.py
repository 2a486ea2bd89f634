"""The number of pixels that an image file declares in its header, for quotas."""

import math
import re
from typing import Final, Literal

from backend.inference.images import file_types
from backend.inference.images.decoding_cost import find_size

_MAX_FACTOR: Final = 4  # a JPEG may have so many times `max_pixels`
_FIRST_BYTES: Final = 65_536  # in which JPEG 2000, PPM and ICO files state their sizes
_MAX_TAGS: Final = 500  # of a TIFF page that are read
_ICON_PIXELS: Final = 256 * 256
_PNG_SIZE: Final = re.compile(rb"\x89PNG\r\n\x1a\n.{4}IHDR(.{4})(.{4})", re.DOTALL)
_JPEG_2000_SIZE: Final = re.compile(rb"\xff\x4f\xff\x51.{4}(.{4})(.{4})(.{4})(.{4})", re.DOTALL)
_PPM_SPACE: Final = rb"(?:\s|#[^\n]*\n)+"
_PPM_SIZE: Final = re.compile(
    rb"P[1-6]" + _PPM_SPACE + rb"(\d{1,9})" + _PPM_SPACE + rb"(\d{1,9})\s"
)
_TIFF_WIDTH: Final = 256
_TIFF_HEIGHT: Final = 257


def count_pixels(data: bytes, max_pixels: int) -> int:
    """Return the pixels of an image file by its header, at most 4 * `max_pixels`.

    A header without a size counts as `max_pixels`, and a file that is no image as 0.
    """
    form = file_types.detect(data)
    if form is None:
        return 0
    found = find_size(data, form)
    pixels = math.prod(found[0]) if found else _count_in_other_formats(data, form)
    return max_pixels if pixels is None else min(pixels, _MAX_FACTOR * max_pixels)


def _count_in_other_formats(data: bytes, form: str) -> int | None:
    match form:
        case "TIFF":
            return _count_in_tiff(data)
        case "JPEG2000" if found := _JPEG_2000_SIZE.search(data, 0, _FIRST_BYTES):
            right, bottom, left, top = (int.from_bytes(number, "big") for number in found.groups())
            return max(right - left, 0) * max(bottom - top, 0)
        case "PPM" if found := _PPM_SIZE.match(data[:_FIRST_BYTES]):
            return int(found[1]) * int(found[2])
        case "ICO":
            found = _PNG_SIZE.search(data, 0, _FIRST_BYTES)
            sides = (int.from_bytes(number, "big") for number in found.groups()) if found else (0,)
            return max(math.prod(sides), _ICON_PIXELS)
    return None


def _count_in_tiff(data: bytes) -> int | None:
    """Return the pixels of the first page; None for a BigTIFF or a damaged file."""
    order: Literal["little", "big"] = "little" if data.startswith(b"II") else "big"

    def number(start: int, size: int) -> int:
        return int.from_bytes(data[start : start + size], order)

    if number(2, 2) != 42:
        return None
    page = number(4, 4)
    sides: dict[int, int] = {}
    for entry in range(page + 2, page + 2 + 12 * min(number(page, 2), _MAX_TAGS), 12):
        is_short = number(entry + 2, 2) == 3
        sides.setdefault(number(entry, 2), number(entry + 8, 2 if is_short else 4))
    if _TIFF_WIDTH not in sides or _TIFF_HEIGHT not in sides:
        return None
    return sides[_TIFF_WIDTH] * sides[_TIFF_HEIGHT]
