"""Valid files and messages of every kind that Prism parses, from which mutants are made."""

import struct
from functools import cache
from pathlib import Path
from typing import Any, Final

from PIL import Image, ImageCms

from tests.images import encoded, noise, seven

_HEIC_FOLDER: Final = Path(__file__).parents[1] / "inference" / "images" / "data"


def _exif() -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = 6  # orientation
    exif[0x010F] = "maker"
    return exif


@cache
def image_samples() -> dict[str, bytes]:
    """Return small valid files in all formats that are read and their main variants, by name."""
    color, gray, drawn = noise(24, 16), noise(24, 16).convert("L"), seven(32)
    frames: dict[str, Any] = {"save_all": True, "append_images": [drawn]}
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    samples = {
        "png": encoded(color),
        "png-gray-16": encoded(Image.new("I;16", (9, 7), 40_000)),
        "png-palette": encoded(drawn.convert("P"), transparency=0),
        "png-profile": encoded(color, icc_profile=profile, exif=_exif()),
        "png-animated": encoded(drawn, **frames),
        "jpeg": encoded(color, "JPEG"),
        "jpeg-progressive": encoded(color, "JPEG", progressive=True),
        "jpeg-profile": encoded(color, "JPEG", icc_profile=profile, exif=_exif()),
        "jpeg-cmyk": encoded(color.convert("CMYK"), "JPEG"),
        "mpo": encoded(color, "MPO", **frames),
        "webp": encoded(color, "WEBP"),
        "webp-lossless": encoded(drawn.convert("RGBA"), "WEBP", lossless=True, exif=_exif()),
        "webp-animated": encoded(drawn, "WEBP", **frames),
        "gif": encoded(drawn, "GIF"),
        "gif-animated": encoded(drawn.convert("P"), "GIF", **frames),
        "bmp": encoded(color, "BMP"),
        "bmp-palette": encoded(drawn.convert("P"), "BMP"),
        "bmp-rle": _bmp_rle(),
        "tiff": encoded(color, "TIFF", exif=_exif()),
        "tiff-lzw": encoded(color, "TIFF", compression="tiff_lzw"),
        "tiff-deflate": encoded(gray, "TIFF", compression="tiff_adobe_deflate"),
        "tiff-jpeg": encoded(color, "TIFF", compression="jpeg"),
        "tiff-pages": encoded(color, "TIFF", **frames),
        "tiff-big": encoded(gray, "TIFF", big_tiff=True),
        "jp2": encoded(color, "JPEG2000"),
        "j2k": encoded(gray, "JPEG2000", no_jp2=True),
        "ico": encoded(drawn, "ICO", sizes=[(16, 16), (32, 32)]),
        "ico-bitmap": encoded(drawn, "ICO", sizes=[(16, 16)], bitmap_format="bmp"),
        "ppm": encoded(color, "PPM"),
        "pgm": encoded(gray, "PPM"),
        "pbm-text": b"P1\n# text\n6 2\n0 1 0 1 0 1\n1 0 1 0 1 0\n",
        "ppm-text": b"P3\n2 2\n255\n255 0 0 0 255 0\n0 0 255 9 9 9\n",
        "pfm": b"Pf\n2 2\n-1.0\n" + struct.pack("<4f", 0.0, 0.5, 0.75, 1.0),
        "avif": encoded(color, "AVIF"),
        "avif-sequence": encoded(drawn, "AVIF", **frames),
    }
    heic = {f"heic-{path.stem}": path.read_bytes() for path in sorted(_HEIC_FOLDER.glob("*.heic"))}
    return samples | heic


IMAGE_TOKENS: Final = (
    *(b"IHDR", b"PLTE", b"tRNS", b"iCCP", b"eXIf", b"IDAT", b"IEND", b"acTL", b"fcTL", b"fdAT"),
    *(b"\xff\xc0", b"\xff\xc2", b"\xff\xc4", b"\xff\xd8", b"\xff\xd9", b"\xff\xda", b"\xff\xdb"),
    *(b"\xff\xdd", b"\xff\xe0", b"\xff\xe1", b"\xff\xe2", b"Exif\0\0", b"ICC_PROFILE\0", b"MPF\0"),
    *(b"VP8 ", b"VP8L", b"VP8X", b"ALPH", b"ANIM", b"ANMF", b"RIFF", b"WEBP"),
    *(b"GIF89a", b",\0\0\0\0\xff\xff\xff\xff", b"!\xff\x0bNETSCAPE2.0", b"!\xf9\x04", b";"),
    *(b"II*\0", b"MM\0*", b"II+\0\x08\0\0\0", b"\0\1\1\0", b"\0\1\1\1", b"\x17\1", b"\x44\1"),
    *(b"ftyp", b"mif1", b"heic", b"avif", b"meta", b"iloc", b"iinf", b"iprp", b"ipco", b"ispe"),
    *(b"ipma", b"iref", b"grid", b"mdat", b"moov", b"jP  ", b"jp2h", b"ihdr", b"colr", b"jp2c"),
    *(b"\xff\x4f\xff\x51", b"\xff\x52", b"\xff\x90", b"\xff\x93", b"BM", b"\0\0\1\0", b"P6 "),
)


def _bmp_rle() -> bytes:
    """Return an 8-bit BMP file with run lengths, of 4 x 2 pixels."""
    palette = b"".join(bytes((level, level, level, 0)) for level in range(256))
    pixels = b"\x04\x10\0\0\x04\xf0\0\0\0\1"
    head = struct.pack("<IiiHHIIiiII", 40, 4, 2, 1, 8, 1, len(pixels), 2835, 2835, 256, 0)
    start = 14 + len(head) + len(palette)
    return struct.pack("<2sIII", b"BM", start + len(pixels), 0, start) + head + palette + pixels
