"""Segmentation of the strokes of a digit from paper, for any paper, pen and lighting.

`find_strokes` returns the amount of ink of each pixel (0 paper, 1 full stroke) and the box around
the strokes.
"""

import math
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops, ImageFilter

from backend.inference.preprocessing import morphology
from backend.inference.preprocessing.morphology import Box, dilate, erode, remove_specks
from backend.inference.preprocessing.page_detection import MIN_PAGE_SIDE, find_page
from backend.inference.preprocessing.ruled_lines import remove_ruled_lines

WORK_SIDE = 192  # longest side of the image that is searched, in pixels
STRIP_SIDE = 48  # pixels; more would not be needed to find a digit in a wide, low image
MIN_RULED_SIDE = 64  # smaller images are cropped to the digit and show no ruled paper
MAX_LIGHT_RESIDUAL = 12.0  # levels of 255 between paper in smooth light and a quadratic surface
FINE_SIDE = 96  # a digit with fewer pixels is searched again at a higher resolution, if available
MAX_PAGES = 3  # nested pages: a page in a frame in a photo of a desk

_GRAY_LEVELS = np.arange(256)
_RIDGE = 1e-3 * np.eye(6)  # keeps the fit of the light defined if few pixels are paper

Field = NDArray[np.float32]


@dataclass(slots=True)
class Strokes:
    """The strokes found in an image."""

    ink: Field  # amount of ink of each pixel, float32 of shape (H, W) in [0, 1]
    box: Box
    touches_border: bool  # much of the main stroke lies on the border, as a shadow does
    has_uneven_light: bool  # which was removed
    clutter: float  # mean contrast outside the strokes, relative to theirs; 0 on plain paper
    area: Box = (0, 0, 0, 0)  # of the searched image, in its pixels, that `ink` covers


def find_strokes(
    image: Image.Image, min_contrast: float, max_pages: int = MAX_PAGES
) -> Strokes | None:
    """Return the strokes in an image of any size and mode, or None if nothing is written.

    Ink has to differ from its paper by at least `min_contrast` levels of 255. Up to `max_pages`
    nested sheets or frames are cropped.
    """
    strokes = _find_at_best_resolution(image, min_contrast)
    if strokes is None:
        return None
    left, top, right, bottom = strokes.box
    found = None
    if max_pages and min(right - left, bottom - top) >= MIN_PAGE_SIDE:
        found = find_page(strokes.ink >= morphology.INK_THRESHOLD, image, strokes.area)
    is_photo = strokes.has_uneven_light and min(image.size) >= MIN_RULED_SIDE
    if found is None and max_pages and is_photo:
        found = find_page(_light_mask(image), image, (0, 0, *image.size))
    if found is None:
        return strokes
    page, box = found
    on_page = find_strokes(page, min_contrast, max_pages - 1)
    return strokes if on_page is None else _moved(on_page, box[0], box[1])


def _moved(strokes: Strokes, x: int, y: int) -> Strokes:
    left, top, right, bottom = strokes.area
    strokes.area = (left + x, top + y, right + x, bottom + y)
    return strokes


def _find_at_best_resolution(image: Image.Image, min_contrast: float) -> Strokes | None:
    """Return the strokes, from a crop of the image if they are small."""
    reduced, factor = _reduce(image)
    strokes = _segment(reduced, min_contrast)
    if strokes is None:
        return None
    strokes.area = (0, 0, *image.size)
    if factor == 1:
        return strokes
    left, top, right, bottom = strokes.box
    side = max(right - left, bottom - top)
    if side >= FINE_SIDE:
        return strokes
    margin = max(4, round(0.3 * side))
    outer = (
        max(0, left - margin) * factor,
        max(0, top - margin) * factor,
        min(image.width, (right + margin) * factor),
        min(image.height, (bottom + margin) * factor),
    )
    fine_strokes = _segment(_reduce(image.crop(outer))[0], min_contrast)
    if fine_strokes is None:
        return strokes
    fine_strokes.area, fine_strokes.clutter = outer, strokes.clutter
    return fine_strokes


def _light_mask(image: Image.Image) -> NDArray[np.bool_]:
    """Return the pixels lighter than the rest, such as a sheet on a dark desk."""
    gray = np.asarray(_reduce(image)[0].convert("L"), dtype=np.float32)
    light = gray > _ink_levels(gray)[0]
    # Paper in a shadow is lighter than this; it belongs to the same page.
    is_dark = float(np.quantile(gray[~light], 0.75)) < 0.55 * float(gray.max())
    return light if is_dark else np.zeros_like(light)


