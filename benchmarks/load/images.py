"""What people send: scanned digits, photographs straight from a phone, and what is no picture."""

import base64
import functools
import io
import random

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from urllib3 import encode_multipart_formdata

PHONE = (4032, 3024)  # pixels, 12 megapixels
PAD = 280  # pixels of the drawing pad's side

_GRAIN = 14.0  # standard deviation of a camera's noise, of 255 levels; files of 2 to 4 MB
_TILE = 1008  # pixels; the grain is repeated, as drawing 36 million numbers takes a second
_SIDEWAYS = 6  # EXIF's word for a phone that was held upright
_ORIENTATION = 0x0112

Picture = tuple[str, bytes, str]  # file name, bytes, media type


@functools.cache
def digits() -> tuple[Picture, ...]:
    """A hundred digits as PNG, dark on light, of some 100 to 300 pixels, each in its own place."""
    return tuple(
        ("digit.png", _digit(digit, random.Random(seed)), "image/png")
        for digit in range(10)
        for seed in range(10)
    )


@functools.cache
def photographs() -> tuple[Picture, ...]:
    """A few JPEGs of 12 megapixels and some megabytes, to be turned upright, as phones make them.

    Making one takes some tenths of a second.
    """
    return tuple((f"IMG_{seed}.jpg", _photograph(seed), "image/jpeg") for seed in range(4))


@functools.cache
def mistakes() -> tuple[Picture, ...]:
    """What people upload by mistake: a text, half a picture, nothing, a picture of another kind."""
    _, whole, _ = digits()[0]
    return (
        ("notes.txt", b"milk, bread, eggs\n" * 20, "text/plain"),
        ("renamed.png", b"%PDF-1.7\n" + bytes(range(256)) * 8, "image/png"),
        ("half.png", whole[: len(whole) // 2], "image/png"),
        ("empty.jpg", b"", "image/jpeg"),
    )


def form(*pictures: Picture) -> tuple[bytes, str]:
    """The body of a form with a field `file` for each picture, and its content type."""
    return encode_multipart_formdata([("file", picture) for picture in pictures])


def stroke(rng: random.Random) -> str:
    """A stroke with corners of its own as a data URL, PNG: no two are asked alike."""
    image = Image.new("L", (PAD, PAD), 255)
    corners = [(rng.randint(60, 220), rng.randint(30, 250)) for _ in range(4)]
    ImageDraw.Draw(image).line(corners, fill=0, width=18, joint="curve")
    return f"data:image/png;base64,{base64.b64encode(_encoded(image, 'PNG')).decode()}"


def _digit(digit: int, rng: random.Random) -> bytes:
    size = rng.randint(96, 320)
    height = rng.randint(size // 2, size * 3 // 4)
    image = Image.new("L", (size, size), rng.randint(220, 255))
    ImageDraw.Draw(image).text(
        (rng.randint(size // 10, size // 3), rng.randint(0, size // 6)),
        str(digit),
        fill=rng.randint(0, 60),
        font=ImageFont.load_default(height),
    )
    return _encoded(image, "PNG")


def _photograph(seed: int) -> bytes:
    width, height = PHONE
    upright = Image.new("L", (height, width), 200)
    ImageDraw.Draw(upright).text(
        (height // 4, width // 6), str(seed), fill=30, font=ImageFont.load_default(width // 2)
    )
    pixels = np.asarray(upright.transpose(Image.Transpose.ROTATE_90), np.float32)
    rng = np.random.default_rng(seed)
    grain = np.tile(rng.normal(0, _GRAIN, (_TILE, _TILE)), (height // _TILE, width // _TILE))
    noisy = (pixels + grain).clip(0, 255).astype(np.uint8)
    exif = Image.Exif()
    exif[_ORIENTATION] = _SIDEWAYS
    return _encoded(Image.fromarray(noisy).convert("RGB"), "JPEG", quality=85, exif=exif)


def _encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()
