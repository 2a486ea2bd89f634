"""Bytes of an upload -> an upright 8-bit RGB image.

The format is detected from the content. The size is checked before any pixel is decoded. Errors
that Pillow raises for damaged files are converted to `ImageError`.
"""

import io
import re
import struct
from typing import Final

import numpy as np
from PIL import Image, UnidentifiedImageError
from PIL import WebPImagePlugin as WebPImagePlugin  # Pillow does not preload it

from backend.inference.errors import (
    BrokenImageError,
    EmptyImageError,
    ImageTooLargeError,
    UnsupportedImageError,
)

FORMATS: Final = ("JPEG", "PNG", "WEBP", "BMP", "GIF")
DEFAULT_MAX_PIXELS: Final = 50_000_000
# Scans times pixels of a JPEG: a progressive JPEG of a few kilobytes can make a decoder pass over
# all pixels thousands of times.
MAX_SCANNED_PIXELS: Final = 1_000_000_000

# Pillow's own limit is off: `open_image` checks the header against a stricter one.
Image.MAX_IMAGE_PIXELS = None

_SIGNATURES: Final = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"BM", b"GIF87a", b"GIF89a")

MAX_READS: Final = 50_000  # read calls while parsing one file; ordinary files need some hundreds
_MIN_ROW_PIXELS: Final = 64  # cost of a row, however short

