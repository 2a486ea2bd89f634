"""Small files that claim, or contain, much more than their bytes suggest."""

import struct
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

from PIL import Image

from tests.images import encoded, noise
from tests.inference.images.heif_files import heif, heif_grid, heif_overlay

DATA: Final = Path(__file__).parent / "data"
PNG_SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"


def chunk(name: bytes, body: bytes) -> bytes:
    """Return a chunk of a PNG file."""
    checksum = zlib.crc32(name + body)
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", checksum)


def png(
    width: int, height: int, *chunks: bytes, color: int = 0, pixels: bytes | None = None
) -> bytes:
    """Return a PNG with `chunks` before the pixels, which are black unless given (compressed)."""
    header = struct.pack(">IIBBBBB", width, height, 8, color, 0, 0, 0)
    channels = {0: 1, 2: 3, 3: 1, 6: 4}[color]
    if pixels is None:
        pixels = zlib.compress(bytes(height * (1 + channels * width)))
    middle = b"".join(chunks)
    parts = (chunk(b"IHDR", header), middle, chunk(b"IDAT", pixels), chunk(b"IEND", b""))
    return PNG_SIGNATURE + b"".join(parts)


def gif(screen: tuple[int, int], frame: tuple[int, int] = (1, 1), *, disposal: int = 0) -> bytes:
    """Return a GIF with a logical screen and one frame of the given sizes."""
    control = b"\x21\xf9\x04" + bytes((disposal << 2,)) + b"\0\0\0\0"
    return (
        b"GIF89a" + struct.pack("<HH", *screen) + b"\x80\0\0" + bytes((0, 0, 0, 255, 255, 255))
        + control + b"," + struct.pack("<HHHH", 0, 0, *frame) + b"\0\x02\x02\x44\x01\0;"
    )  # fmt: skip


def webp(width: int, height: int) -> bytes:
    """Return a lossless WebP of one color, of at most 16384 pixels a side."""
    if max(width, height) <= 256:
        return encoded(Image.new("RGB", (width, height)), "WEBP", lossless=True)
    data = bytearray(encoded(Image.new("RGB", (256, 256)), "WEBP", lossless=True))
    bits = int.from_bytes(data[21:25], "little") & ~0xFFFFFFF | (width - 1) | (height - 1) << 14
    data[21:25] = bits.to_bytes(4, "little")
    return bytes(data)


def webp_canvas(width: int, height: int) -> bytes:
    """Return an animated WebP with a canvas of the given size and one small frame."""
    frames = [Image.new("RGB", (16, 16), color) for color in ("red", "blue")]
    data = bytearray(encoded(frames[0], "WEBP", save_all=True, append_images=frames[1:]))
    data[24:27], data[27:30] = ((side - 1).to_bytes(3, "little") for side in (width, height))
    return bytes(data)


def bmp(
    width: int, height: int, body: bytes = b"", *, bits: int = 8, compression: int = 0
) -> bytes:
    """Return a BMP file with a palette of 256 colors."""
    palette = bytes(range(256)) * 4
    header = struct.pack(
        "<IiiHHIIiiII", 40, width, height, 1, bits, compression, len(body), 0, 0, 256, 0
    )
    start = 14 + len(header) + len(palette)
    return b"BM" + struct.pack("<IHHI", start + len(body), 0, 0, start) + header + palette + body


def tiff(tags: dict[int, tuple[int, int, int | bytes]], body: bytes = b"") -> bytes:
    """Return a TIFF file: tags with type, count, and value or the bytes that it refers to."""
    entries, values = b"", b""
    start = 8 + 2 + 12 * len(tags) + 4
    for tag, (kind, count, value) in sorted(tags.items()):
        if isinstance(value, bytes):
            entries += struct.pack("<HHII", tag, kind, count, start + len(values))
            values += value
        else:
            entries += struct.pack("<HHII", tag, kind, count, value)
    return b"II*\0\x08\0\0\0" + struct.pack("<H", len(tags)) + entries + bytes(4) + values + body


def gray_tiff(width: int, height: int, compression: int = 1, **changes: object) -> bytes:
    """Return a gray TIFF of one strip without pixels; `changes` are tags such as t277."""
    tags: dict[int, tuple[int, int, int | bytes]] = {
        256: (4, 1, width), 257: (4, 1, height), 258: (3, 1, 8), 259: (3, 1, compression),
        262: (3, 1, 1), 273: (4, 1, 8), 277: (3, 1, 1), 278: (4, 1, height), 279: (4, 1, 64),
    }  # fmt: skip
    tags |= {int(name[1:]): value for name, value in changes.items()}  # type: ignore[misc]
    return tiff(tags)


