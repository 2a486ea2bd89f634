"""Bytes of an upload -> an upright 8-bit RGB picture.

The format is judged by content, the size is checked before any pixel is decoded, and whatever
Pillow raises on a damaged file leaves here as one of our own errors.
"""

import io
import struct
from typing import Final

import numpy as np
from PIL import Image, UnidentifiedImageError
from PIL import WebPImagePlugin as WebPImagePlugin  # not among the formats Pillow loads at first

from backend.inference.errors import (
    BrokenImageError,
    EmptyImageError,
    ImageTooLargeError,
    UnsupportedImageError,
)
from backend.inference.images.jpeg import scans

FORMATS: Final = ("JPEG", "PNG", "WEBP", "BMP", "GIF")
DEFAULT_MAX_PIXELS: Final = 50_000_000
# A progressive JPEG of a few kilobytes can make a decoder pass over all pixels thousands of times.
MAX_SCANNED: Final = 1_000_000_000

# The limit below is checked against the header before decoding, and is stricter than Pillow's.
Image.MAX_IMAGE_PIXELS = None

_SIGNATURES: Final = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"BM", b"GIF87a", b"GIF89a")

# Reads that a parser may make of one file: honest files need some hundreds.
MAX_STEPS: Final = 50_000
_MIN_ROW: Final = 64  # a row costs something however short it is

_DECODE_ERRORS: Final = (
    OSError,
    ValueError,
    SyntaxError,
    TypeError,
    LookupError,
    ArithmeticError,
    AttributeError,
    EOFError,
    NotImplementedError,
    RuntimeError,
    AssertionError,
    struct.error,
    Image.DecompressionBombError,
)

_EXIF_ORIENTATION: Final = 0x0112
_UPRIGHT: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

_VISIBLE_ALPHA: Final = 32
_LIGHT: Final = 192


def decode(data: bytes, *, max_pixels: int = DEFAULT_MAX_PIXELS) -> Image.Image:
    """Decode JPEG, PNG, WebP, BMP or the first frame of a GIF into an upright RGB image.

    Grey, palette, CMYK and 16-bit pictures become 8-bit RGB; transparency is laid on white, or on
    black where white would hide the drawing. Raises EmptyImageError, UnsupportedImageError,
    BrokenImageError, or ImageTooLargeError where width times height exceeds `max_pixels`.
    """
    return load_rgb(open_image(data, max_pixels=max_pixels))


def open_image(data: bytes, *, max_pixels: int) -> Image.Image:
    """Read a file's header only: its format and size; the raises of `decode`."""
    if not data:
        raise EmptyImageError("The file is empty. Choose a picture and send it again.")
    image = _open(data)
    width, height = image.size
    if _cost(image) > max_pixels:
        raise ImageTooLargeError(
            f"The picture has {width} x {height} pixels, which is more than is read (at most "
            f"{max_pixels:,}; a half of that with transparency or in CMYK, a quarter interlaced). "
            "Scale it down and send it again."
        )
    if image.format in ("JPEG", "MPO") and scans(data) * width * height > MAX_SCANNED:
        raise ImageTooLargeError(
            "The JPEG is stored in so many scans that it takes too long to read. Save it again "
            "and send the new file."
        )
    return image


def reduce(image: Image.Image, side: int) -> None:
    """Have an opened JPEG decoded at 1/2, 1/4 or 1/8, no side shorter than `side` pixels.

    The decoder then computes the smaller picture straight from the frequencies. Other formats
    stay as they are.
    """
    scale = min(image.size) // side
    if scale >= 2:
        image.draft(None, (image.width // scale, image.height // scale))


def memory(image: Image.Image, pixels: int) -> int:
    """Bytes that loading an opened picture of so many `pixels` and looking at it takes at most.

    As measured; a JPEG may have been reduced since it was opened.
    """
    if image.format == "WEBP":
        weight = 22 if image.has_transparency_data else 16
    elif image.has_transparency_data or image.mode.startswith("I"):
        weight = 14
    else:
        weight = 10 if image.format in ("JPEG", "MPO") else 7  # those are turned upright
    coefficients = 4 * pixels if image.info.get("progressive") else 0  # held however reduced
    return weight * image.width * image.height + coefficients


def load_rgb(image: Image.Image) -> Image.Image:
    """Decode an opened image: the second half of `decode`."""
    try:
        image.load()
        return _to_rgb(_upright(image))
    except BrokenImageError:
        raise
    except _DECODE_ERRORS as error:
        raise _broken() from error
    except MemoryError as error:
        raise ImageTooLargeError(
            "The picture needs more memory than there is. Scale it down and send it again."
        ) from error


class _BoundedFile(io.BytesIO):
    """A file that ends in an error where a reader makes too many small steps.

    Pillow walks the segments of a file in Python: millions of empty ones would keep it for minutes.
    """

    _steps = 0

    def read(self, size: int | None = -1, /) -> bytes:
        self._steps += 1
        if self._steps > MAX_STEPS:
            raise BrokenImageError(
                "The picture is made of too many pieces to be read. Save it again and send the "
                "new file."
            )
        return super().read(size)


def _cost(image: Image.Image) -> int:
    """Pixels to decode, more for what takes several times the work or memory of plain RGB."""
    width, height = image.size
    pixels = max(width, _MIN_ROW) * height
    if image.info.get("interlace"):
        return 4 * pixels
    plain = image.mode != "CMYK" and not image.has_transparency_data
    return pixels if plain else 2 * pixels


def _open(data: bytes) -> Image.Image:
    try:
        return Image.open(_BoundedFile(data), formats=FORMATS)
    except BrokenImageError:
        raise
    except UnidentifiedImageError as error:
        if data.startswith(_SIGNATURES) or (data[:4] == b"RIFF" and data[8:12] == b"WEBP"):
            raise _broken() from error
        raise UnsupportedImageError(
            "This is not a picture that can be read. Send a JPEG, PNG, WebP, BMP or GIF file."
        ) from error
    except _DECODE_ERRORS as error:
        raise _broken() from error


def _broken() -> BrokenImageError:
    return BrokenImageError(
        "The picture is damaged and could not be read. Save it again and send the new file."
    )


def _upright(image: Image.Image) -> Image.Image:
    try:
        orientation = image.getexif().get(_EXIF_ORIENTATION)
    except _DECODE_ERRORS:  # a damaged EXIF block does not spoil the pixels
        return image
    method = _UPRIGHT.get(orientation) if isinstance(orientation, int) else None
    return image if method is None else image.transpose(method)


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    if image.mode.startswith("I"):
        return _narrow(image).convert("RGB")
    if image.has_transparency_data:
        return _on_backdrop(image.convert("RGBA"))
    return image.convert("RGB")


def _narrow(image: Image.Image) -> Image.Image:
    """16 bits a pixel to 8, rounded (65535 = 255 * 257)."""
    wide = np.clip(np.asarray(image, dtype=np.int32), 0, 65535)
    return Image.fromarray(((wide + 128) // 257).astype(np.uint8))


def _on_backdrop(image: Image.Image) -> Image.Image:
    alpha = image.getchannel("A")
    if alpha.getextrema() == (255, 255):
        return image.convert("RGB")
    visible = alpha.point(lambda a: 255 if a >= _VISIBLE_ALPHA else 0)
    histogram = image.convert("L").histogram(visible)
    dark, seen = sum(histogram[:_LIGHT]), sum(histogram)
    color = "black" if seen and dark < 0.01 * seen else "white"
    flat = Image.new("RGB", image.size, color)
    flat.paste(image, mask=alpha)
    return flat
