"""PNG files as chunks: removal of damaged metadata, and the cICP chunk, which Pillow ignores."""

import zlib
from collections.abc import Iterator
from itertools import islice
from typing import Final

SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
MAX_CHUNKS: Final = 50_000
_MAX_METADATA: Final = 1_000_000  # bytes of a chunk that is kept
_IMAGE: Final = (b"IHDR", b"PLTE", b"IDAT", b"IEND")
# The metadata that changes how an image looks, and the least bytes of its content. Animations are
# reduced to their default image.
_METADATA: Final = {
    **{b"tRNS": 2, b"gAMA": 4, b"cHRM": 32, b"sRGB": 1},
    **{b"iCCP": 4, b"cICP": 4, b"eXIf": 8},
}
# Chunks whose content costs no time to read.
_PLAIN: Final = frozenset((*_IMAGE, b"tRNS", b"sRGB", b"sBIT", b"bKGD", b"pHYs", b"tIME", b"tEXt"))
_MAX_PLAIN_CHUNKS: Final = 32
_CICP_PLACE: Final = 4096  # bytes; the chunk is one of the first


class TooManyChunksError(ValueError):
    """The file has more than MAX_CHUNKS chunks."""


def remove_damaged_metadata(data: bytes) -> bytes:
    """Return the file without text, and without metadata that is damaged or too large.

    Raise TooManyChunksError.
    """
    parts = [SIGNATURE]
    for name, start, end in _chunks(data):
        is_kept = name in _IMAGE or (name in _METADATA and _is_intact(data[start:end]))
        if is_kept:
            parts.append(data[start:end])
    return b"".join(parts)


def is_complete(data: bytes) -> bool:
    """Whether the chunks reach the end of the image. Raise TooManyChunksError."""
    return any(name == b"IEND" for name, _, _ in _chunks(data))


def is_plain(data: bytes) -> bool:
    """Whether the file is complete and has few chunks, none with a profile or compressed text."""
    names = [name for name, _, _ in islice(_chunks(data), _MAX_PLAIN_CHUNKS)]
    return names[-1:] == [b"IEND"] and _PLAIN.issuperset(names)


def read_cicp(data: bytes) -> tuple[int, int] | None:
    """Return the codes of color primaries and transfer function in the cICP chunk, or None."""
    place = data.find(b"\0\0\0\x04cICP", 0, _CICP_PLACE)
    if place < 0 or len(data) < place + 16 or not _is_intact(data[place : place + 16]):
        return None
    return data[place + 8], data[place + 9]


def _chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield the name, start and end of each complete chunk."""
    start = len(SIGNATURE)
    for _ in range(MAX_CHUNKS):
        end = start + 12 + int.from_bytes(data[start : start + 4], "big")
        name = data[start + 4 : start + 8]
        if end > len(data) or not name.isalpha():
            return
        yield name, start, end
        if name == b"IEND":
            return
        start = end
    raise TooManyChunksError


def _is_intact(chunk: bytes) -> bool:
    """Whether the checksum is right, and the content neither too short nor too large."""
    if not _METADATA[chunk[4:8]] + 12 <= len(chunk) <= _MAX_METADATA:
        return False
    if zlib.crc32(chunk[4:-4]) != int.from_bytes(chunk[-4:], "big"):
        return False
    return chunk[4:8] != b"iCCP" or _inflates(chunk[8:-4])


def _inflates(profile: bytes) -> bool:
    """Whether the content of an iCCP chunk is a compressed profile of a reasonable size."""
    _, _, compressed = profile.partition(b"\0")
    stream = zlib.decompressobj()
    try:
        stream.decompress(compressed[1:], _MAX_METADATA)
    except zlib.error:
        return False
    return compressed[:1] == b"\0" and stream.eof
