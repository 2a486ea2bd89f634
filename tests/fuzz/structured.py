"""Hypothesis strategies for files and messages whose structure is valid and whose fields are not.

Mutants of bytes rarely keep a checksum, an offset or a nesting right; these inputs do. The choices
of Hypothesis are taken from bytes, so that the other fuzzers control them.
"""

import io
import struct
import zlib
from collections.abc import Callable
from typing import Final

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz.mutations import INTERESTING_INTEGERS

_INTEGERS: Final = st.sampled_from(INTERESTING_INTEGERS) | st.integers(0, 2**32 - 1)
_BYTES: Final = st.binary(max_size=40)
_MAX_CONTENT: Final = 20_000


def _little(format_: str, *values: int) -> bytes:
    """Pack integers modulo the size of their fields."""
    sizes = {"B": 8, "H": 16, "I": 32, "Q": 64}
    limited = [value % 2 ** sizes[code] for code, value in zip(format_, values, strict=True)]
    return struct.pack("<" + format_, *limited)


@st.composite
def png_files(draw: st.DrawFn) -> bytes:
    """Return PNG files of any chunks, with the right checksums."""
    names = (b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS", b"gAMA", b"cHRM", b"sRGB", b"iCCP",
             b"cICP", b"eXIf", b"tEXt", b"acTL", b"fcTL", b"fdAT")  # fmt: skip
    sizes = st.sampled_from([1, 2, 8, 1000, 65_535, 2**31 - 1])
    header = struct.pack(
        ">IIBBBBB", draw(sizes), draw(sizes), draw(st.sampled_from([1, 2, 4, 8, 16, 7])),
        draw(st.sampled_from([0, 2, 3, 4, 6, 5])), 0, 0, draw(st.integers(0, 1)),
    )  # fmt: skip
    contents = _BYTES | _BYTES.map(zlib.compress) | st.just(header)
    chunks = [(b"IHDR", header), *draw(st.lists(st.tuples(st.sampled_from(names), contents)))]
    data = b"\x89PNG\r\n\x1a\n"
    for name, content in chunks:
        checksum = zlib.crc32(name + content)
        data += struct.pack(">I", len(content)) + name + content + struct.pack(">I", checksum)
    return data


@st.composite
def tiff_files(draw: st.DrawFn) -> bytes:
    """Return TIFF files with directories of any entries, which may refer to each other."""
    numbers = (*range(254, 285), 317, 320, 322, 323, 324, 325, 330, 338, 339, 347, 34665, 34675)
    tags = st.sampled_from(numbers)
    values = st.sampled_from([0, 1, 2, 3, 5, 7, 8, 16, 32, 50, 100, 1000, 65_535]) | _INTEGERS
    entries = st.lists(st.tuples(tags, st.integers(0, 18), values, values), max_size=30)
    size = draw(st.sampled_from([1, 8, 1000, 100_000]))
    usual = [(256, 4, 1, size), (257, 4, 1, size), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1),
             (273, 4, 1, 8), (278, 4, 1, size), (279, 4, 1, size)]  # fmt: skip
    all_entries = sorted([*(usual if draw(st.booleans()) else []), *draw(entries)])
    data = b"II*\0" + _little("I", 8) + _little("H", len(all_entries))
    for tag, kind, count, value in all_entries:
        data += _little("HHII", tag, kind, count, value)
    return data + _little("I", draw(values)) + draw(st.binary(max_size=100))


@st.composite
def media_files(draw: st.DrawFn) -> bytes:
    """Return ISO media files (AVIF, HEIC, JPEG 2000) of nested boxes."""
    text = b"meta hdlr pitm iinf infe iloc iprp ipco ipma ispe colr pixi av1C hvcC iref grid mdat"
    names = st.sampled_from([*text.split(), b"moov", b"jp2h", b"ihdr", b"jp2c"])

    def box(pair: tuple[bytes, bytes]) -> bytes:
        return struct.pack(">I", len(pair[1]) + 8) + pair[0] + pair[1]

    flags = st.sampled_from([b"", bytes(4), b"\1\0\0\0", b"\0\0\0\1"])
    leaves = st.tuples(names, st.tuples(flags, _BYTES).map(b"".join)).map(box)
    boxes = st.recursive(
        leaves,
        lambda inner: st.tuples(
            names, st.tuples(flags, st.lists(inner, max_size=5).map(b"".join)).map(b"".join)
        ).map(box),
        max_leaves=20,
    )
    brand = draw(st.sampled_from([b"avif", b"heic", b"mif1", b"avis"]))
    start = box((b"ftyp", brand + bytes(4) + b"avif"))
    return start + b"".join(draw(st.lists(boxes, max_size=5)))


