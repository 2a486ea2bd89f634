"""The boxes of ISO media files (AVIF, HEIC, JPEG 2000), as far as Pillow does not read them."""

from collections.abc import Iterator
from typing import Final

_MAX_BOXES: Final = 10_000
_Box = tuple[bytes, int, int]  # type, start and end of the content


def read_nclx(data: bytes) -> tuple[int, int] | None:
    """Return the codes of color primaries and transfer function of the primary image, or None.

    Only the primary image counts: a gain map or a thumbnail may be in another color space.
    """
    meta = _find(data, 0, len(data), b"meta")
    if meta is None:
        return None
    start, end = meta[0] + 4, meta[1]  # after version and flags
    primary = _find(data, start, end, b"pitm")
    properties = _find(data, start, end, b"iprp")
    if primary is None or properties is None:
        return None
    container = _find(data, *properties, b"ipco")
    associations = _find(data, *properties, b"ipma")
    if container is None or associations is None:
        return None
    item = _number(data, primary[0] + 4, 2 if data[primary[0]] == 0 else 4)
    boxes = list(_boxes(data, *container))
    for index in _property_indices(data, *associations, item):
        if 0 < index <= len(boxes):
            name, first, _ = boxes[index - 1]
            if name == b"colr" and data[first : first + 4] == b"nclx":
                return _number(data, first + 4, 2), _number(data, first + 6, 2)
    return None


def are_item_types_text(data: bytes) -> bool:
    """Whether the types and names of all items are UTF-8; pi-heif crashes on others."""
    start, end = _find(data, 0, len(data), b"meta") or (0, len(data))
    place = data.find(b"infe", start, end)
    while place >= 0:
        # After the box's name: version, flags (3), number of the item (2 or 4), protection (2).
        kind = place + (14 if data[place + 4 : place + 5] >= b"\3" else 12)
        stop = place - 4 + _number(data, place - 4, 4)
        for text in (data[kind : kind + 4], data[kind + 4 : stop]):
            try:
                text.decode()
            except UnicodeDecodeError:
                return False
        place = data.find(b"infe", place + 4, end)
    return True


def are_complete(data: bytes) -> bool:
    """Whether the last box ends within the file."""
    end = 0
    for _, start, end in _boxes(data, 0, len(data), limit=False):
        if end > len(data) or start > len(data):
            return False
    return len(data) - end < 8


def _boxes(data: bytes, start: int, end: int, *, limit: bool = True) -> Iterator[_Box]:
    """Yield the boxes in a range; with `limit` only those that end in it."""
    for _ in range(_MAX_BOXES):
        if start + 8 > end:
            return
        size, content = _number(data, start, 4), start + 8
        if size == 1:
            size, content = _number(data, start + 8, 8), start + 16
        stop = start + size if size else end
        if stop < content or (limit and stop > end):
            return
        yield data[start + 4 : start + 8], content, stop
        start = stop


def _find(data: bytes, start: int, end: int, name: bytes) -> tuple[int, int] | None:
    for found, first, last in _boxes(data, start, end):
        if found == name:
            return first, last
    return None


def _property_indices(data: bytes, start: int, end: int, item: int) -> list[int]:
    """Return the one-based indices of the properties of an item, from the content of `ipma`."""
    id_size = 4 if data[start] else 2
    is_wide = bool(data[start + 3] & 1)
    position = start + 8
    for _ in range(min(_number(data, start + 4, 4), _MAX_BOXES)):
        if position + id_size >= end:
            break
        found, count = _number(data, position, id_size), data[position + id_size]
        position += id_size + 1
        size = 2 if is_wide else 1
        mask = 0x7FFF if is_wide else 0x7F
        places = range(position, min(position + size * count, end - size + 1), size)
        if found == item:
            return [_number(data, place, size) & mask for place in places]
        position += size * count
    return []


def _number(data: bytes, start: int, size: int) -> int:
    return int.from_bytes(data[start : start + size], "big")
