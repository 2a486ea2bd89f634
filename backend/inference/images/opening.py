"""Image files -> opened images, of which only the header is read.

The format is detected from the content, and the size is checked before any pixel is decoded.
"""

import io
import math
import pkgutil
import struct
import warnings
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final, cast

from PIL import Image, ImageFile

from backend.inference.errors import EmptyImageError, ImageTooLargeError, UnsupportedImageError
from backend.inference.images import completeness, failures, file_types, media_boxes, png
from backend.inference.images.isolation import FORMATS as ISOLATED_FORMATS
from backend.inference.images.isolation import IsolatedImage
from backend.inference.images.memory_cost import (
    DIVISOR,
    EXTRA_BYTES,
    FULL_SIZE,
    count_pixels,
)

DEFAULT_MAX_PIXELS: Final = 50_000_000
# A JPEG may have this many times the maximum of pixels if it is decoded at a reduced scale.
MAX_JPEG_RATIO: Final = 4
# Pillow holds the global interpreter lock while it decodes JPEG 2000, about 0.1 s per megapixel.
MAX_JPEG_2000_PIXELS: Final = 4_000_000
# Scans times pixels of a JPEG: a progressive JPEG of a few kilobytes can make a decoder pass over
# all pixels thousands of times.
MAX_SCANNED_PIXELS: Final = 1_000_000_000
MAX_ICON_IMAGES: Final = 256
MAX_ICON_SIDE: Final = 256  # pixels of a bitmap in an icon; larger images are PNGs
_TEXT_COPIES: Final = 3  # of a PPM file that is written as text, while it is decoded
MAX_READS: Final = 50_000  # read calls while parsing one file; ordinary files need some hundreds

# Pillow warns of every damaged tag of a file, and Python remembers every warning.
warnings.filterwarnings("ignore", module=r"PIL\.")

# Pillow's plugins refuse more than twice as many pixels while they parse a header; those of GIF
# and WebP allocate them then. `open_image` checks all formats against its own limit.
Image.MAX_IMAGE_PIXELS = DEFAULT_MAX_PIXELS // 2

_PLUGINS: Final = {
    "JPEG": "PIL.JpegImagePlugin:JpegImageFile",
    "PNG": "PIL.PngImagePlugin:PngImageFile",
    "WEBP": "PIL.WebPImagePlugin:WebPImageFile",
    "GIF": "PIL.GifImagePlugin:GifImageFile",
    "BMP": "PIL.BmpImagePlugin:BmpImageFile",
    "AVIF": "PIL.AvifImagePlugin:AvifImageFile",
    "HEIF": "pi_heif.as_plugin:HeifImageFile",
    "TIFF": "PIL.TiffImagePlugin:TiffImageFile",
    "JPEG2000": "PIL.Jpeg2KImagePlugin:Jpeg2KImageFile",
    "ICO": "PIL.IcoImagePlugin:IcoImageFile",
    "PPM": "PIL.PpmImagePlugin:PpmImageFile",
}
# In these formats, Pillow also fails to open files that are not damaged.
_PARTLY_SUPPORTED: Final = {"BMP": "BMP", "TIFF": "TIFF", "JPEG2000": "JPEG 2000", "ICO": "ICO"}

DECODE_ERRORS: Final = (
    *(OSError, EOFError, ValueError, TypeError, LookupError, ArithmeticError, AttributeError),
    *(RuntimeError, AssertionError, SyntaxError, struct.error, Image.DecompressionBombError),
)


