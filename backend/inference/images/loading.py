"""Image files -> upright 8-bit RGB images in sRGB.

Errors that Pillow raises for damaged files are converted to `ImageError`.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from backend.inference.errors import ImageError
from backend.inference.images import color, completeness, failures, transparency
from backend.inference.images.opening import (
    DECODE_ERRORS,
    DEFAULT_MAX_PIXELS,
    BoundedFile,
    open_file,
    open_image,
    without_damaged_metadata,
)

MIN_JPEG_ROWS: Final = 0.9  # share of the rows that a JPEG that ends early must have

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
_END_OF_JPEG: Final = b"\xff\xd9"


def decode(data: bytes, *, max_pixels: int = DEFAULT_MAX_PIXELS) -> Image.Image:
    """Decode an image file into an upright RGB image in sRGB.

    Of several frames or pages, the first is decoded. Gray, palette, CMYK, 16-bit and float images
    become 8-bit RGB. Transparent images are composited as `transparency.flatten` describes. Raise
    EmptyImageError, UnsupportedImageError, BrokenImageError, TruncatedImageError, or
    ImageTooLargeError if width times height exceeds `max_pixels`.
    """
    return load_rgb(open_image(data, max_pixels=max_pixels))


def load_rgb(
    image: Image.Image, *, min_side: int | None = None, brightness_only: bool = False
) -> Image.Image:
    """Decode an opened image into an upright RGB image in sRGB.

    With `min_side`, an image whose colors are converted is reduced, with no side shorter than that.
    With `brightness_only`, colors may stay in the color space of the file where that does not
    change gray levels, and an 8-bit gray image stays one (mode L).
    """
    try:
        image = _load(image)
        profile = color.find_profile(image)
        if (
            brightness_only
            and image.mode == "L"
            and profile is None
            and not image.has_transparency_data
        ):
            return _upright(image, image)
        rgb = _to_rgb(image)
        if profile is not None:
            rgb = color.to_srgb(rgb, profile, min_side=min_side, brightness_only=brightness_only)
        upright = _upright(rgb, image)
        return upright if upright.mode == "RGB" else upright.convert("RGB")
    except DECODE_ERRORS as error:
        raise failures.broken_error() from error
    except MemoryError as error:
        raise failures.memory_error() from error


def _load(image: Image.Image) -> Image.Image:
    """Decode the pixels. If it fails, retry without the damage that browsers tolerate."""
    file, form = getattr(image, "fp", None), image.format or ""
    try:
        image.load()
        return image
    except DECODE_ERRORS as error:
        data = file.getvalue() if isinstance(file, BoundedFile) else b""
        content = retried = None
        if form == "PNG":
            content = without_damaged_metadata(data)
        elif form == "JPEG" and completeness.ends_early(data, form):
            content = data + _END_OF_JPEG
        try:
            if content is not None:
                retried = open_file(content, form)
                scale = (getattr(image, "decoderconfig", ()) or (1,))[0]
                retried.draft(None, (retried.width // scale, retried.height // scale))
                retried.load()
        except (ImageError, *DECODE_ERRORS):
            retried = None
        if retried is not None and _has_enough_rows(retried):
            return retried
        if completeness.ends_early(data, form):
            raise failures.truncated_error() from error
        raise failures.broken_error() from error


def _has_enough_rows(image: Image.Image) -> bool:
    """Whether a JPEG that ends early has most rows: the decoder fills the others with gray."""
    if image.format != "JPEG":
        return True
    pixels = np.asarray(image).reshape(image.height, -1)
    filled: NDArray[np.bool_] = np.all(np.abs(pixels.astype(np.int16) - 128) <= 1, axis=1)
    missing = int(filled[::-1].argmin()) if not filled.all() else image.height
    return missing <= (1 - MIN_JPEG_ROWS) * image.height


def _upright(rgb: Image.Image, image: Image.Image) -> Image.Image:
    """Turn the pixels of `image` as its EXIF block says."""
    try:
        orientation = image.getexif().get(_EXIF_ORIENTATION)
    except DECODE_ERRORS:  # ignore a damaged EXIF block
        return rgb
    method = _UPRIGHT.get(orientation) if isinstance(orientation, int) else None
    return rgb if method is None else rgb.transpose(method)


def _to_rgb(image: Image.Image) -> Image.Image:
    """Return the image as RGB; as CMYK if its profile is needed for that."""
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    if image.mode == "CMYK" and color.find_profile(image) is not None:
        return image
    if image.mode == "LAB":
        return color.lab_to_srgb(image)
    if image.has_transparency_data:
        return transparency.flatten(image)
    if image.mode == "F":
        return _float_to_8_bit(image).convert("RGB")
    if image.mode.startswith("I"):
        return _to_8_bit(image).convert("RGB")
    return image.convert("RGB")


def _to_8_bit(image: Image.Image) -> Image.Image:
    """Convert 16 bits per channel to 8, rounded (65535 = 255 * 257)."""
    wide = np.clip(np.asarray(image, dtype=np.int32), 0, 65535)
    return Image.fromarray(((wide + 128) // 257).astype(np.uint8))


def _float_to_8_bit(image: Image.Image) -> Image.Image:
    """Scale a float image to 8 bits: from [0, 1], [0, 255] or [0, 65535], whichever fits."""
    values = np.nan_to_num(np.asarray(image), posinf=0, neginf=0)
    peak = next((limit for limit in (1, 255, 65535) if values.max() <= limit), values.max())
    return Image.fromarray(np.rint(np.clip(values * (255 / peak), 0, 255)).astype(np.uint8))