def strip_of_zeros(width: int, height: int, compression: int = 8) -> bytes:
    """Return a TIFF whose only strip inflates to black pixels."""
    packed = zlib.compress(bytes(width * height), 9)
    tags: dict[int, tuple[int, int, int | bytes]] = {
        256: (4, 1, width), 257: (4, 1, height), 258: (3, 1, 8), 259: (3, 1, compression),
        262: (3, 1, 1), 273: (4, 1, 8 + 2 + 12 * 9 + 4), 277: (3, 1, 1), 278: (4, 1, height),
        279: (4, 1, len(packed)),
    }  # fmt: skip
    return tiff(tags, packed)


def jpeg_segments(kind: int, bodies: Iterable[bytes]) -> bytes:
    """Return a JPEG with additional segments after its start."""
    data = encoded(noise(16, 16), "JPEG")
    added = b"".join(struct.pack(">BBH", 0xFF, kind, len(body) + 2) + body for body in bodies)
    return data[:2] + added + data[20:]  # without the JFIF segment


def exif(entries: int, value_size: int) -> bytes:
    """Return an EXIF block whose tags all refer to the same bytes."""
    values = b"".join(struct.pack("<HHII", 0x9000 + i, 7, value_size, 8) for i in range(entries))
    return b"II*\0\x08\0\0\0" + struct.pack("<H", entries) + values + bytes(4 + value_size)


def jpeg_scans(side: int, scans: int, *, mode: str = "L") -> bytes:
    """Return a progressive JPEG of one color whose last scan is repeated."""
    data = encoded(Image.new(mode, (side, side)), "JPEG", progressive=True)
    last = data.rindex(b"\xff\xda")
    return data[:last] + data[last:-2] * scans + data[-2:]


def jpeg_partial_scan(side: int) -> bytes:
    """Return a baseline JPEG whose first scan has one of three components.

    The decoder keeps the coefficients of all three until the end.
    """
    data = encoded(Image.new("RGB", (side, side)), "JPEG", quality=30, subsampling=0)
    scan = data.rindex(b"\xff\xda")
    return data[:scan] + b"\xff\xda\0\x08\x01\x01\0\0\x3f\0" + data[scan + 14 :]


def jpeg_2000(**options: object) -> bytes:
    """Return a JPEG 2000 codestream without boxes."""
    return encoded(noise(256, 256), "JPEG2000", no_jp2=True, **options)


def jpeg_2000_tiles(side: int) -> bytes:
    """Return a JPEG 2000 file with tiles of one pixel."""
    data = bytearray(jpeg_2000())
    start = data.index(b"\xff\x51") + 4
    struct.pack_into(">IIIIIIII", data, start + 2, side, side, 0, 0, 1, 1, 0, 0)
    return bytes(data)


def jpeg_2000_frame(width: int, height: int) -> bytes:
    """Return a JPEG 2000 file whose codestream is larger than its boxes state."""
    data = bytearray(encoded(noise(64, 64), "JPEG2000"))
    start = data.index(b"\xff\x51") + 4
    struct.pack_into(">IIIIIIII", data, start + 2, width, height, 0, 0, width, height, 0, 0)
    return bytes(data)


def jpeg_2000_components(count: int) -> bytes:
    """Return a JPEG 2000 codestream with many components."""
    data = jpeg_2000()
    start = data.index(b"\xff\x51")
    length = int.from_bytes(data[start + 2 : start + 4], "big")
    head = data[start + 4 : start + 4 + 34]
    marker = b"\xff\x51" + struct.pack(">H", 38 + 3 * count) + head + struct.pack(">H", count)
    return data[:start] + marker + b"\x07\x01\x01" * count + data[start + 2 + length :]


def icon(entries: int) -> bytes:
    """Return an icon with many entries, which all refer to the same image."""
    entry = struct.pack("<BBBBHHII", 16, 16, 0, 0, 1, 32, 1000, 6 + 16 * entries)
    return struct.pack("<HHH", 0, 1, entries) + entry * entries + bytes(1000)


def text_png(count: int) -> bytes:
    """Return a PNG with compressed texts that inflate to just under Pillow's limit."""
    text = chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(1_000_000), 9))
    return png(8, 8, *[text] * count)


