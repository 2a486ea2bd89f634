"""What a picture shows around the page: a sheet on a desk, or a frame drawn around a digit.

Both are taken for ink at first: a rectangle, filled or hollow, with something else inside.
"""

import itertools
import math

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from backend.inference.preprocessing.morphology import thin

SQUARE = 0.95  # how much of the quadrilateral of its corners a rectangle fills, at least
SMALLEST = 20  # a page has at least so many pixels each way
FRAME = 0.12  # a frame is thinner than this share of its shorter side; strokes are thicker
ALIKE = 0.87  # how alike a rectangle's sides across from each other are, and its diagonals
TOUCHING = 0.06  # this much ink along the rim of a page is of a stroke that belongs to it

Mask = NDArray[np.bool_]


def page_inside(mask: Mask, image: Image.Image) -> Image.Image | None:
    """Return the page in an `image` whose ink is `mask` (of lower resolution, (H, W)).

    It is cut out, and what lies around it within its box is painted like paper. None where
    the ink is no sheet and no frame.
    """
    hull = _hull(mask)
    if hull is None:
        return None
    inner = _inner(mask, hull)
    if inner is None or not inner.any():
        return None
    rows, columns = np.flatnonzero(inner.any(axis=1)), np.flatnonzero(inner.any(axis=0))
    top, bottom, left, right = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
    height, width = mask.shape
    x, y = image.width / width, image.height / height
    part = image.crop((round(left * x), round(top * y), round(right * x), round(bottom * y)))
    shape = Image.fromarray(inner[top:bottom, left:right]).resize(part.size)
    small = part.resize((right - left, bottom - top), Image.Resampling.NEAREST)
    paper = np.median(np.asarray(small)[inner[top:bottom, left:right]], axis=0)
    page = Image.new(part.mode, part.size, tuple(np.atleast_1d(paper).astype(int).tolist()))
    page.paste(part, mask=shape)
    return page


def _hull(mask: Mask) -> Mask | None:
    """What lies between ink both in its row and in its column, if that is a rectangle."""
    rows, columns = mask.any(axis=1), mask.any(axis=0)
    ys, xs = np.flatnonzero(rows), np.flatnonzero(columns)
    if len(ys) < SMALLEST or len(xs) < SMALLEST:
        return None
    height, width = mask.shape
    first = mask.argmax(axis=1)[ys]
    last = width - mask[:, ::-1].argmax(axis=1)[ys]
    # The corners are furthest out in the directions of the diagonals.
    a, c = int((first + ys).argmin()), int((last + ys).argmax())
    b, d = int((last - ys).argmax()), int((first - ys).argmin())
    corners = ((first[a], ys[a]), (last[b], ys[b]), (last[c], ys[c] + 1), (first[d], ys[d] + 1))
    area = _rectangle(corners)
    if not SQUARE * area <= (last - first).sum() <= area / SQUARE:
        return None
    upper = mask.argmax(axis=0)
    lower = height - mask[::-1].argmax(axis=0)
    y, x = np.arange(height)[:, np.newaxis], np.arange(width)
    hull = columns & (y >= upper) & (y < lower)
    hull[ys] &= (x >= first[:, np.newaxis]) & (x < last[:, np.newaxis])
    hull[~rows] = False
    return hull if np.count_nonzero(hull) >= SQUARE * area else None


def _rectangle(corners: tuple[tuple[int, int], ...]) -> float:
    """The area of a rectangle, perhaps seen a little aslant; 0 for any other quadrilateral."""
    (ax, ay), (bx, by), (cx, cy), (dx, dy) = corners
    top, bottom = math.hypot(bx - ax, by - ay), math.hypot(cx - dx, cy - dy)
    left, right = math.hypot(dx - ax, dy - ay), math.hypot(cx - bx, cy - by)
    falling, rising = math.hypot(cx - ax, cy - ay), math.hypot(dx - bx, dy - by)
    alike = 1.0
    for one, other in ((top, bottom), (left, right), (falling, rising)):
        alike *= min(one, other) / max(one, other, 1.0)
    if alike < ALIKE:
        return 0.0
    return 0.5 * abs((cx - ax) * (dy - by) - (cy - ay) * (dx - bx))


def _inner(mask: Mask, hull: Mask) -> Mask | None:
    """The page within the hull of a sheet or frame, whose rim is free of ink."""
    side = min(int(np.ptp(np.flatnonzero(hull.any(axis=axis)))) + 1 for axis in (0, 1))
    inked = np.count_nonzero(mask) / np.count_nonzero(hull)
    rim = 0
    if inked < 0.5:
        mask = ~mask
        clear = mask & hull
        ys = np.flatnonzero(clear.any(axis=1))
        rim = int(np.median(clear[ys].argmax(axis=1) - hull[ys].argmax(axis=1)))
        if not 0 < rim <= FRAME * side:
            return None
    if side - 2 * (rim + 1) < SMALLEST:
        return None
    # Ink may come as near as a pixel, and the edge may be as soft.
    inside = [_shrink(hull, rim)]
    for _ in range(2):
        inside.append(_shrink(inside[-1], 1))
    for outer, inner in itertools.pairwise(inside):
        edge = outer & ~inner
        if np.count_nonzero(edge & ~mask) <= TOUCHING * np.count_nonzero(edge):
            return inside[1]
    return None


def _shrink(mask: Mask, width: int) -> Mask:
    if not width:
        return mask
    shrunk = thin(mask, width)
    shrunk[:width] = shrunk[-width:] = False
    shrunk[:, :width] = shrunk[:, -width:] = False
    return shrunk
