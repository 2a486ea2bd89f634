"""Detection of file types from their content."""

import base64
import gzip
import io
import struct
import tarfile
from pathlib import Path

import pytest

from backend.inference.images.file_types import describe_unsupported, detect
from tests.images import encoded, noise, zipped

JPEG = encoded(noise(), "JPEG")


def media(brand: bytes, *compatible: bytes) -> bytes:
    body = brand + bytes(4) + b"".join(compatible)
    return struct.pack(">I", 8 + len(body)) + b"ftyp" + body + bytes(100)


def tiff(*entries: tuple[int, int, int, int], order: str = "<") -> bytes:
    """Return the header of a TIFF with tags (tag, type, count, value), and the text NIKON."""
    mark = b"II*\0" if order == "<" else b"MM\0*"
    directory = struct.pack(f"{order}H", len(entries))
    for tag, kind, count, value in entries:
        short = kind == 3
        directory += struct.pack(f"{order}HHI{'HH' if short else 'I'}", tag, kind, count, value,
                                 *([0] if short else []))  # fmt: skip
    return (mark + struct.pack(f"{order}I", 16) + b"NIKON\0\0\0" + directory).ljust(200, b"\0")


def tar() -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        info = tarfile.TarInfo("a.jpg")
        info.size = len(JPEG)
        archive.addfile(info, io.BytesIO(JPEG))
    return out.getvalue()


PREVIEW = [(254, 4, 1, 1), (271, 2, 6, 8), (330, 4, 1, 100)]
READABLE = {
    "JPEG": JPEG,
    "HEIF": media(b"heic", b"mif1", b"heic"),
    "AVIF": media(b"mif1", b"mif1", b"avif"),
    "TIFF": tiff((256, 3, 1, 10), (257, 3, 1, 10), (271, 2, 6, 8)),
    "PPM": b"P6 1 1 255 abc",
    "JPEG2000": b"\xff\x4f\xff\x51\0\x29",
    "ICO": b"\0\0\1\0\1\0",
    "WEBP": b"RIFF\x10\0\0\0WEBPVP8 ",
}
REFUSED = {
    "a PDF": b"%PDF-1.7\n",
    "a Targa image (TGA)": struct.pack("<BBB5x4H2B", 0, 0, 2, 0, 0, 28, 28, 24, 0) + bytes(99),
    "a Windows cursor (CUR)": struct.pack("<3H", 0, 2, 1) + bytes(99),
    "an SVG drawing": b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg"/>',
    "a web page (HTML)": b"\n<!DOCTYPE html><html><body><svg/></body></html>".replace(
        b"<svg/>", b""
    ),
    "a Photoshop document (PSD)": b"8BPS\0\1",
    "a camera RAW file (Canon CR2)": b"II*\0\x10\0\0\0CR\2\0" + bytes(200),
    "a camera RAW file (Canon CR3)": media(b"crx "),
    "a camera RAW file (DNG)": tiff((50706, 1, 4, 0x401)),
    "a camera RAW file (Nikon NEF)": tiff(*PREVIEW, order=">"),
    "a camera RAW file (Fujifilm RAF)": b"FUJIFILMCCD-RAW 0201",
    "a video (MP4)": media(b"isom", b"mp41"),
    "a video (QuickTime)": media(b"qt  "),
    "a video (WebM or Matroska)": b"\x1a\x45\xdf\xa3\x01",
    "a video (AVI)": b"RIFF\0\0\0\0AVI LIST",
    "a JPEG XL image": b"\xff\x0a\xfa\x7f",
    "base64 text, not an image file": base64.encodebytes(JPEG),
    "a data URL, not an image file": b"data:image/jpeg;base64," + base64.b64encode(JPEG),
    "a zip archive or an office document": zipped({"a.jpg": JPEG}),
    "a gzip file": gzip.compress(JPEG),
    "a tar archive": tar(),
    "an XML document": b'\xef\xbb\xbf<?xml version="1.0"?><a/>',
    "a text file, not an image": "Grüße, this is a note.\n".encode() * 300,
}


@pytest.mark.parametrize("name", READABLE)
def test_image_formats_are_detected(name: str) -> None:
    assert detect(READABLE[name]) == name


@pytest.mark.parametrize("name", REFUSED)
def test_message_names_the_type_and_what_to_do(name: str) -> None:
    assert detect(REFUSED[name]) is None
    first, advice = describe_unsupported(REFUSED[name]).split(". ", 1)
    assert first == f"This is {name}"
    assert advice.endswith(".")


@pytest.mark.parametrize("data", [b"\0", b"\xff\xfe\xfd" * 50, bytes(1000), b"II*\0", b"0000ftyp"])
def test_other_bytes_have_a_message(data: bytes) -> None:
    assert describe_unsupported(data).endswith(".")


def test_message_of_unknown_bytes_lists_the_formats() -> None:
    assert "Send a JPEG, PNG, WebP, GIF, BMP, HEIC, AVIF" in describe_unsupported(bytes(1000))


def test_real_files_are_named(test_data: Path) -> None:
    folder = test_data / "formats"
    for name, start in [
        ("scan.pdf", "This is a PDF. Export the page as PNG or JPEG."),
        ("seven.svg", "This is an SVG drawing."),
        ("base64.txt", "This is base64 text"),
    ]:
        data = (folder / name).read_bytes()
        assert detect(data) is None
        assert describe_unsupported(data).startswith(start)