def _resized_jpeg(width: int, height: int) -> bytes:
    data = bytearray(encoded(noise(16, 16), "JPEG"))
    start = data.index(b"\xff\xc0")
    struct.pack_into(">HH", data, start + 5, height, width)
    return bytes(data)


BOMBS: Final[dict[str, Callable[[], bytes]]] = {
    "GIF: largest screen": lambda: gif((65535, 65535)),
    "GIF: screen of 900 megapixels": lambda: gif((30000, 30000)),
    "GIF: frame larger than its screen": lambda: gif((1, 1), (65535, 65535)),
    "GIF: frame that is replaced": lambda: gif((7000, 7000), (7000, 7000), disposal=2),
    "WebP: largest image": lambda: webp(16384, 16384),
    "WebP: 49 megapixels": lambda: webp(7000, 7000),
    "WebP: largest canvas": lambda: webp_canvas(16384, 16384),
    "WebP: canvas of 49 megapixels": lambda: webp_canvas(7000, 7000),
    "BMP: largest image": lambda: bmp(2**31 - 1, 2**31 - 1),
    "BMP: top to bottom": lambda: bmp(60_000, -60_000),
    "BMP: run-length, one row": lambda: bmp(20_000_000, 1, b"\1\1\0\0\0\1", compression=1),
    "BMP: run-length, jumps": lambda: bmp(4900, 4900, b"\0\2\xff\xff" * 400, compression=1),
    "BMP: run-length, empty rows": lambda: bmp(900, 900, b"\0\0" * 2_000_000, compression=1),
    "PNG: 900 megapixels": lambda: png(30000, 30000, pixels=zlib.compress(b"")),
    "PNG: 24 megapixels of zeros": lambda: png(4900, 4900),
    "PNG: texts": lambda: text_png(60),
    "PNG: profile": lambda: png(8, 8, chunk(b"iCCP", b"a\0\0" + zlib.compress(bytes(200_000_000)))),
    "PNG: empty pixels": lambda: png(8, 8, *[chunk(b"IDAT", b"")] * 100_000),
    "JPEG: largest image": lambda: _resized_jpeg(65535, 65535),
    "JPEG: partial scan": lambda: jpeg_partial_scan(4500),
    "JPEG: scans": lambda: jpeg_scans(2000, 100),
    "JPEG: EXIF": lambda: jpeg_segments(0xE1, [b"Exif\0\0" + exif(5000, 5000)]),
    "JPEG: comments": lambda: jpeg_segments(0xFE, [b""] * 1_000_000),
    "TIFF: strips": lambda: gray_tiff(
        10, 10, t273=(4, 400_000, b"\x08\0\0\0" * 400_000), t278=(4, 1, 1)
    ),
    "TIFF: tile": lambda: gray_tiff(
        100, 100, 8, t322=(4, 1, 2**20), t323=(4, 1, 2**20), t324=(4, 1, 8), t325=(4, 1, 8)
    ),
    "TIFF: largest image": lambda: gray_tiff(2**31 - 1, 2**31 - 1, 8),
    "TIFF: strip of zeros": lambda: strip_of_zeros(4000, 4000),
    "TIFF: samples": lambda: gray_tiff(1000, 1000, 8, t277=(3, 1, 65535)),
    "JPEG 2000: tiles": lambda: jpeg_2000_tiles(255),
    "JPEG 2000: larger inside": lambda: jpeg_2000_frame(60_000, 60_000),
    "JPEG 2000: 9 megapixels inside": lambda: jpeg_2000_frame(3000, 3000),
    "JPEG 2000: components": lambda: jpeg_2000_components(16_000),
    "AVIF: frame larger than its header": lambda: (DATA / "large_frame.avif").read_bytes(),
    "HEIF: grid": lambda: heif_grid(8, 8),
    "HEIF: grid of too many tiles": lambda: heif_grid(100, 100),
    "HEIF: overlay": lambda: heif_overlay(60),
    "HEIF: image of itself": lambda: heif([(b"iden", b"", [1], (64, 96))]),
    "ICO: entries": lambda: icon(65535),
    "PPM: largest image": lambda: b"P6 2147483647 2147483647 255\n",
    "PPM: text": lambda: b"P3 1290 1290 255\n" + b"1 " * (3 * 1290 * 1290),
    "PPM: comments": lambda: b"P2 1000 1000 255\n" + b"#\n" * 1_000_000,
    "PPM: header of comments": lambda: b"P2 " + b"#\n" * 1_000_000,
    "PPM: levels": lambda: b"P5 4000 4000 100\n" + bytes(16_000_000),
}
