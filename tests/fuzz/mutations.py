"""Mutants of files and messages: random edits that keep most of the structure.

Usage:

    from random import Random
    from tests.fuzz.mutations import mutants
    from tests.fuzz.samples import image_samples

    for data in mutants(list(image_samples().values()), Random(1), 30_000):
        ...
"""

import struct
import zlib
from collections.abc import Callable, Iterator, Sequence
from random import Random
from typing import Final

# Integers at which parsers overflow, allocate or loop.
INTERESTING_INTEGERS: Final = (
    *(0, 1, 2, 7, 8, 9, 15, 16, 17, 31, 32, 63, 64, 100, 127, 128, 129, 254, 255, 256, 257),
    *(511, 512, 1000, 1024, 4095, 4096, 16384, 30000, 32766, 32767, 32768, 65534, 65535, 65536),
    *(99_999_999, 2**24, 2**30, 2**31 - 1, 2**31, 2**31 + 1, 2**32 - 1, 2**63 - 1, 2**64 - 1),
)
MAX_SIZE: Final = 200_000  # bytes of a mutant, or of its sample if that is larger
_PNG_SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"

Edit = Callable[[bytearray, Random], None]


def _flip_bit(data: bytearray, random: Random) -> None:
    data[_place(data, random)] ^= 1 << random.randrange(8)


def _set_byte(data: bytearray, random: Random) -> None:
    data[_place(data, random)] = random.randrange(256)


def _set_integer(data: bytearray, random: Random) -> None:
    width = random.choice((1, 2, 2, 4, 4, 4, 8))
    value = random.choice(INTERESTING_INTEGERS) % 256**width
    order = random.choice("<>")
    place = _place(data, random)
    data[place : place + width] = struct.pack(order + "xBHxIxxxQ"[width], value)


def _change_integer(data: bytearray, random: Random) -> None:
    width = random.choice((1, 2, 4))
    place = min(_place(data, random), max(0, len(data) - width))
    order = random.choice(("little", "big"))
    value = int.from_bytes(data[place : place + width], order)  # type: ignore[arg-type]
    changed = (value + random.choice((-16, -2, -1, 1, 2, 16))) % 256**width
    data[place : place + width] = changed.to_bytes(width, order)


def _delete(data: bytearray, random: Random) -> None:
    place = _place(data, random)
    del data[place : place + _length(data, random)]


def _insert(data: bytearray, random: Random) -> None:
    data[(place := _place(data, random)) : place] = random.randbytes(_length(data, random, 64))


def _fill(data: bytearray, random: Random) -> None:
    place = _place(data, random)
    length = len(data[place : place + _length(data, random)])
    data[place : place + length] = bytes([random.choice((0, 0, 255, 32, 48, 128))]) * length


def _duplicate(data: bytearray, random: Random) -> None:
    place = _place(data, random)
    block = data[place : place + _length(data, random)]
    data[place:place] = block * random.choice((1, 1, 2, 10, 100))


def _move(data: bytearray, random: Random) -> None:
    place = _place(data, random)
    length = _length(data, random)
    block = data[place : place + length]
    del data[place : place + length]
    data[(target := _place(data, random)) : target] = block


def _truncate(data: bytearray, random: Random) -> None:
    del data[_place(data, random) :]


def _digits(data: bytearray, random: Random) -> None:
    """Replace a decimal number, as texts and PPM files hold them."""
    places = [place for place, byte in enumerate(data[:4096]) if 48 <= byte <= 57]
    if places:
        first = last = random.choice(places)
        while last < len(data) and 48 <= data[last] <= 57:
            last += 1
        data[first:last] = b"%d" % random.choice(INTERESTING_INTEGERS)


_EDITS: Final[Sequence[Edit]] = (
    *(_flip_bit, _set_byte, _set_integer, _set_integer, _change_integer, _delete, _insert),
    *(_fill, _duplicate, _move, _truncate, _digits),
)


def mutate(
    data: bytes, random: Random, *, tokens: Sequence[bytes] = (), others: Sequence[bytes] = ()
) -> bytes:
    """Return a mutant of `data` with 1 to 8 edits, mostly few and mostly near its start.

    `tokens` are strings of the format that are inserted or written over other bytes. A part of one
    of the `others` may replace the end of the mutant. The checksums of PNG chunks are usually
    repaired, because decoders read no further than a wrong one.
    """
    mutant = bytearray(data)
    for _ in range(min(1 + int(random.expovariate(0.7)), 8)):
        kind = random.random()
        if tokens and kind < 0.25:
            token = random.choice(tokens)
            place = _place(mutant, random)
            mutant[place : place + random.choice((0, len(token)))] = token
        elif others and kind < 0.3:
            other = random.choice(others)
            mutant[_place(mutant, random) :] = other[_place(other, random) :]
        elif mutant:
            random.choice(_EDITS)(mutant, random)
    del mutant[max(MAX_SIZE, len(data)) :]
    if mutant.startswith(_PNG_SIGNATURE) and random.random() < 0.8:
        return repair_png_checksums(bytes(mutant))
    return bytes(mutant)


def mutants(
    samples: Sequence[bytes], random: Random, count: int, *, tokens: Sequence[bytes] = ()
) -> Iterator[bytes]:
    """Yield `count` mutants of random `samples`."""
    for _ in range(count):
        yield mutate(random.choice(samples), random, tokens=tokens, others=samples)


def repair_png_checksums(data: bytes) -> bytes:
    """Return the PNG file with the right checksum in every chunk that is complete."""
    fixed, place = bytearray(data), len(_PNG_SIGNATURE)
    while place + 12 <= len(fixed):
        end = place + 8 + int.from_bytes(fixed[place : place + 4], "big")
        if end + 4 > len(fixed):
            break
        fixed[end : end + 4] = zlib.crc32(fixed[place + 4 : end]).to_bytes(4, "big")
        place = end + 4
    return bytes(fixed)


def _place(data: bytes | bytearray, random: Random) -> int:
    """Return an index below the length; half of them in the first 128 bytes, the header."""
    if not data:
        return 0
    return random.randrange(min(len(data), 128) if random.random() < 0.5 else len(data))


def _length(data: bytes | bytearray, random: Random, limit: int = 4096) -> int:
    """Return the length of a block, mostly short."""
    return min(1 + int(random.expovariate(1 / 12)), limit, max(1, len(data)))