_DECODE_ERRORS: Final = (
    *(OSError, EOFError, ValueError, TypeError, LookupError, ArithmeticError, AttributeError),
    *(RuntimeError, AssertionError, SyntaxError, struct.error, Image.DecompressionBombError),
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

_VISIBLE_ALPHA: Final = 32  # pixels with less alpha are ignored
_LIGHT: Final = 192  # gray level from which a pixel counts as light

_SOS, _EOI = 0xDA, 0xD9  # JPEG markers: start of scan, end of image
# Inside a scan, 0xFF is followed by zero (a plain byte), a restart marker, or another 0xFF (fill).
_JPEG_MARKER: Final = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")


def decode(data: bytes, *, max_pixels: int = DEFAULT_MAX_PIXELS) -> Image.Image:
    """Decode JPEG, PNG, WebP, BMP or the first frame of a GIF into an upright RGB image.

    Gray, palette, CMYK and 16-bit images become 8-bit RGB. Transparent images are composited on
    white, or on black if white would hide the drawing. Raise EmptyImageError,
    UnsupportedImageError, BrokenImageError, or ImageTooLargeError if width times height exceeds
    `max_pixels`.
    """
    return load_rgb(open_image(data, max_pixels=max_pixels))


def open_image(data: bytes, *, max_pixels: int) -> Image.Image:
    """Read a file's header only. Raise the same errors as `decode`."""
    if not data:
        raise EmptyImageError("The file is empty. Choose an image and send it again.")
    image = _open(data)
    width, height = image.size
    if _cost(image) > max_pixels:
        raise ImageTooLargeError(
            f"The image has {width} x {height} pixels, which exceeds the limit ({max_pixels:,}; "
            "half of that with transparency or in CMYK, a quarter if interlaced). Scale it down "
            "and send it again."
        )
    scans = count_jpeg_scans(data) if image.format in ("JPEG", "MPO") else 0
    if scans * width * height > MAX_SCANNED_PIXELS:
        raise ImageTooLargeError(
            "The JPEG has too many scans and would take too long to decode. Save it again and "
            "send the new file."
        )
    return image


def count_jpeg_scans(data: bytes) -> int:
    """Count the scans of a JPEG from its markers, up to the end of the image.

    Bytes inside other segments (a thumbnail) or after the image (the video of a motion photo) do
    not count.
    """
    if data.count(bytes((0xFF, _SOS))) <= 1:
        return 1
    scans, position = 0, 2
    while marker := _JPEG_MARKER.search(data, position):
        kind = data[marker.start() + 1]
        if kind == _EOI:
            break
        scans += kind == _SOS
        length = int.from_bytes(data[marker.end() : marker.end() + 2], "big")
        position = marker.end() + max(length, 2)
    return max(scans, 1)


def use_scaled_decoding(image: Image.Image, min_side: int) -> None:
    """Set an opened JPEG to decode at 1/2, 1/4 or 1/8, with no side shorter than `min_side` pixels.

    The decoder computes the smaller image directly from the frequencies. Images in other formats
    do not change.
    """
    scale = min(image.size) // min_side
    if scale >= 2:
        image.draft(None, (image.width // scale, image.height // scale))


def estimate_memory(image: Image.Image, pixels: int) -> int:
    """Return the maximum memory, in bytes, that decoding and preprocessing an image needs.

    `pixels` is its full size; scaled decoding may have reduced `image` since it was opened. The
    factors were measured.
    """
    if image.format == "WEBP":
        bytes_per_pixel = 22 if image.has_transparency_data else 16
    elif image.has_transparency_data or image.mode.startswith("I"):
        bytes_per_pixel = 14
    else:
        # JPEGs include a copy that is rotated upright.
        bytes_per_pixel = 10 if image.format in ("JPEG", "MPO") else 7
    # A progressive JPEG keeps all coefficients, even in scaled decoding.
    coefficients = 4 * pixels if image.info.get("progressive") else 0
    return bytes_per_pixel * image.width * image.height + coefficients


def load_rgb(image: Image.Image) -> Image.Image:
    """Decode an opened image into an upright RGB image."""
    try:
        image.load()
        return _to_rgb(_upright(image))
    except BrokenImageError:
        raise
    except _DECODE_ERRORS as error:
        raise _broken_error() from error
    except MemoryError as error:
        raise ImageTooLargeError(
            "The image needs more memory than is available. Scale it down and send it again."
        ) from error


class _BoundedFile(io.BytesIO):
    """A file that raises BrokenImageError after MAX_READS reads.

    Pillow parses the segments of a file in Python: millions of empty ones would take minutes.
    """

    _reads = 0

    def read(self, size: int | None = -1, /) -> bytes:
        self._reads += 1
        if self._reads > MAX_READS:
            raise BrokenImageError(
                "The image file has too many segments. Save it again and send the new file."
            )
        return super().read(size)


def _cost(image: Image.Image) -> int:
    """Return the pixels to decode, weighted by their work and memory relative to plain RGB."""
    width, height = image.size
    pixels = max(width, _MIN_ROW_PIXELS) * height
    if image.info.get("interlace"):
        return 4 * pixels
    is_plain = image.mode != "CMYK" and not image.has_transparency_data
    return pixels if is_plain else 2 * pixels


def _open(data: bytes) -> Image.Image:
    try:
        return Image.open(_BoundedFile(data), formats=FORMATS)
    except BrokenImageError:
        raise
    except UnidentifiedImageError as error:
        if data.startswith(_SIGNATURES) or (data[:4] == b"RIFF" and data[8:12] == b"WEBP"):
            raise _broken_error() from error
        raise UnsupportedImageError(
            "The file is not a supported image. Send a JPEG, PNG, WebP, BMP or GIF file."
        ) from error
    except _DECODE_ERRORS as error:
        raise _broken_error() from error


def _broken_error() -> BrokenImageError:
    return BrokenImageError(
        "The image is damaged and cannot be decoded. Save it again and send the new file."
    )


def _upright(image: Image.Image) -> Image.Image:
    try:
        orientation = image.getexif().get(_EXIF_ORIENTATION)
    except _DECODE_ERRORS:  # ignore a damaged EXIF block
        return image
    method = _UPRIGHT.get(orientation) if isinstance(orientation, int) else None
    return image if method is None else image.transpose(method)


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    if image.mode.startswith("I"):
        return _to_8_bit(image).convert("RGB")
    if image.has_transparency_data:
        return _flatten_transparency(image.convert("RGBA"))
    return image.convert("RGB")


def _to_8_bit(image: Image.Image) -> Image.Image:
    """Convert 16 bits per channel to 8, rounded (65535 = 255 * 257)."""
    wide = np.clip(np.asarray(image, dtype=np.int32), 0, 65535)
    return Image.fromarray(((wide + 128) // 257).astype(np.uint8))


def _flatten_transparency(image: Image.Image) -> Image.Image:
    """Composite an RGBA image on white, or on black if all visible pixels are light."""
    alpha = image.getchannel("A")
    if alpha.getextrema() == (255, 255):
        return image.convert("RGB")
    visible = alpha.point(lambda a: 255 if a >= _VISIBLE_ALPHA else 0)
    histogram = image.convert("L").histogram(visible)
    dark, total = sum(histogram[:_LIGHT]), sum(histogram)
    color = "black" if total and dark < 0.01 * total else "white"
    flat = Image.new("RGB", image.size, color)
    flat.paste(image, mask=alpha)
    return flat
