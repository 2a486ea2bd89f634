"""Find the ink in a picture: which pixels somebody wrote, whatever the paper, pen and light.

`find_ink` turns any picture into an `Ink`: how inked each pixel is (0 paper, 1 full stroke) and
the box around what was written. It imports numpy and Pillow only.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops, ImageFilter

from backend.inference.preprocessing.morphology import INKED, Box, main_strokes, thicken, thin
from backend.inference.preprocessing.page_detection import SMALLEST, page_inside
from backend.inference.preprocessing.ruled_lines import unrule

WORK_SIDE = 192  # longest side of the picture that is searched, in pixels
RULED_SIDE = 64  # smaller pictures are a digit and little else: no ruled paper is expected
SMOOTH = 12.0  # levels of 255 that paper in smooth light may stray from a quadratic surface
FINE_SIDE = 96  # a digit smaller than this is looked at again, closer, where there is detail
PAGES = 3  # a page in a frame in a picture of a desk

_LEVELS = np.arange(256)
_RIDGE = 1e-3 * np.eye(6)  # keeps the fit of light defined where few pixels are paper

Field = NDArray[np.float32]


@dataclass(frozen=True)
class Ink:
    """Ink of shape (H, W), float32 in [0, 1], and the `box` (left, top, right, bottom) of it.

    It `leans_in` where much of it lies on the picture's border, as a shadow does; it is `rough`
    where the light was uneven.
    """

    field: Field
    box: Box
    leans_in: bool
    rough: bool


def find_ink(image: Image.Image, min_contrast: float, depth: int = PAGES) -> Ink | None:
    """Return the ink of a picture of any size and mode, or None where nothing is written.

    `min_contrast` (levels of 255) is how far ink has to differ from its paper; a sheet or frame
    is looked into up to `depth` times.
    """
    whole = image
    image, ink = _look(whole, min_contrast)
    if ink is None:
        return None
    left, top, right, bottom = ink.box
    framing = depth and min(right - left, bottom - top) >= SMALLEST
    page = page_inside(ink.field >= INKED, image) if framing else None
    if page is None and depth and ink.rough and min(whole.size) >= RULED_SIDE:
        page = page_inside(_light(whole), whole)
    written = None if page is None else find_ink(page, min_contrast, depth - 1)
    return written or ink


def _look(image: Image.Image, min_contrast: float) -> tuple[Image.Image, Ink | None]:
    """The ink of a picture, or of the part of it where there is any, and that part."""
    reduced, factor = _reduce(image)
    ink = _extract(reduced, min_contrast)
    if ink is None or factor == 1:
        return image, ink
    left, top, right, bottom = ink.box
    side = max(right - left, bottom - top)
    if side >= FINE_SIDE:
        return image, ink
    margin = max(4, round(0.3 * side))
    outer = (
        max(0, left - margin) * factor,
        max(0, top - margin) * factor,
        min(image.width, (right + margin) * factor),
        min(image.height, (bottom + margin) * factor),
    )
    closer = image.crop(outer)
    found = _extract(_reduce(closer)[0], min_contrast)
    return (image, ink) if found is None else (closer, found)


def _light(image: Image.Image) -> NDArray[np.bool_]:
    """What is lighter than the rest, such as a sheet in light too uneven for one desk."""
    grey = np.asarray(_reduce(image)[0].convert("L"), dtype=np.float32)
    light = grey > _levels(grey)[0]
    # Paper in a shadow is not so dark: what is written there belongs to the same page.
    dark = float(np.quantile(grey[~light], 0.75)) < 0.55 * float(grey.max())
    return light if dark else np.zeros_like(light)


def _reduce(image: Image.Image) -> tuple[Image.Image, int]:
    factor = -(-max(image.size) // WORK_SIDE)
    if factor <= 1:
        return image, 1
    # A line 10,000 pixels long and one thick keeps its pixel.
    return image.reduce((min(factor, image.width), min(factor, image.height))), factor


def _extract(image: Image.Image, min_contrast: float) -> Ink | None:
    grey = _grey(image)
    low, high = int(grey.min()), int(grey.max())
    if high - low < min_contrast:
        return None
    height, width = grey.shape
    edge = np.concatenate(_edges(grey))
    edge.sort()
    quartile = len(edge) // 4
    paper = int(edge[2 * quartile])
    spread = int(edge[-1 - quartile]) - int(edge[quartile])
    large_enough = min(height, width) >= 16
    if large_enough and spread > 0.1 * (high - low):
        return _scale(_flatten(grey), min_contrast, rough=True)
    if high - paper == paper - low or spread > 0.5 * (high - low):
        # The edge cannot tell: what is written covers less than half of the picture.
        paper = int(np.median(grey))
    raised = np.subtract(grey, paper, dtype=np.float32)
    if paper - low > high - paper:
        np.negative(raised, out=raised)
    ink = _scale(raised, min_contrast, rough=False)
    if ink is not None and ink.leans_in and large_enough:
        # A shadow perhaps, or the end of the sheet, taken for ink.
        flat = _scale(_flatten(grey), min_contrast, rough=True)
        return ink if flat is None or flat.leans_in else flat
    return ink


def _scale(raised: Field, min_contrast: float, rough: bool) -> Ink | None:
    """Set paper to 0 and full stroke to 1, drop rules and specks, and box what is left."""
    np.maximum(raised, 0, out=raised)
    if min(raised.shape) >= RULED_SIDE:
        unrule(raised, min_contrast)
        unrule(raised.T, min_contrast)
    cut, full = _levels(raised)
    if full < min_contrast:
        return None
    floor = 0.06 * full
    if rough:
        floor = max(floor, _noise(raised, cut))
        if full < 2 * floor:
            return None
    raised -= floor
    raised *= 1.0 / (full - floor)
    np.maximum(raised, 0, out=raised)
    np.minimum(raised, 1, out=raised)
    found = main_strokes(raised)
    return None if found is None else Ink(*found, rough)


def _grey(image: Image.Image) -> NDArray[np.uint8]:
    """One channel in which ink and paper differ most, uint8 (H, W)."""
    if image.mode == "L":
        return pixels_of(image)
    if image.mode != "RGB":
        image = image.convert("RGB")
    data = image.tobytes()
    red, green, blue = data[::3], data[1::3], data[2::3]
    if max(_apart(red, green), _apart(green, blue)) < 24:
        return np.frombuffer(green, dtype=np.uint8).reshape(image.height, image.width)
    pixels = np.frombuffer(data, dtype=np.uint8).reshape(image.height, image.width, 3)
    edge = np.concatenate(_edges(pixels))
    away = pixels.astype(np.float32) - np.median(edge, axis=0).astype(np.float32)
    far = _largest(np.abs(away))
    towards = away[far >= 0.6 * far.max()].mean(axis=0)
    length = float(np.linalg.norm(towards))
    if length < 24:  # as much lighter as darker: no one direction leads from paper to ink
        return pixels_of(image.convert("L"))
    along = away @ (towards / length)
    # Dark is ink, as on paper; what is lighter than the paper's own median is still paper.
    grey: NDArray[np.uint8] = np.clip(215 - along, 0, 255).astype(np.uint8)
    return grey


def pixels_of(image: Image.Image) -> NDArray[np.uint8]:
    """The pixels of a picture of mode L, uint8 (H, W), read-only."""
    return np.frombuffer(image.tobytes(), dtype=np.uint8).reshape(image.height, image.width)


def _apart(one: bytes, other: bytes) -> int:
    """The largest difference between two channels; that of a grey picture costs next to nothing."""
    if one == other:
        return 0
    first, second = np.frombuffer(one, dtype=np.uint8), np.frombuffer(other, dtype=np.uint8)
    return int((np.maximum(first, second) - np.minimum(first, second)).max())


def _largest(values: Field) -> Field:
    """The largest of three channels: (H, W, 3) -> (H, W)."""
    first, second, third = values.transpose(2, 0, 1)
    largest: Field = np.maximum(np.maximum(first, second), third)
    return largest


def _flatten(grey: NDArray[np.uint8]) -> Field:
    """Remove uneven light: what rises above its surroundings, float32 (H, W), ink positive."""
    picture = Image.fromarray(grey)
    smooth = picture.filter(ImageFilter.BoxBlur(max(1, min(grey.shape) / 8)))
    rise = np.subtract(grey, pixels_of(smooth), dtype=np.float32)
    if float((rise * rise * rise).sum()) < 0:  # strokes are narrow: the longer tail is theirs
        picture = ImageChops.invert(picture)
    small = picture.reduce(max(1, -(-max(grey.shape) // 48)))
    light = _smooth_light(pixels_of(small).astype(np.float32))
    paper = Image.fromarray(light) if light is not None else _shaded_paper(small)
    large = paper.resize(picture.size, Image.Resampling.BILINEAR)
    raised: Field = np.subtract(pixels_of(picture), np.asarray(large), dtype=np.float32)
    return raised


def _smooth_light(values: Field) -> Field | None:
    """Fit a quadratic surface to the paper below the ink; None where light has an edge."""
    terms = _quadratic(*values.shape)
    flat = values.ravel()
    kept = np.ones(len(flat), dtype=bool)
    rest = flat
    for _ in range(5):
        chosen = terms.compress(kept, axis=0)
        fit = np.linalg.solve(chosen.T @ chosen + _RIDGE, chosen.T @ flat[kept])
        rest = flat - terms @ fit.astype(np.float32)
        kept = rest <= max(3.0, 1.5 * float(np.median(np.abs(rest))))
    shadows = thin(rest.reshape(values.shape), max(values.shape) // 7)
    stray = max(SMOOTH, 0.1 * float(np.ptp(values)))
    if float(shadows.max()) > stray or float(np.quantile(rest, 0.02)) < -stray:
        return None
    return (flat - rest).reshape(values.shape)


@lru_cache(maxsize=32)
def _quadratic(height: int, width: int) -> Field:
    """The terms of a quadratic in x and y from -1 to 1: (H * W, 6)."""
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j].astype(np.float32)
    return np.stack((np.ones_like(x), x, y, x * x, x * y, y * y), axis=-1).reshape(-1, 6)


def _shaded_paper(small: Image.Image) -> Image.Image:
    """The paper behind the ink where shadows have edges: an opening, wider than any stroke."""
    reach = max(small.size) // 8
    # One cell more than was eroded: the soft edge of a shadow stays below the paper's level.
    opened = thicken(thin(pixels_of(small), reach), reach + 1)
    return Image.fromarray(opened).filter(ImageFilter.GaussianBlur(0.5))


def _edges(values: NDArray[Any]) -> tuple[NDArray[Any], ...]:
    return values[0], values[-1], values[:, 0], values[:, -1]


def _levels(raised: Field) -> tuple[float, float]:
    """The level that parts paper from ink (Otsu 1979) and that of a full stroke."""
    counts = np.bincount(raised.astype(np.uint8).ravel(), minlength=256)
    seen = counts.nonzero()[0]
    lowest, highest = int(seen[0]), int(seen[-1])
    if lowest == highest:
        return float(lowest), float(lowest)
    below, mass = counts.cumsum(), (counts * _LEVELS).cumsum()
    total, whole = int(below[-1]), int(mass[-1])
    darker, weight = below[lowest:highest], mass[lowest:highest]
    apart = np.square(whole * darker - total * weight, dtype=np.float64)
    cut = lowest + int((apart / (darker * (total - darker))).argmax())
    inked = below[cut + 1 :] - below[cut]
    full = cut + 1 + int(inked.searchsorted(0.8 * inked[-1]))
    return float(cut), float(full)


def _noise(raised: Field, cut: float) -> float:
    """How far paper strays from itself: three times its spread (levels of 255)."""
    paper = raised[raised <= cut]
    return float(paper.mean() + 2.5 * paper.std()) if paper.size else 0.0
