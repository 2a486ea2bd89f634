"""HEIF files whose structure multiplies a small tile."""

import struct
from pathlib import Path

Item = tuple[bytes, bytes, list[int], tuple[int, int]]
_SAMPLE = Path(__file__).parent / "data" / "noise_turned.heic"


def _box(name: bytes, *parts: bytes) -> bytes:
    body = b"".join(parts)
    return struct.pack(">I", 8 + len(body)) + name + body


def heif(items: list[Item], tiles: int = 1) -> bytes:
    """Return a HEIF file of `items`, the first of which is the primary one, and of coded tiles.

    An item has a type, data, the numbers of the items that it is made of, and a size in pixels.
    The tiles of 64 x 96 pixels share their data; their numbers follow those of the items.
    """
    sample = _SAMPLE.read_bytes()
    start = sample.index(b"hvcC") - 4
    decoder = sample[start : start + int.from_bytes(sample[start : start + 4], "big")]
    tile: Item = (b"hvc1", sample[452 : 452 + 748], [], (64, 96))
    sizes = [item[3] for item in items] + [tile[3]]
    properties = [decoder] + [_box(b"ispe", struct.pack(">III", 0, *size)) for size in sizes]
    entries, places, links, parts, contents = b"", b"", b"", b"", b""
    for number, (kind, data, used, _) in enumerate([*items, *[tile] * tiles], 1):
        entries += _box(b"infe", b"\2\0\0\0", struct.pack(">HH", number, 0), kind, b"\0")
        is_tile = number > len(items)
        offset = len(contents) if number <= len(items) + 1 else len(contents) - len(data)
        places += struct.pack(">HHHHII", number, 1, 0, 1, offset, len(data))
        contents += data if number <= len(items) + 1 else b""
        links += struct.pack(">H", number)
        links += bytes((2, 1, len(properties)) if is_tile else (1, number + 1))
        if used:
            parts += _box(b"dimg", struct.pack(f">HH{len(used)}H", number, len(used), *used))
    count = len(items) + tiles
    return _box(b"ftyp", b"heic\0\0\0\0mif1heic") + _box(
        b"meta",
        bytes(4),
        _box(b"hdlr", bytes(8), b"pict", bytes(13)),
        _box(b"pitm", bytes(4), struct.pack(">H", 1)),
        _box(b"iinf", bytes(4), struct.pack(">H", count), entries),
        _box(
            b"iprp",
            _box(b"ipco", *properties),
            _box(b"ipma", bytes(4), struct.pack(">I", count), links),
        ),
        _box(b"iref", bytes(4), parts),
        _box(b"iloc", b"\1\0\0\0\x44\0", struct.pack(">H", count), places),
        _box(b"idat", contents),
    )


def heif_grid(rows: int, columns: int) -> bytes:
    """Return a HEIF file whose grid shows the same tile everywhere."""
    width, height, count = 64 * columns, 96 * rows, rows * columns
    grid = struct.pack(">BBBBII", 0, 1, rows - 1, columns - 1, width, height)
    tiles = list(range(2, 2 + count))
    return heif([(b"grid", grid, tiles, (width, height))], count)


def heif_overlay(layers: int) -> bytes:
    """Return a HEIF file that draws a grid of 1.5 megapixels many times."""
    size = (1024, 1536)
    grid = struct.pack(">BBBBII", 0, 1, 15, 15, *size)
    overlay = struct.pack(">BB4HII", 0, 1, 0, 0, 0, 65535, *size) + bytes(8 * layers)
    tiles = list(range(2 + layers, 2 + layers + 256))
    top = (b"iovl", overlay, list(range(2, 2 + layers)), size)
    return heif([top, *[(b"grid", grid, tiles, size)] * layers], 256)