def open_image(data: bytes, *, max_pixels: int, min_side: int | None = None) -> Image.Image:
    """Read a file's header only. Raise the same errors as `loading.decode`.

    With `min_side`, a JPEG is set to be decoded at 1/2, 1/4 or 1/8, with no side shorter than
    `min_side` pixels: the decoder computes the smaller image directly from the frequencies. Then
    the limit applies to the pixels that are decoded, and the full size may be MAX_JPEG_RATIO times
    as large. The same applies to JPEG 2000, whose limit is MAX_JPEG_2000_PIXELS. Other images that
    a separate process decodes are reduced there, after they have been decoded.
    """
    if not data:
        raise EmptyImageError("The file is empty. Choose an image and send it again.")
    form = file_types.detect(data)
    if form is None:
        raise UnsupportedImageError(file_types.describe_unsupported(data))
    image = open_file(data, form)
    width, height = image.size
    if min_side is not None and (scale := min(width, height) // min_side) >= 2:
        _use_scaled_decoding(image, data, scale)
    limit = min(max_pixels, MAX_JPEG_2000_PIXELS) if form == "JPEG2000" else max_pixels
    pixels = count_pixels(image)
    if pixels > limit or width * height > MAX_JPEG_RATIO * max_pixels:
        cost = f", whose decoding costs as much as {pixels:,}" if pixels > width * height else ""
        raise ImageTooLargeError(
            f"The image has {width} x {height} pixels{cost}, which exceeds the limit ({limit:,}). "
            "Scale it down and send it again."
        )
    # The decoder refuses a second scan of a JPEG whose first scan has all components.
    is_scanned = form == "JPEG" and completeness.has_partial_scans(data)
    scans = completeness.count_jpeg_scans(data) if is_scanned else 0
    if scans * width * height > MAX_SCANNED_PIXELS:
        raise ImageTooLargeError(
            "The JPEG has too many scans and would take too long to decode. Save it again and "
            "send the new file."
        )
    return image


def _use_scaled_decoding(image: Image.Image, data: bytes, scale: int) -> None:
    """Set an opened image to be decoded at 1 / 2^n, at least 1 / `scale`, if its format allows."""
    if image.format == "JPEG":
        image.info[FULL_SIZE] = image.size
        image.draft(None, (image.width // scale, image.height // scale))
    elif isinstance(image, IsolatedImage):
        image.halvings = scale.bit_length() - 1
        image.info[FULL_SIZE] = image.size
        if image.format == "JPEG2000":
            image.halvings = min(image.halvings, completeness.count_jpeg_2000_halvings(data))
            image.info[DIVISOR] = 2**image.halvings


def _coefficient_bytes(image: Image.Image, data: bytes) -> int:
    """Return the bytes of the coefficients that the decoder of a JPEG keeps between scans."""
    layers: list[tuple[int, int, int, int]] = getattr(image, "layer", [])
    sampling = [across * down for _, across, down, _ in layers]
    if not sampling or not completeness.has_partial_scans(data):
        return 0
    return math.ceil(2 * image.width * image.height * sum(sampling) / max(1, *sampling))


class BoundedFile(io.BytesIO):
    """A file that raises BrokenImageError after MAX_READS reads.

    Pillow parses the segments of a file in Python: millions of empty ones would take minutes.
    """

    _reads = 0

    def read(self, size: int | None = -1, /) -> bytes:
        self._reads += 1
        if self._reads > MAX_READS:
            raise failures.segments_error()
        return super().read(size)


_ALWAYS_KEPT: Final = property(lambda _: 0, lambda _, __: None)


@lru_cache
def _plugin(form: str) -> Callable[[io.BytesIO], ImageFile.ImageFile]:
    """Return Pillow's class for a format. Rare formats are imported when one is first sent."""
    plugin: Any = pkgutil.resolve_name(_PLUGINS[form])
    if form in ("BMP", "ICO", "PPM"):
        from backend.inference.images import fast_decoders

        fast_decoders.register()
    if form == "GIF":  # The area that the second frame would replace is allocated with the first.
        plugin = type("FirstFrameGif", (plugin,), {"disposal_method": _ALWAYS_KEPT})
    # An image is decoded in one thread, because several images are decoded at the same time.
    if form == "AVIF":
        from PIL import AvifImagePlugin

        AvifImagePlugin.DEFAULT_MAX_THREADS = 1
    elif form == "HEIF":
        from pi_heif import options

        options.DECODE_THREADS = 1
        options.THUMBNAILS = options.DEPTH_IMAGES = options.AUX_IMAGES = False
    return cast(Callable[[io.BytesIO], ImageFile.ImageFile], plugin)


def open_file(data: bytes, form: str) -> Image.Image:
    """Read the header of a file of the format `form`, in a separate process if it needs one."""
    return IsolatedImage(data, form) if form in ISOLATED_FORMATS else parse_file(data, form)


def parse_file(data: bytes, form: str) -> Image.Image:
    """Read the header of a file of the format `form` in this process."""
    if form == "HEIF" and not media_boxes.are_item_types_text(data):
        raise failures.broken_error()
    try:
        if form == "ICO" and (content := _png_of_icon(data)):
            return open_file(content, "PNG")
        image = _open_with_plugin(data, form)
    except DECODE_ERRORS as error:
        raise _opening_error(data, form) from error
    if image.mode == "P" and image.palette is None:  # Pillow fails an assertion on such an image
        raise _opening_error(data, form)
    if form == "JPEG":
        image.info[EXTRA_BYTES] = _coefficient_bytes(image, data)
        # One block, not 64 kB: between blocks, the decoder's thread waits for the interpreter lock.
        setattr(image, "decodermaxblock", len(data))  # noqa: B010 (only ImageFile declares it)
    elif form == "PPM":
        image.info[EXTRA_BYTES] = _TEXT_COPIES * len(data) if data[1:2] in b"123" else 0
    elif form == "PNG":
        image.info["cicp"] = png.read_cicp(data)
    elif form == "AVIF":
        image.info["cicp"] = media_boxes.read_nclx(data)
    elif form == "HEIF" and (nclx := image.info.get("nclx_profile")):
        image.info["cicp"] = (nclx["color_primaries"], nclx["transfer_characteristics"])
    return image


def _open_with_plugin(data: bytes, form: str) -> ImageFile.ImageFile:
    try:
        return _plugin(form)(BoundedFile(data))
    except Image.DecompressionBombError as error:
        raise ImageTooLargeError(
            "The image has too many pixels. Scale it down and send it again."
        ) from error
    except DECODE_ERRORS:
        if form != "PNG":
            raise
        return _plugin(form)(BoundedFile(without_damaged_metadata(data)))


def without_damaged_metadata(data: bytes) -> bytes:
    try:
        return png.remove_damaged_metadata(data)
    except png.TooManyChunksError as error:
        raise failures.segments_error() from error


def _png_of_icon(data: bytes) -> bytes | None:
    """Return the PNG file of the largest image of an icon; None if it is a bitmap.

    Pillow decodes icons when it opens them, so the size of the bitmap is checked here.
    """
    from PIL import IcoImagePlugin

    if int.from_bytes(data[4:6], "little") > MAX_ICON_IMAGES:
        raise failures.segments_error()
    entry = IcoImagePlugin.IcoFile(BoundedFile(data)).entry[0]
    content = data[entry.offset : entry.offset + entry.size]
    if content.startswith(png.SIGNATURE):
        return content
    width, height = struct.unpack_from("<ii", content, 4)
    if not (0 < width <= MAX_ICON_SIDE and 0 < height <= 2 * MAX_ICON_SIDE):  # with the mask
        raise ImageTooLargeError(
            f"The icon contains a bitmap of more than {MAX_ICON_SIDE} x {MAX_ICON_SIDE} pixels. "
            "Export it as PNG and send that."
        )
    return None


def _opening_error(data: bytes, form: str) -> Exception:
    if completeness.ends_early(data, form):
        return failures.truncated_error()
    if form in _PARTLY_SUPPORTED:
        return UnsupportedImageError(
            f"This kind of {_PARTLY_SUPPORTED[form]} file{file_types.describe_variant(data)} is "
            "not supported. Export the image as PNG or JPEG."
        )
    return failures.broken_error()
