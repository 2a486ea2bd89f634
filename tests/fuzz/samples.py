"""Valid files and messages of every kind that Prism parses, from which mutants are made."""

import base64
import hashlib
import io
import json
import struct
from functools import cache
from pathlib import Path
from random import Random
from typing import Any, Final
from urllib.parse import urlencode
from zipfile import ZIP_DEFLATED, ZipFile

import numpy as np
import safetensors.numpy
from PIL import Image, ImageCms

from tests.images import encoded, noise, seven, zipped

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


FORM_TOKENS: Final = (
    *(b"\r\n", b"--", b"--x-boundary", b"\r\n--x-boundary\r\n", b"\r\n--x-boundary--\r\n", b"\r"),
    *(b"Content-Disposition: form-data; ", b'name="file"', b'filename="a.png"', b'"', b"\\", b"%"),
    *(
        b"filename*=utf-8''a%20b",
        b"Content-Type: image/png\r\n",
        b"boundary=",
        b";",
        b"\0",
        b"\xff",
    ),
)
JSON_TOKENS: Final = (
    *(b"{", b"}", b"[", b"]", b"[[]]", b",", b":", b'"', b"null", b"true", b"NaN", b"Infinity"),
    *(b"1e999", b"-1", b"0.5", b"256", b'"input":', b'"features":', b'"image":', b'"instances":'),
    *(b'"drawing_data":', b"data:image/png;base64,", b"=", b"%2B", b"+", b"-", b"_", b"\\u0000"),
    *(b"[" * 500, b'"format": 2', b'"files": {}', b"../", b"\xef\xbb\xbf", b"\xff", b"\\ud800"),
)
ADDRESS_TOKENS: Final = (
    *(b"https://", b"http://", b"gs://", b"user:secret@", b"[::1]", b"#mnist-net", b"@sha256="),
    *(b"0" * 64, b"/../", b"\\", b"\0", b"\n", b" ", b",", b":", b"%00", b"?", b"=", b"::ffff:"),
)
ZIP_TOKENS: Final = (
    *(b"PK\1\2", b"PK\3\4", b"PK\5\6", b"PK\6\6", b"PK\6\7", b"PK\7\x08", b"../", b"/", b"\\"),
    *(b"\xff\xff\xff\xff", b"\xff\xff", b"\1\0\x18\0", b".zip", b"\0\0\x08\0", b"\0\0\1\0"),
)
HEAD_TOKENS: Final = (
    *(
        b"\r\n",
        b"\n",
        b"\r\n\r\n",
        b":",
        b" ",
        b"\t",
        b"\0",
        b"\xff",
        b"GET ",
        b"POST ",
        b"HTTP/1.1",
    ),
    *(
        b"HTTP/2.0",
        b"HTTP/1.0",
        b"Host: a\r\n",
        b"Content-Length: 5\r\n",
        b"Content-Length: -1\r\n",
    ),
    *(b"Transfer-Encoding: chunked\r\n", b"Connection: close\r\n", b"Upgrade: websocket\r\n"),
    *(b"Expect: 100-continue\r\n", b"0\r\n\r\n", b"ffffffffffffffff\r\n", b"X: " + b"y" * 1000),
    *(b"Connection: Upgrade\r\n", b"*", b"http://a/", b"\r\n folded", b"%00", b"PRI * HTTP/2.0"),
)
SEPARATOR: Final = b"\n--weights--\n"  # between the two files of a sample of manifest_samples


@cache
def profile_samples() -> dict[str, bytes]:
    """Return gamma and chromaticities as numbers, of sRGB and of absurd values."""
    srgb = (0.45455, 0.3127, 0.3290, 0.64, 0.33, 0.30, 0.60, 0.15, 0.06)
    absurd = (1e-300, float("nan"), float("inf"), 0.0, -1.0, 1e300, 0.0, 0.0, 0.3)
    codes = {f"codes-{first}-{second}": bytes((first, second)) for first in (1, 9, 12)
             for second in (1, 8, 16, 18)}  # fmt: skip
    return {"srgb": struct.pack("<9d", *srgb), "absurd": struct.pack("<9d", *absurd)} | codes


@cache
def form_samples() -> dict[str, bytes]:
    """Return multipart forms with the boundary x-boundary."""
    head = b'Content-Disposition: form-data; name="%b"; filename="%b"'
    image = encoded(noise(4, 4))

    def form(*parts: tuple[bytes, bytes]) -> bytes:
        return b"".join(b"--x-boundary\r\n%b\r\n\r\n%b\r\n" % part for part in parts) + (
            b"--x-boundary--\r\n"
        )

    plain = (head % (b"file", b"a.png"), image)
    typed = (head % (b"image", "ü.png".encode()) + b"\r\nContent-Type: image/png", image)
    text = (b'content-disposition: form-data; name="model"', b"mnist-cnn")
    extended = (head % (b"file", b"a") + b"; filename*=utf-8''%e2%82%ac.png", image)
    return {
        "plain": form(plain),
        "typed": form(typed),
        "several": form(text, plain, typed),
        "extended": form(extended),
        "empty": form((head % (b"file", b""), b"")),
        "oversized": form((head % (b"file", b"a"), bytes(11_000))),
        "preamble": b"preamble\r\n" + form(plain) + b"epilogue",
    }


