"""What decoding an image file will cost, from its header; cheap enough for the event loop.

The estimate decides where and in which order images are decoded. It may be wrong: the limits on
pixels and memory are checked where the file is opened.
"""

import math
import re
from dataclasses import dataclass
from typing import Final

from backend.inference.images import file_types

# Seconds per pixel of the full size, measured on one core of an AMD EPYC. JPEG: of one with
# several scans; of others, the pixels of the reduced scale cost more than those that are skipped.
_SECONDS_PER_PIXEL: Final = {
    **{"JPEG": 4e-9, "PNG": 20e-9, "WEBP": 20e-9, "GIF": 10e-9, "BMP": 2e-9, "AVIF": 40e-9},
    **{"HEIF": 40e-9},
}
_OTHER: Final = 20e-9
_SKIPPED: Final = 0.7e-9  # per pixel of the full size of a JPEG with one pass
_DECODED: Final = 3e-9  # per pixel of its reduced scale
_PREPROCESSING: Final = 15e-9  # seconds per decoded pixel, of a digit model
_PROGRESSIVE: Final = 3  # times the cost of another JPEG, with the ten scans of most files
_SCANS_PER_PASS: Final = 3  # of a JPEG, even if they contain nothing
_SECONDS_PER_BYTE: Final = 5e-9
_SECONDS_PER_JPEG_BYTE: Final = 8e-9
_SECONDS_PER_RUN_BYTE: Final = 0.4e-6  # of a compressed BMP, which Python decodes
_COMPRESSED_BMP: Final = (1, 2)  # RLE8, RLE4
# Of memory; images/memory_cost.py is exact, but needs the opened image.
_BYTES_PER_PIXEL: Final = {"JPEG": 9, "PNG": 9, "WEBP": 22, "GIF": 14, "BMP": 7, "HEIF": 14}
_MAX_BYTES_PER_PIXEL: Final = 26
_WIDE_PNG: Final = 18  # 16 bits per channel or transparency
_COEFFICIENTS: Final = 4  # of a JPEG with several scans
_MIN_ROW_PIXELS: Final = 64  # cost of a row, however short
_MAX_SEGMENTS: Final = 200  # of a JPEG before its first scan
_MAX_REDUCTION: Final = 8  # of the sides of a JPEG
_SOF: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # JPEG markers: start of frame
_PROGRESSIVE_SOF: Final = frozenset({0xC2, 0xC6, 0xCA, 0xCE})
_SOS: Final = 0xDA  # marker of the start of a scan
_FIRST_BYTES: Final = 65_536  # in which an ISO media file states its sizes
_IMAGE_SIZES: Final = re.compile(rb"ispe\0\0\0\0(.{4})(.{4})", re.DOTALL)
# Sizes in other files may not be those of the decoded image.
_SIZE_IN_HEADER: Final = frozenset({"JPEG", "PNG", "WEBP", "GIF", "BMP"})


@dataclass(frozen=True, slots=True)
class DecodingCost:
    """Estimated cost of decoding and preprocessing one file.

    `seconds` are those of one processor, `memory` is in bytes.

    If not `is_certain`, the header does not bound the cost of the file.
    """

    seconds: float
    memory: int
    is_certain: bool = True


