"""Detection of the page in an image: a sheet on a desk, or a frame drawn around a digit.

Segmentation takes both for ink at first: a rectangle, filled or hollow, with content inside.
"""

import itertools
import math

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from backend.inference.preprocessing.morphology import Box, erode

MIN_FILL = 0.95  # share of the quadrilateral of its corners that a rectangle fills
MIN_PAGE_SIDE = 20  # pixels
MAX_FRAME_WIDTH = 0.12  # share of the shorter side; strokes are thicker
MIN_SIMILARITY = 0.87  # of a rectangle's opposite sides and of its diagonals, as a ratio of lengths
MAX_RIM_INK = 0.06  # share of the page's rim that strokes may cover

Mask = NDArray[np.bool_]


def find_page(mask: Mask, image: Image.Image, area: Box) -> tuple[Image.Image, Box] | None:
    """Return the page in `image`, cropped, and its box; None if there is no sheet or frame.

    `mask` (H, W) is the ink in the `area` of the image, at a lower resolution. The surroundings of
    the page within its box are painted in the color of the paper.
    """
    hull = _hull(mask)
    if hull is None:
        return None
    inner = _page_mask(mask, hull)
    if inner is None or not inner.any():
        return None
    rows, columns = np.flatnonzero(inner.any(axis=1)), np.flatnonzero(inner.any(axis=0))
    top, bottom, left, right = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
    height, width = mask.shape
    x, y = (area[2] - area[0]) / width, (area[3] - area[1]) / height
    box = (
        area[0] + round(left * x),
        area[1] + round(top * y),
        area[0] + round(right * x),
        area[1] + round(bottom * y),
    )
    crop = image.crop(box)
    shape = Image.fromarray(inner[top:bottom, left:right]).resize(crop.size)
    small = crop.resize((right - left, bottom - top), Image.Resampling.NEAREST)
    paper = np.median(np.asarray(small)[inner[top:bottom, left:right]], axis=0)
    page = Image.new(crop.mode, crop.size, tuple(np.atleast_1d(paper).astype(int).tolist()))
    page.paste(crop, mask=shape)
    return page, box


def _hull(mask: Mask) -> Mask | None:
    """Return the pixels between ink in both their row and column, if they form a rectangle."""
    rows, columns = mask.any(axis=1), mask.any(axis=0)
    ys, xs = np.flatnonzero(rows), np.flatnonzero(columns)
    if len(ys) < MIN_PAGE_SIDE or len(xs) < MIN_PAGE_SIDE:
        return None
    height, width = mask.shape
    first = mask.argmax(axis=1)[ys]
    last = width - mask[:, ::-1].argmax(axis=1)[ys]
    # The corners are the extreme points in the directions of the diagonals.
    a, c = int((first + ys).argmin()), int((last + ys).argmax())
    b, d = int((last - ys).argmax()), int((first - ys).argmin())
    corners = ((first[a], ys[a]), (last[b], ys[b]), (last[c], ys[c] + 1), (first[d], ys[d] + 1))
    area = _rectangle_area(corners)
    if not MIN_FILL * area <= (last - first).sum() <= area / MIN_FILL:
        return None
    upper = mask.argmax(axis=0)
    lower = height - mask[::-1].argmax(axis=0)
    y, x = np.arange(height)[:, np.newaxis], np.arange(width)
    hull = columns & (y >= upper) & (y < lower)
    hull[ys] &= (x >= first[:, np.newaxis]) & (x < last[:, np.newaxis])
    hull[~rows] = False
    return hull if np.count_nonzero(hull) >= MIN_FILL * area else None


def _rectangle_area(corners: tuple[tuple[int, int], ...]) -> float:
    """Return the area of a rectangle in slight perspective; 0 for other quadrilaterals."""
    (ax, ay), (bx, by), (cx, cy), (dx, dy) = corners
    top, bottom = math.hypot(bx - ax, by - ay), math.hypot(cx - dx, cy - dy)
    left, right = math.hypot(dx - ax, dy - ay), math.hypot(cx - bx, cy - by)
    falling, rising = math.hypot(cx - ax, cy - ay), math.hypot(dx - bx, dy - by)
    similarity = 1.0
    for one, other in ((top, bottom), (left, right), (falling, rising)):
        similarity *= min(one, other) / max(one, other, 1.0)
    if similarity < MIN_SIMILARITY:
        return 0.0
    return 0.5 * abs((cx - ax) * (dy - by) - (cy - ay) * (dx - bx))


def _page_mask(mask: Mask, hull: Mask) -> Mask | None:
    """Return the page within the hull of a sheet or frame, if its rim is free of ink."""
    side = min(int(np.ptp(np.flatnonzero(hull.any(axis=axis)))) + 1 for axis in (0, 1))
    ink_share = np.count_nonzero(mask) / np.count_nonzero(hull)
    rim = 0
    if ink_share < 0.5:
        mask = ~mask
        clear = mask & hull
        ys = np.flatnonzero(clear.any(axis=1))
        rim = int(np.median(clear[ys].argmax(axis=1) - hull[ys].argmax(axis=1)))
        if not 0 < rim <= MAX_FRAME_WIDTH * side:
            return None
    if side - 2 * (rim + 1) < MIN_PAGE_SIDE:
        return None
    # Allow soft edges, and ink one pixel from the edge.
    inside = [_shrink(hull, rim)]
    for _ in range(2):
        inside.append(_shrink(inside[-1], 1))
    for outer, inner in itertools.pairwise(inside):
        edge = outer & ~inner
        if np.count_nonzero(edge & ~mask) <= MAX_RIM_INK * np.count_nonzero(edge):
            return inside[1]
    return None


def _shrink(mask: Mask, width: int) -> Mask:
    if not width:
        return mask
    shrunk = erode(mask, width)
    shrunk[:width] = shrunk[-width:] = False
    shrunk[:, :width] = shrunk[:, -width:] = False
    return shrunk
