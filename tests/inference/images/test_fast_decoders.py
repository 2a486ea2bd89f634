"""Decoders of compressed BMP and unusual PPM files: the same pixels as Pillow's, and limits."""

import io
from collections.abc import Iterator
from random import Random

import pytest
from PIL import BmpImagePlugin, Image, PpmImagePlugin

from backend.inference.errors import ImageError
from backend.inference.images import fast_decoders
from backend.inference.images.loading import decode
from tests.images import encoded, noise
from tests.inference.images.bombs import bmp

PLUGINS = {
    "bmp_rle": BmpImagePlugin.BmpRleDecoder,
    "ppm": PpmImagePlugin.PpmDecoder,
    "ppm_plain": PpmImagePlugin.PpmPlainDecoder,
}


@pytest.fixture(autouse=True)
def _registered() -> Iterator[None]:
    yield
    fast_decoders.register()


def pixels(data: bytes) -> tuple[str, bytes] | None:
    """Return the mode and pixels of a file, or None if it cannot be decoded."""
    try:
        image = Image.open(io.BytesIO(data))
        image.load()
    except (OSError, ValueError):
        return None
    return image.mode, image.tobytes()


def random_runs(random: Random) -> bytes:
    """Return a compressed BMP file of random runs, jumps and line ends."""
    body = b""
    for _ in range(random.randrange(200)):
        kind = random.random()
        if kind < 0.6:
            body += bytes((random.randrange(1, 20), random.randrange(256)))
        elif kind < 0.8:
            body += b"\0\0"
        elif kind < 0.85:
            body += bytes((0, random.choice((1, 2)), random.randrange(6), random.randrange(3)))
        else:
            count = random.randrange(3, 16)
            body += bytes((0, count)) + random.randbytes((count + 1) // 2 * 2)
    sides = random.randrange(1, 20), random.randrange(1, 20)
    return bmp(*sides, body, compression=random.choice((1, 2)))


def random_ppm(random: Random) -> bytes:
    """Return a PBM, PGM or PPM file of random pixels; some lack one."""
    width, height, kind = random.randrange(1, 20), random.randrange(1, 20), random.randrange(1, 7)
    maximum = random.choice((1, 7, 100, 254, 255, 256, 1000, 65535))
    count = width * height * (3 if kind in (3, 6) else 1) + random.choice((0, 0, 3, -1))
    head = b"P%d %d %d\n" % (kind, width, height) + (b"" if kind in (1, 4) else b"%d\n" % maximum)
    if kind > 3:
        return head + random.randbytes(count * (2 if maximum > 255 else 1))
    values = [random.randrange(1 + (1 if kind == 1 else maximum)) for _ in range(max(count, 0))]
    return head + b"".join(b"%d%s" % (each, random.choice((b" ", b"\n#c\n"))) for each in values)


@pytest.mark.parametrize("make", [random_runs, random_ppm])
def test_pixels_are_those_of_pillow(make: object) -> None:
    random, decoded = Random(1), 0
    for _ in range(300):
        data = make(random)  # type: ignore[operator]
        for name, decoder in PLUGINS.items():
            Image.register_decoder(name, decoder)
        expected = pixels(data)
        fast_decoders.register()
        assert pixels(data) == expected, data
        decoded += expected is not None
    assert decoded > 100


@pytest.mark.parametrize(
    "data",
    [
        bmp(2000, 2000, b"\0\0" * (fast_decoders.MAX_RUNS + 1), compression=1),
        b"P2 9 9 255\n" + b"#\n" * (fast_decoders.MAX_COMMENTS + 1) + b"1 " * 81,
        b"P2 2 1 255\n1 256",
        b"P2 2 1 255\n1 -1",
        b"P2 2 1 255\n1 x",
        b"P1 2 1\n12",
    ],
)
def test_file_that_would_take_long_or_is_damaged_is_rejected(data: bytes) -> None:
    with pytest.raises(ImageError):
        decode(data)


def test_pgm_of_12_bits_with_many_pixels_is_decoded() -> None:
    gray = noise(400, 300).convert("L")
    values = b"".join((16 * level).to_bytes(2, "big") for level in gray.tobytes())
    image = decode(b"P5 400 300 4080\n" + values)
    assert image.tobytes() == gray.convert("RGB").tobytes()


def test_decoders_stay_registered_after_other_formats_are_saved() -> None:
    decode(b"P2 1 1 9\n1")
    encoded(noise(), "BMP")  # Pillow imports all its plugins
    assert Image.DECODERS["ppm_plain"] is fast_decoders.PlainPpmDecoder
    assert Image.DECODERS["bmp_rle"] is fast_decoders.BmpRunLengthDecoder
