"""Thumbnails of images, for reports and for the frontend."""

import base64
import io
from functools import lru_cache
from typing import Final

from PIL import Image, ImageCms, ImageOps

MAX_SIDE: Final = 96  # px
MAX_PIXELS: Final = 50_000_000  # larger images are not decoded; the backend's default limit

Color = tuple[int, int, int]
WHITE: Final[Color] = (255, 255, 255)

_PNG_SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
_PNG_PIXELS: Final = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")


def create_thumbnail(
    content: bytes, max_side: int = MAX_SIDE, background: Color = WHITE
) -> bytes | None:
    """Return an upright RGB PNG in sRGB of at most `max_side` x `max_side` px.

    Transparent pixels show the `background`. Return None if the image cannot be decoded.
    """
    _register_heif()
    for readable in (content, _without_metadata(content)):
        try:
            return _encode(readable, max_side, background)
        except Exception:  # noqa: S112 (Pillow raises a dozen types; a thumbnail is optional)
            continue
    return None


def create_thumbnail_uri(content: bytes) -> str | None:
    """Return a thumbnail on white as a data URI, or None if the image cannot be decoded."""
    png = create_thumbnail(content)
    if png is None:
        return None
    return "data:image/png;base64," + base64.b64encode(png).decode()


def convert_to_8_bit(image: Image.Image) -> Image.Image:
    """Scale 16-bit or float gray to 8 bits; Pillow would clip values above 255."""
    if image.mode == "F":
        peak = max(float(image.getextrema()[1]), 1.0)  # type: ignore[arg-type]
        return image.point(lambda value: value * (255 / peak)).convert("L")
    if image.mode.startswith("I"):
        return image.convert("I").point(lambda value: value * (1 / 256)).convert("L")
    return image


def _encode(content: bytes, max_side: int, background: Color) -> bytes | None:
    with Image.open(io.BytesIO(content)) as image:
        image.draft("RGB", (max_side, max_side))
        if image.width * image.height > MAX_PIXELS:
            return None
        profile = image.info.get("icc_profile")
        small = convert_to_8_bit(image)
        mode = "RGBA" if small.has_transparency_data else "RGB"
        if small.mode != mode and not (small.mode == "CMYK" and profile):
            small = small.convert(mode)
        small.thumbnail((max_side, max_side))  # before turning it, which copies the image
        small = _to_srgb(ImageOps.exif_transpose(small), profile)
    if small.mode == "RGBA":
        small = Image.alpha_composite(Image.new("RGBA", small.size, background), small)
    file = io.BytesIO()
    # Without a profile: the pixels are in sRGB.
    small.convert("RGB").save(file, "PNG", icc_profile=None)
    return file.getvalue()


def _to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    if not profile:
        return image
    mode = "RGBA" if image.mode == "RGBA" else "RGB"
    try:
        source, srgb = ImageCms.ImageCmsProfile(io.BytesIO(profile)), ImageCms.createProfile("sRGB")
        return ImageCms.profileToProfile(image, source, srgb, outputMode=mode) or image
    except (ImageCms.PyCMSError, OSError, ValueError):  # a damaged profile, or of another mode
        return image


def _without_metadata(content: bytes) -> bytes:
    """Return a PNG without its metadata, or a JPEG with an end marker: either may be damaged."""
    if not content.startswith(_PNG_SIGNATURE):
        return content + b"\xff\xd9"
    parts, start = [_PNG_SIGNATURE], len(_PNG_SIGNATURE)
    while start + 12 <= len(content):
        end = start + 12 + int.from_bytes(content[start : start + 4], "big")
        if content[start + 4 : start + 8] in _PNG_PIXELS:
            parts.append(content[start:end])
        start = end
    return b"".join(parts)


@lru_cache(maxsize=1)
def _register_heif() -> None:
    """Let Pillow open HEIC files."""
    from pi_heif import register_heif_opener

    register_heif_opener(decode_threads=1, thumbnails=False, depth_images=False, aux_images=False)