def _reduce(image: Image.Image) -> tuple[Image.Image, int]:
    """Return the image with about WORK_SIDE pixels a side, and the factor of reduction.

    A strip keeps STRIP_SIDE pixels of its shorter side, within the same number of pixels.
    """
    shorter, longer = sorted(image.size)
    factor = -(-longer // WORK_SIDE)
    if factor * STRIP_SIDE > shorter:
        for_area = math.ceil(math.sqrt(shorter * longer) / WORK_SIDE)
        factor = min(factor, max(for_area, shorter // STRIP_SIDE))
    if factor <= 1:
        return image, 1
    # A line of 10,000 x 1 pixels keeps its single pixel of width.
    return image.reduce((min(factor, image.width), min(factor, image.height))), factor


def _segment(image: Image.Image, min_contrast: float) -> Strokes | None:
    gray = _to_gray(image)
    low, high = int(gray.min()), int(gray.max())
    if high - low < min_contrast:
        return None
    height, width = gray.shape
    edge = np.concatenate(_edges(gray))
    edge.sort()
    quartile = len(edge) // 4
    paper = int(edge[2 * quartile])
    spread = int(edge[-1 - quartile]) - int(edge[quartile])
    is_large = min(height, width) >= 16
    is_filled = partial(_fills_even_paper, gray, edge, low, high)
    if is_large and spread > 0.1 * (high - low) and not is_filled():
        return _threshold(_remove_uneven_light(gray), min_contrast, has_uneven_light=True)
    if high - paper == paper - low or spread > 0.5 * (high - low):
        # The edge is ambiguous. Ink covers less than half of the image, so use the median.
        paper = int(np.median(gray))
    contrast = np.subtract(gray, paper, dtype=np.float32)
    if paper - low > high - paper:
        np.negative(contrast, out=contrast)
    strokes = _threshold(contrast, min_contrast, has_uneven_light=False)
    if strokes is not None and strokes.touches_border and is_large and not is_filled():
        # This may be a shadow or the edge of the sheet.
        even = _threshold(_remove_uneven_light(gray), min_contrast, has_uneven_light=True)
        return strokes if even is None or even.touches_border else even
    return strokes


def _fills_even_paper(
    gray: NDArray[np.uint8], edge: NDArray[np.uint8], low: int, high: int
) -> bool:
    """Return whether a digit on even paper reaches the edges of the image.

    `edge` is sorted. Even paper has one level, the lightest or the darkest of the image. What
    reaches the edges has full contrast, unlike a shadow.
    """
    tolerance = max(1, round(0.02 * (high - low)))
    farthest = len(edge) // 64
    for paper, strongest in ((high, edge[farthest]), (low, edge[-1 - farthest])):
        on_edge = np.count_nonzero(np.abs(edge.astype(np.int16) - paper) <= tolerance)
        if on_edge >= 0.4 * len(edge):
            flat = np.count_nonzero(np.abs(gray.astype(np.int16) - paper) <= tolerance)
            has_ink = abs(int(strongest) - paper) >= 0.8 * (high - low)
            return has_ink and bool(flat >= 0.25 * gray.size)
    return False


def _threshold(contrast: Field, min_contrast: float, *, has_uneven_light: bool) -> Strokes | None:
    """Scale paper to 0 and full strokes to 1, and remove ruled lines and specks."""
    is_large = min(contrast.shape) >= MIN_RULED_SIDE
    total = -_sum(contrast) if is_large else 0.0
    np.maximum(contrast, 0, out=contrast)
    if is_large:
        # Contrast of both signs: a photograph also has pixels that are lighter than the "paper".
        darker = _sum(contrast)
        total += 2 * darker
        if remove_ruled_lines(contrast, min_contrast):
            total -= darker - _sum(contrast)
    cut, full = _ink_levels(contrast)
    if full < min_contrast:
        return None
    floor = 0.06 * full
    if has_uneven_light:
        floor = max(floor, _paper_noise(contrast, cut))
        if full < 2 * floor:
            return None
    contrast -= floor
    contrast *= 1.0 / (full - floor)
    np.maximum(contrast, 0, out=contrast)
    np.minimum(contrast, 1, out=contrast)
    found = remove_specks(contrast)
    if found is None:
        return None
    clutter = (total / full - _sum(found[0])) / contrast.size if is_large else 0.0
    return Strokes(*found, has_uneven_light, clutter)


def _sum(values: Field) -> float:
    return float(np.add.reduce(values, axis=None))


def _to_gray(image: Image.Image) -> NDArray[np.uint8]:
    """Return one channel in which ink and paper differ most, uint8 (H, W)."""
    if image.mode == "L":
        return gray_pixels(image)
    if image.mode != "RGB":
        image = image.convert("RGB")
    data = image.tobytes()
    red, green, blue = data[::3], data[1::3], data[2::3]
    if max(_max_difference(red, green), _max_difference(green, blue)) < 24:
        return np.frombuffer(green, dtype=np.uint8).reshape(image.height, image.width)
    pixels = np.frombuffer(data, dtype=np.uint8).reshape(image.height, image.width, 3)
    edge = np.concatenate(_edges(pixels))
    from_paper = pixels.astype(np.float32) - np.median(edge, axis=0).astype(np.float32)
    distance = _max_channel(np.abs(from_paper))
    direction = from_paper[distance >= 0.6 * distance.max()].mean(axis=0)
    length = float(np.linalg.norm(direction))
    if length < 24:  # no single direction leads from paper to ink: some is lighter, some darker
        return gray_pixels(image.convert("L"))
    projection = from_paper @ (direction / length)
    # Ink becomes dark; pixels lighter than the median of the paper stay paper.
    projection *= min(1.0, 215 / float(projection.max()))
    gray: NDArray[np.uint8] = np.minimum(215 - projection, 255).astype(np.uint8)
    return gray


def gray_pixels(image: Image.Image) -> NDArray[np.uint8]:
    """Return the pixels of an image of mode L, uint8 (H, W), read-only."""
    return np.frombuffer(image.tobytes(), dtype=np.uint8).reshape(image.height, image.width)


def _max_difference(one: bytes, other: bytes) -> int:
    """Return the largest difference between two channels; gray images take a short cut."""
    if one == other:
        return 0
    first, second = np.frombuffer(one, dtype=np.uint8), np.frombuffer(other, dtype=np.uint8)
    return int((np.maximum(first, second) - np.minimum(first, second)).max())


def _max_channel(values: Field) -> Field:
    """Return the maximum of three channels: (H, W, 3) -> (H, W)."""
    first, second, third = values.transpose(2, 0, 1)
    largest: Field = np.maximum(np.maximum(first, second), third)
    return largest


def _remove_uneven_light(gray: NDArray[np.uint8]) -> Field:
    """Return the contrast to the paper under uneven light, float32 (H, W), ink positive."""
    image = Image.fromarray(gray)
    smooth = image.filter(ImageFilter.BoxBlur(max(1, min(gray.shape) / 8)))
    rise = np.subtract(gray, gray_pixels(smooth), dtype=np.float32)
    # Strokes are narrow, so they are the longer tail of the distribution.
    if float((rise * rise * rise).sum()) < 0:
        image = ImageChops.invert(image)
    small = image.reduce(max(1, -(-max(gray.shape) // 48)))
    light = _fit_smooth_light(gray_pixels(small).astype(np.float32))
    paper = Image.fromarray(light) if light is not None else _estimate_shaded_paper(small)
    large = paper.resize(image.size, Image.Resampling.BILINEAR)
    contrast: Field = np.subtract(gray_pixels(image), np.asarray(large), dtype=np.float32)
    return contrast


def _fit_smooth_light(values: Field) -> Field | None:
    """Fit a quadratic surface to the paper; return None if a shadow has an edge."""
    terms = _quadratic_terms(*values.shape)
    flat = values.ravel()
    is_paper = np.ones(len(flat), dtype=bool)
    residual = flat
    for _ in range(5):
        paper_terms = terms.compress(is_paper, axis=0)
        fit = np.linalg.solve(paper_terms.T @ paper_terms + _RIDGE, paper_terms.T @ flat[is_paper])
        residual = flat - terms @ fit.astype(np.float32)
        is_paper = residual <= max(3.0, 1.5 * float(np.median(np.abs(residual))))
    shadows = erode(residual.reshape(values.shape), max(values.shape) // 7)
    tolerance = max(MAX_LIGHT_RESIDUAL, 0.1 * float(np.ptp(values)))
    if float(shadows.max()) > tolerance or float(np.quantile(residual, 0.02)) < -tolerance:
        return None
    return (flat - residual).reshape(values.shape)


@lru_cache(maxsize=32)
def _quadratic_terms(height: int, width: int) -> Field:
    """Return the terms of a quadratic in x and y from -1 to 1: (H * W, 6)."""
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j].astype(np.float32)
    return np.stack((np.ones_like(x), x, y, x * x, x * y, y * y), axis=-1).reshape(-1, 6)


def _estimate_shaded_paper(small: Image.Image) -> Image.Image:
    """Return the paper under shadows with edges: an opening, wider than any stroke."""
    radius = max(small.size) // 8
    # Dilate by one pixel more than the erosion: soft edges of shadows stay below the paper's level.
    opened = dilate(erode(gray_pixels(small), radius), radius + 1)
    return Image.fromarray(opened).filter(ImageFilter.GaussianBlur(0.5))


def _edges(values: NDArray[Any]) -> tuple[NDArray[Any], ...]:
    return values[0], values[-1], values[:, 0], values[:, -1]


def _ink_levels(contrast: Field) -> tuple[float, float]:
    """Return the level that separates paper from ink (Otsu 1979) and that of a full stroke."""
    counts = np.bincount(contrast.astype(np.uint8).ravel(), minlength=256)
    present = counts.nonzero()[0]
    lowest, highest = int(present[0]), int(present[-1])
    if lowest == highest:
        return float(lowest), float(lowest)
    below, mass = counts.cumsum(), (counts * _GRAY_LEVELS).cumsum()
    total, total_mass = int(below[-1]), int(mass[-1])
    darker, weight = below[lowest:highest], mass[lowest:highest]
    variance = np.square(total_mass * darker - total * weight, dtype=np.float64)
    cut = lowest + int((variance / (darker * (total - darker))).argmax())
    inked = below[cut + 1 :] - below[cut]
    full = cut + 1 + int(inked.searchsorted(0.8 * inked[-1]))
    return float(cut), float(full)


def _paper_noise(contrast: Field, cut: float) -> float:
    """Return the upper bound of the paper's noise, in levels of 255: mean plus 2.5 deviations."""
    paper = contrast[contrast <= cut]
    return float(paper.mean() + 2.5 * paper.std()) if paper.size else 0.0
