"""Images with transparency -> RGB, on a background that shows what is drawn."""

from typing import Final, cast

import numpy as np
from PIL import Image, ImageFilter

_ANALYZED_SIDE: Final = 192  # longest side, in pixels, of the copy that the background depends on
_SOLID: Final = 0.8  # share of the largest alpha; pixels with less are shadows and soft edges
_LIGHT: Final = 192  # gray level from which a pixel counts as light
_MAX_DARK_SHARE: Final = 0.01  # of the pixels of a light drawing
_MAX_DARK_CORE: Final = 0.3  # of the inner half of light strokes; thick outlines meet inside
_MAX_STROKE_WIDTH: Final = 0.25  # share of the drawing's longer side; wider shapes are sheets


def flatten(image: Image.Image) -> Image.Image:
    """Composite an image with transparency on white, or on black if the drawing is light.

    An outline around the drawing and its shadow do not count.
    """
    rgba = _to_rgba(image)
    alpha = rgba.getchannel("A")
    low, high = alpha.getextrema()
    if low == 255:
        return rgba.convert("RGB")
    flat = Image.new("RGB", rgba.size, "black" if high and _is_light_drawing(rgba) else "white")
    flat.paste(rgba, mask=alpha)
    return flat


def _to_rgba(image: Image.Image) -> Image.Image:
    transparent = image.info.get("transparency")
    if image.mode == "I;16" and isinstance(transparent, int):
        values = np.asarray(image)
        gray = Image.fromarray((values / 257 + 0.5).astype(np.uint8))
        alpha = Image.fromarray(np.where(values == transparent, np.uint8(0), np.uint8(255)))
        return Image.merge("RGBA", (gray, gray, gray, alpha))
    if isinstance(transparent, tuple) and max(transparent) > 255:
        # The transparent color of 48 bits; Pillow reduces only the pixels to 24 bits.
        image = image.copy()
        image.info["transparency"] = tuple(level >> 8 for level in transparent)
    return image.convert("RGBA")


def _is_light_drawing(image: Image.Image) -> bool:
    """Return whether all solid pixels are light, apart from an outline."""
    width, height = image.size
    shrink = max(1.0, max(width, height) / _ANALYZED_SIDE)
    if shrink > 1:
        size = (max(1, round(width / shrink)), max(1, round(height / shrink)))
        image = image.resize(size, Image.Resampling.NEAREST)
    alpha = image.getchannel("A")
    _, highest = cast(tuple[float, float], alpha.getextrema())
    threshold = max(1.0, _SOLID * highest)
    solid = alpha.point(lambda level: 255 if level >= threshold else 0)
    gray = image.convert("L")
    dark_share = _dark_share(gray, solid)
    if not _MAX_DARK_SHARE < dark_share < 1 - _MAX_DARK_SHARE:
        return dark_share <= _MAX_DARK_SHARE
    area = solid.histogram()[255]
    outline = area - _erode(solid, 1).histogram()[255]
    stroke_width = 2 * area / max(1, outline)
    core = _erode(solid, max(1, round(stroke_width / 4)))
    left, top, right, bottom = solid.getbbox() or (0, 0, 0, 0)
    is_stroke = stroke_width < _MAX_STROKE_WIDTH * max(right - left, bottom - top)
    if not core.getbbox():
        return False
    return _dark_share(gray, core) <= (_MAX_DARK_CORE if is_stroke else _MAX_DARK_SHARE)


def _erode(mask: Image.Image, radius: int) -> Image.Image:
    means = mask.filter(ImageFilter.BoxBlur(radius))
    return means.point(lambda level: 255 if level == 255 else 0)


def _dark_share(gray: Image.Image, mask: Image.Image) -> float:
    """Return the share of pixels in `mask` that are darker than _LIGHT."""
    histogram = gray.histogram(mask)
    return sum(histogram[:_LIGHT]) / max(1, sum(histogram))
