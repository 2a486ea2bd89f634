"""Whether an image file that cannot be decoded ends early, as after an interrupted download."""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Final, Literal

from PIL import Image

from backend.inference.images import failures, media_boxes, png

MAX_JPEG_SEGMENTS: Final = 20_000  # a 100-megapixel photograph with thumbnails has some hundreds

_SOS, _EOI = 0xDA, 0xD9  # JPEG markers: start of scan, end of image
_SOF: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # start of frame
_PROGRESSIVE_SOF: Final = frozenset({0xC2, 0xC6, 0xCA, 0xCE})
# Inside a scan, 0xFF is followed by zero (a plain byte), a restart marker, or another 0xFF (fill).
_JPEG_MARKER: Final = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
# Bytes of the values of a TIFF by their type: BYTE, ASCII, SHORT, LONG, RATIONAL, ...
_TIFF_TYPE_SIZES: Final = {
    **{1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4},
    **{16: 8, 17: 8, 18: 8},
}
_MAX_TIFF_ENTRIES: Final = 65_535  # as many as a TIFF that is no BigTIFF can have
_TIFF_OFFSETS: Final = ((273, 279), (324, 325))  # of strips and of tiles: offsets, byte counts


def ends_early(data: bytes, form: str, image: Image.Image | None = None) -> bool:
    """Whether the file ends before the image of format `form` does. `image` is the opened file."""
    if form == "TIFF":
        return _tiff_ends_early(data, image)
    is_complete = _IS_COMPLETE.get(form)
    return is_complete is not None and not is_complete(data)


def scan_jpeg(data: bytes) -> tuple[int, bool]:
    """Return the number of scans of a JPEG, at least 1, and whether it has an end marker.

    Bytes inside other segments (a thumbnail) or after the image (the video of a motion photo) do
    not count. Raise BrokenImageError if the file has too many segments.
    """
    scans = 0
    for kind, _ in _jpeg_segments(data):
        if kind == _EOI:
            return max(scans, 1), True
        scans += kind == _SOS
    return max(scans, 1), False


def count_jpeg_scans(data: bytes) -> int:
    """Count the scans of a JPEG; most have one, which needs no search for markers."""
    return 1 if data.count(bytes((0xFF, _SOS))) <= 1 else scan_jpeg(data)[0]


def has_partial_scans(data: bytes) -> bool:
    """Whether a JPEG's decoder keeps the coefficients of the whole image until its last scan.

    libjpeg does so if the image is progressive, or if its first scan lacks a component.
    """
    components = 0
    for kind, start in _jpeg_segments(data):
        if kind in _SOF:
            components = data[start + 7] if start + 7 < len(data) else 0
            if kind in _PROGRESSIVE_SOF:
                return True
        elif kind == _SOS:
            return start + 2 < len(data) and data[start + 2] < components
    return False


def _jpeg_segments(data: bytes) -> Iterator[tuple[int, int]]:
    """Yield the marker of each segment and where its length stands."""
    position = 2
    for _ in range(MAX_JPEG_SEGMENTS):
        marker = _JPEG_MARKER.search(data, position)
        if marker is None:
            return
        start = marker.end()
        yield data[start - 1], start
        position = start + max(int.from_bytes(data[start : start + 2], "big"), 2)
    raise failures.segments_error()


def count_jpeg_2000_halvings(data: bytes) -> int:
    """Return how many times the decoder of a JPEG 2000 file can halve its size."""
    start = data.find(b"\xff\x4f\xff\x51")  # start of the codestream
    style = data.find(b"\xff\x52", start, start + 1000)  # coding style: levels of the wavelets
    return min(data[style + 9], 32) if start >= 0 and 0 <= style < len(data) - 9 else 0


def _png_is_complete(data: bytes) -> bool:
    try:
        return png.is_complete(data)
    except png.TooManyChunksError:
        return True


def _webp_is_complete(data: bytes) -> bool:
    return int.from_bytes(data[4:8], "little") + 8 <= len(data)


def _bmp_is_complete(data: bytes) -> bool:
    return int.from_bytes(data[2:6], "little") <= len(data)


def _gif_is_complete(data: bytes) -> bool:
    return data.rstrip(b"\0").endswith(b";")


def _jpeg_2000_is_complete(data: bytes) -> bool:
    is_boxed = data.startswith(b"\0\0\0\x0c")
    return media_boxes.are_complete(data) if is_boxed else data[-2:] == b"\xff\xd9"


def _icon_is_complete(data: bytes) -> bool:
    entries = [data[start : start + 16] for start in range(6, 6 + 16 * min(data[4], 64), 16)]
    numbers = [(entry[8:12], entry[12:16]) for entry in entries]
    return all(
        int.from_bytes(size, "little") + int.from_bytes(offset, "little") <= len(data)
        for size, offset in numbers
    )


_IS_COMPLETE: Final[Mapping[str, Callable[[bytes], bool]]] = {
    "JPEG": lambda data: scan_jpeg(data)[1],
    "PNG": _png_is_complete,
    "WEBP": _webp_is_complete,
    "BMP": _bmp_is_complete,
    "GIF": _gif_is_complete,
    "HEIF": media_boxes.are_complete,
    "AVIF": media_boxes.are_complete,
    "JPEG2000": _jpeg_2000_is_complete,
    "ICO": lambda data: len(data) >= 22 and _icon_is_complete(data),
    "PPM": lambda _: False,  # not compressed: only missing pixels prevent decoding
}


def _tiff_ends_early(data: bytes, image: Image.Image | None) -> bool:
    if _tiff_directory_ends_early(data):
        return True
    tags = getattr(image, "tag_v2", {})
    return any(
        int(offset) + int(size) > len(data)
        for offsets, sizes in _TIFF_OFFSETS
        for offset, size in zip(tags.get(offsets, ()), tags.get(sizes, ()), strict=False)
    )


def _tiff_directory_ends_early(data: bytes) -> bool:
    """Whether the first directory of a TIFF, or a value that it refers to, is not in the file."""
    order: Literal["little", "big"] = "little" if data.startswith(b"II") else "big"
    is_big = b"+" in data[2:4]  # BigTIFF: offsets and counts of 8 bytes
    width, counted, entry_size = (8, 8, 20) if is_big else (4, 2, 12)

    def number(start: int, size: int) -> int:
        return int.from_bytes(data[start : start + size], order)

    start = number(width, width)
    first = start + counted
    count = number(start, counted)
    if first + entry_size * count > len(data):
        return True
    for index in range(min(count, _MAX_TIFF_ENTRIES)):
        entry = first + entry_size * index
        size = _TIFF_TYPE_SIZES.get(number(entry + 2, 2), 0) * number(entry + 4, width)
        if size > width and number(entry + 4 + width, width) + size > len(data):
            return True
    return False