@st.composite
def icon_files(draw: st.DrawFn) -> bytes:
    """Return icons whose entries refer to bitmaps of any header, and to each other."""
    entries = draw(st.lists(st.tuples(_INTEGERS, _INTEGERS, _INTEGERS, _INTEGERS), max_size=4))
    data = _little("HHH", 0, 1, draw(st.sampled_from([len(entries), 1, 65_535])))
    for width, height, size, offset in entries:
        data += _little("BBBBHHII", width, height, 0, 0, 1, 32, size, offset % 200)
    bitmap = _little("IIIHHIIIIII", 40, draw(_INTEGERS), draw(_INTEGERS), 1,
                     draw(st.sampled_from([1, 4, 8, 24, 32])), draw(st.integers(0, 6)),
                     *[draw(_INTEGERS) for _ in range(5)])  # fmt: skip
    return data + bitmap + draw(_BYTES)


@st.composite
def zip_files(draw: st.DrawFn) -> bytes:
    """Return zips whose two descriptions of each entry may differ in any field."""
    data, directory = io.BytesIO(), b""
    count = draw(st.integers(0, 4))
    for _ in range(count):
        name = draw(st.sampled_from([b"7/a.png", b"b.jpg", b"../c.png", b"d/", b"e.zip", b"\xff"]))
        content = draw(_BYTES) + bytes(draw(st.sampled_from([0, 0, 100, _MAX_CONTENT])))
        packer = zlib.compressobj(9, zlib.DEFLATED, -15)
        packed = packer.compress(content) + packer.flush()
        fields = [draw(st.sampled_from([0, 0, 1, 8, 0x800])), 8, 0, 0, zlib.crc32(content),
                  len(packed), len(content), len(name), 0]  # fmt: skip
        changed = list(fields)
        if draw(st.booleans()):
            changed[draw(st.integers(0, 8))] = draw(_INTEGERS)
        offset = draw(st.sampled_from([data.tell()] * 3 + [0])) or data.tell()
        data.write(b"PK\3\4" + _little("HHHHHIIIHH", 20, *fields) + name + packed)
        attributes = draw(st.sampled_from([0, 0o100644 << 16, 0o120777 << 16]))
        directory += b"PK\1\2" + _little("HHHHHHIIIHHHHHII", 20, 20, *changed, 0, 0, 0,
                                         attributes, offset) + name  # fmt: skip
    start = data.tell() if draw(st.booleans()) else draw(_INTEGERS)
    declared = draw(st.sampled_from([count, count, 0, 65_535]))
    end = b"PK\5\6" + _little("HHHHIIH", 0, 0, declared, declared, len(directory), start, 0)
    return data.getvalue() + directory + end


@st.composite
def json_bodies(draw: st.DrawFn) -> bytes:
    """Return JSON with the fields of pixels and any value in them."""
    numbers = st.integers(-1, 256) | st.floats() | st.sampled_from([0, 255, 10**400])
    leaves = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=5)
    values = st.recursive(
        leaves | st.floats(allow_nan=False), lambda inner: st.lists(inner, max_size=4), max_leaves=9
    )
    side = draw(st.sampled_from([28, 27, 1, 784]))
    cell = draw(numbers | values)
    grid = [[cell] * side] * draw(st.sampled_from([28, 1, 27]))
    content = draw(st.sampled_from([grid, [grid], [[grid]], [cell] * 784]) | values)
    field = draw(st.sampled_from(["input", "features", "image", "instances", "drawing_data", ""]))
    try:
        return orjson.dumps({field: content})
    except TypeError:  # an integer that orjson does not write
        return repr({field: content}).replace("'", '"').encode("utf-8", "replace")


STRATEGIES: Final[dict[str, st.SearchStrategy[bytes]]] = {
    "png": png_files(),
    "tiff": tiff_files(),
    "media": media_files(),
    "icon": icon_files(),
    "zip": zip_files(),
    "json": json_bodies(),
}


def controlled(strategy: str, run: Callable[[bytes], None]) -> Callable[[bytes], None]:
    """Return a function that runs `run` on what bytes make of a strategy."""

    @settings(database=None, deadline=None)
    @given(data=STRATEGIES[strategy])
    def build(data: bytes) -> None:
        run(data)

    def call(choices: bytes) -> None:
        build.hypothesis.fuzz_one_input(choices)  # type: ignore[attr-defined]

    return call