@cache
def boundary_samples() -> dict[str, bytes]:
    """Return Content-Type headers of forms."""
    return {
        "plain": b"multipart/form-data; boundary=x-boundary",
        "quoted": b'multipart/form-data; charset=utf-8; boundary="x boundary"',
        "extended": b"multipart/form-data; boundary*=utf-8''x%20y; boundary*0=a; boundary*1=b",
    }


@cache
def pixel_samples() -> dict[str, bytes]:
    """Return JSON bodies with raw pixels of 28 x 28 digits."""
    row = [index % 256 for index in range(784)]
    grid = [row[start : start + 28] for start in range(0, 784, 28)]
    bodies: dict[str, object] = {
        "flat": {"input": row},
        "grid": {"input": grid},
        "batch": {"instances": [row, row]},
        "scaled": {"features": [value / 255 for value in row]},
        "channels": {"instances": [[[[value] for value in line] for line in grid]]},
        "text": {"image": ",".join(map(str, row))},
    }
    return {name: json.dumps(body).encode() for name, body in bodies.items()}


@cache
def drawing_samples() -> dict[str, bytes]:
    """Return bodies with a drawing as a data URL."""
    text = base64.b64encode(encoded(seven(28))).decode()
    url = f"data:image/png;base64,{text}"
    return {
        "json": json.dumps({"drawing_data": url}).encode(),
        "form": urlencode({"drawing_data": url, "other": "1"}).encode(),
        "url": url.encode(),
        "base64": text.encode(),
        "url-safe": text.replace("+", "-").replace("/", "_").rstrip("=").encode(),
    }


@cache
def address_samples() -> dict[str, bytes]:
    """Return addresses of models."""
    addresses = (
        *("mnist-cnn", "./models/mnist-cnn", "gs://bucket/models/digits", "HTTPS://host/a/"),
        "https://user:secret@host.example:8443/models/digits?token=secret#mnist-net",
        f"https://host.example/net.pt#mnist-net@sha256={'0' * 64}",
    )
    return {f"address-{index}": text.encode() for index, text in enumerate(addresses)}


@cache
def manifest_samples() -> dict[str, bytes]:
    """Return manifests and their weights; the checksum of the weights is right."""
    weights = safetensors.numpy.save({"bias": np.zeros(3, np.float32)})
    digest = hashlib.sha256(weights).hexdigest()
    manifest: dict[str, object] = {
        "format": 1,
        "name": "digits",
        "version": "1",
        "architecture": "mnist-net",
        "labels": ["0", "1", "2"],
        "preprocess": {"kind": "digit"},
        "files": {"weights.safetensors": digest},
        "elements": 3,
    }
    names = ("mnist-cnn", "photos")
    folders = [Path(__file__).parents[2] / "models" / name for name in names]
    shipped = {
        folder.name: (folder / "manifest.json").read_bytes() + SEPARATOR + weights
        for folder in folders
        if folder.is_dir()
    }
    return {"small": json.dumps(manifest).encode() + SEPARATOR + weights, **shipped}


@cache
def zip_samples() -> dict[str, bytes]:
    """Return zips of images."""
    files = {"7/a.png": encoded(seven(16)), "1/ü.jpg": encoded(noise(), "JPEG"), "note.txt": b"a"}
    deflated = io.BytesIO()
    with ZipFile(deflated, "w", ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
        archive.writestr("zeros.bmp", bytes(100_000))
        archive.comment = b"comment"
    return {"stored": zipped(files), "deflated": deflated.getvalue()}


@cache
def client_samples() -> dict[str, bytes]:
    """Return values of X-Forwarded-For, one a line."""
    values = (b"203.0.113.7", b"1.2.3.4, 5.6.7.8, ::1\n9.9.9.9", b"fe80::1%eth0, [::1]:80, unknown")
    return {f"value-{index}": value for index, value in enumerate(values)}


@cache
def key_samples() -> dict[str, bytes]:
    """Return settings of API keys."""
    first, second = b"0" * 64, b"1" * 64
    quota = b";requests=10;megapixels=100"
    values = (
        first,
        b"page=%b;scopes=classify+history,b=%b" % (first, second),
        b"a=%b%b,a=%b%b" % (first, quota, second, quota),
    )
    return {f"keys-{index}": value for index, value in enumerate(values)}


@cache
def head_samples() -> dict[str, bytes]:
    """Return HTTP requests, some of them pipelined or unusual."""
    requests = {
        "get": b"GET /health HTTP/1.1\r\nHost: localhost\r\nAccept: */*\r\n\r\n",
        "post": b"POST /classify HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n"
        b"Content-Type: image/png\r\nX-API-Key: key\r\n\r\nhello",
        "chunked": b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"5;name=value\r\nhello\r\n0\r\nTrailer: a\r\n\r\n",
        "old": b"GET / HTTP/1.0\r\n\r\n",
        "absolute": b"GET http://localhost/a?b=c HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "upgrade": b"POST / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade, HTTP2-Settings\r\n"
        b"Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\nContent-Length: 2\r\n\r\nhi",
        "expect": b"POST / HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\n"
        b"Content-Length: 1\r\n\r\na",
    }
    return requests | {"pipelined": requests["get"] * 3 + requests["post"]}


@cache
def choice_samples() -> dict[str, bytes]:
    """Return bytes from which Hypothesis takes its choices."""
    random = Random(1)
    return {f"choices-{size}": random.randbytes(size) for size in (64, 256, 1024, 4096)}
