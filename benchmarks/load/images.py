"""Test uploads: scanned digits, phone photographs, drawn strokes and invalid files."""

import base64
import functools
import io
import random

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from urllib3 import encode_multipart_formdata

PHOTOGRAPH_SIZE = (4032, 3024)  # width and height in pixels, 12 megapixels
PAD_SIZE = 280  # width and height of the drawing pad in pixels

_NOISE = 14.0  # standard deviation of the camera noise (0-255), for files of 2 to 4 MB
_TILE = 1008  # pixels; the noise is tiled, because 36 million random numbers take a second
_ORIENTATION_TAG, _ROTATED_90 = 0x0112, 6  # EXIF orientation of a phone held upright

Upload = tuple[str, bytes, str]  # file name, content, media type


@functools.cache
def make_digits() -> tuple[Upload, ...]:
    """Return 100 digits as PNG, dark on light, 96 to 320 pixels wide, at random positions."""
    return tuple(
        ("digit.png", _draw_digit(digit, random.Random(seed)), "image/png")
        for digit in range(10)
        for seed in range(10)
    )


@functools.cache
def make_photographs() -> tuple[Upload, ...]:
    """Return four JPEGs as phones take them: 12 megapixels, 2 to 4 MB, rotated by EXIF.

    Each takes a few tenths of a second.
    """
    return tuple((f"IMG_{seed}.jpg", _draw_photograph(seed), "image/jpeg") for seed in range(4))


@functools.cache
def make_invalid_files() -> tuple[Upload, ...]:
    """Return files that are not images: a text, a renamed PDF, a truncated and an empty image."""
    _, png, _ = make_digits()[0]
    return (
        ("notes.txt", b"milk, bread, eggs\n" * 20, "text/plain"),
        ("renamed.png", b"%PDF-1.7\n" + bytes(range(256)) * 8, "image/png"),
        ("half.png", png[: len(png) // 2], "image/png"),
        ("empty.jpg", b"", "image/jpeg"),
    )


def encode_form(*uploads: Upload) -> tuple[bytes, str]:
    """Return a multipart form with a field `file` for each upload, and its content type."""
    return encode_multipart_formdata([("file", upload) for upload in uploads])


def make_stroke(rng: random.Random) -> str:
    """Return a random stroke on the drawing pad as a PNG data URL."""
    image = Image.new("L", (PAD_SIZE, PAD_SIZE), 255)
    corners = [(rng.randint(60, 220), rng.randint(30, 250)) for _ in range(4)]
    ImageDraw.Draw(image).line(corners, fill=0, width=18, joint="curve")
    return f"data:image/png;base64,{base64.b64encode(_encode(image, 'PNG')).decode()}"


def _draw_digit(digit: int, rng: random.Random) -> bytes:
    size = rng.randint(96, 320)
    height = rng.randint(size // 2, size * 3 // 4)
    image = Image.new("L", (size, size), rng.randint(220, 255))
    position = (rng.randint(size // 10, size // 3), rng.randint(0, size // 6))
    ink, font = rng.randint(0, 60), ImageFont.load_default(height)
    ImageDraw.Draw(image).text(position, str(digit), fill=ink, font=font)
    return _encode(image, "PNG")


def _draw_photograph(seed: int) -> bytes:
    width, height = PHOTOGRAPH_SIZE
    upright = Image.new("L", (height, width), 200)
    font = ImageFont.load_default(width // 2)
    ImageDraw.Draw(upright).text((height // 4, width // 6), str(seed), fill=30, font=font)
    pixels = np.asarray(upright.transpose(Image.Transpose.ROTATE_90), np.float32)
    rng = np.random.default_rng(seed)
    noise = np.tile(rng.normal(0, _NOISE, (_TILE, _TILE)), (height // _TILE, width // _TILE))
    noisy = (pixels + noise).clip(0, 255).astype(np.uint8)
    exif = Image.Exif()
    exif[_ORIENTATION_TAG] = _ROTATED_90
    return _encode(Image.fromarray(noisy).convert("RGB"), "JPEG", quality=85, exif=exif)


def _encode(image: Image.Image, kind: str, **options: object) -> bytes:
    content = io.BytesIO()
    image.save(content, kind, **options)
    return content.getvalue()