def estimate_cost(data: bytes, max_pixels: int, min_side: int | None = None) -> DecodingCost:
    """Estimate the cost of decoding a file of at most `max_pixels`.

    With `min_side`, a JPEG is decoded at a reduced scale; see `opening.open_image`. A size that the
    header does not state where it is looked for counts as `max_pixels`.
    """
    form = file_types.detect(data)
    if form is None:
        return DecodingCost(0, 0)  # refused without decoding
    found = find_size(data, form)
    size, passes = found or ((max_pixels, 1), 1)
    # Larger images are refused, but their headers alone do not prove that.
    pixels = min(size[1] * max(size[0], _MIN_ROW_PIXELS), 4 * max_pixels)
    decoded = pixels
    if form == "JPEG" and min_side:
        scale = min(_MAX_REDUCTION, max(min(size) // min_side, 1))
        decoded = math.ceil(pixels / 4 ** (scale.bit_length() - 1))
    if form == "JPEG" and passes == 1:
        seconds = _SKIPPED * pixels + _DECODED * decoded
    else:
        seconds = passes * _SECONDS_PER_PIXEL.get(form, _OTHER) * pixels
    seconds += _seconds_per_byte(data, form) * len(data) + _PREPROCESSING * decoded
    memory = _bytes_per_pixel(data, form) * decoded
    if passes > 1:
        memory += _COEFFICIENTS * pixels
    return DecodingCost(seconds, memory, found is not None and form in _SIZE_IN_HEADER)


def image_size(data: bytes) -> tuple[int, int] | None:
    """Return width and height of a file as its header states them, before it is turned upright.

    Return None if they are not where they are looked for.
    """
    form = file_types.detect(data)
    found = None if form is None else find_size(data, form)
    return found and found[0]


def _seconds_per_byte(data: bytes, form: str) -> float:
    if form == "JPEG":
        return _SECONDS_PER_JPEG_BYTE
    is_compressed_bmp = form == "BMP" and _little(data, 30, 4) in _COMPRESSED_BMP
    return _SECONDS_PER_RUN_BYTE if is_compressed_bmp else _SECONDS_PER_BYTE


def _bytes_per_pixel(data: bytes, form: str) -> int:
    if form == "PNG" and (data[24:25] == b"\x10" or data[25:26] in (b"\4", b"\6")):
        return _WIDE_PNG
    return _BYTES_PER_PIXEL.get(form, _MAX_BYTES_PER_PIXEL)


def find_size(data: bytes, form: str) -> tuple[tuple[int, int], float] | None:
    """Return width and height, and the passes of the decoder over them; None if not found."""
    size = None
    match form:
        case "JPEG":
            return _jpeg_size(data)
        case "PNG" if data[12:16] == b"IHDR":
            size = _big(data, 16, 4), _big(data, 20, 4)
        case "GIF":
            size = _little(data, 6, 2), _little(data, 8, 2)
        case "BMP" if _little(data, 14, 4) == 12:
            size = _little(data, 18, 2), _little(data, 20, 2)
        case "BMP":
            height = _little(data, 22, 4)
            size = _little(data, 18, 4), min(height, 2**32 - height)  # negative: top to bottom
        case "WEBP":
            size = _webp_size(data)
        case "AVIF" | "HEIF":
            sizes = _IMAGE_SIZES.findall(data, 0, _FIRST_BYTES)
            sides = [(_big(width, 0, 4), _big(height, 0, 4)) for width, height in sizes]
            size = max(sides, key=math.prod, default=None)
    return None if size is None else (size, 1)


def _jpeg_size(data: bytes) -> tuple[tuple[int, int], float] | None:
    size, components = None, b""
    position = 2
    for _ in range(_MAX_SEGMENTS):
        if data[position : position + 1] != b"\xff":
            break
        kind = data[position + 1] if position + 1 < len(data) else 0
        if kind == 0xFF:  # fill byte
            position += 1
            continue
        if kind in _SOF:
            size = _big(data, position + 7, 2), _big(data, position + 5, 2)
            components = data[position + 9 : position + 10]
            if kind in _PROGRESSIVE_SOF:
                break
        elif kind == _SOS and data[position + 4 : position + 5] >= components:
            return size and (size, 1)
        elif kind == _SOS:
            break
        position += 2 + _big(data, position + 2, 2)
    return size and (size, _count_passes(data))


def _count_passes(data: bytes) -> float:
    """Return the passes of a JPEG of several scans. Bytes that only look like a scan count too."""
    return max(_PROGRESSIVE, data.count(bytes((0xFF, _SOS))) / _SCANS_PER_PASS)


def _webp_size(data: bytes) -> tuple[int, int] | None:
    match data[12:16]:
        case b"VP8X":
            return _little(data, 24, 3) + 1, _little(data, 27, 3) + 1
        case b"VP8L":
            bits = _little(data, 21, 4)
            return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
        case b"VP8 ":
            return _little(data, 26, 2) & 0x3FFF, _little(data, 28, 2) & 0x3FFF
    return None


def _big(data: bytes, start: int, size: int) -> int:
    return int.from_bytes(data[start : start + size], "big")


def _little(data: bytes, start: int, size: int) -> int:
    return int.from_bytes(data[start : start + size], "little")
