"""Segmentation of a digit on plain paper: the simple and frequent case, in less than 0.1 ms."""

import numpy as np
from numpy.typing import NDArray

from backend.inference.preprocessing.strokes import Strokes

INK_THRESHOLD = 0.3  # a pixel with at least this much ink belongs to a stroke
MIN_RULED_SIDE = 64  # pixels; smaller images show no ruled paper and no scene
CLUTTER_WEIGHT = 20.0  # of clutter, in log-odds that the image shows something else than a digit

_MIN_SIDE = 16  # pixels; smaller images are crops of a digit
_MIN_PAGE_SIDE = 20  # pixels; a smaller rectangle is no sheet or frame
_MAX_HULL = 0.85  # share of its box that the hull of a digit fills; that of a sheet or frame is 1
_MAX_FILL = 0.62  # share of its box that a digit fills; a sheet fills most of it
_MAX_BORDER = 14  # a border takes at most this fraction of a side
_MAX_INKED = 0.9  # share of a row or column with ink; more is a ruled line

_LEVELS = np.arange(256)
_FLOAT_LEVELS = np.arange(256, dtype=np.float32)

Levels = NDArray[np.uint8]
PixelBox = tuple[int, int, int, int]
Counts = NDArray[np.intp]
Mask = NDArray[np.bool_]


def segment(gray: Levels, min_contrast: float) -> Strokes | None:
    """Return the strokes in gray levels (H, W), or None if they are not certain to be those of one
    digit on plain paper, which may have a border.

    Ink has to differ from the paper by at least `min_contrast` levels of 255.
    """
    strokes = _segment(gray, min_contrast)
    if strokes is None and (width := _border_width(gray, min_contrast)):
        strokes = _segment(gray[width:-width, width:-width], min_contrast)
        if strokes is not None:
            left, top, right, bottom = strokes.box
            strokes.box = (left + width, top + width, right + width, bottom + width)
    return strokes


def _border_width(gray: Levels, min_contrast: float) -> int:
    """Return the width of a border of one level around paper of another level; 0 without one."""
    outer = int(gray[0, 0])
    for depth in range(1, min(gray.shape) // _MAX_BORDER + 1):
        inside = gray[depth:-depth, depth:-depth]
        ring = np.concatenate((inside[0], inside[-1], inside[:, 0], inside[:, -1])).astype(np.int16)
        contrast = abs(int(ring[0]) - outer)
        if contrast >= min_contrast and np.abs(ring - ring[0]).max() <= 0.1 * contrast:
            return depth
    return 0


def _segment(gray: Levels, min_contrast: float) -> Strokes | None:
    height, width = gray.shape
    counts = np.bincount(gray.ravel(), minlength=256)
    present = counts.nonzero()[0]
    low, high = int(present[0]), int(present[-1])
    edge = np.concatenate((gray[0], gray[-1], gray[:, 0], gray[:, -1]))
    edge.sort()
    quartile = len(edge) // 4
    paper, spread = int(edge[2 * quartile]), int(edge[-1 - quartile]) - int(edge[quartile])
    is_large = min(height, width) >= _MIN_SIDE
    is_filled = False
    if is_large and spread > 0.1 * (high - low):
        is_filled = _fills_even_paper(counts, edge, low, high)
        if not is_filled:
            return None
    if high - paper == paper - low or spread > 0.5 * (high - low):
        # The edge is ambiguous. Ink covers less than half of the image, so use the median.
        paper = int(counts.cumsum().searchsorted(0.5 * gray.size))
    sign = 1 if high - paper >= paper - low else -1
    full = _full_contrast(counts[paper:] if sign > 0 else counts[paper::-1], gray.size)
    if full < min_contrast:
        return None
    shows_paper = min(height, width) >= MIN_RULED_SIDE
    if shows_paper and _has_lines(_is_inked(gray, paper, sign, 0.5 * min_contrast)):
        return None
    floor = 0.06 * full
    box = _box(_is_inked(gray, paper, sign, floor + INK_THRESHOLD * (full - floor)))
    if box is None:
        return None
    left, top, right, bottom = box
    is_inside = left > 0 and top > 0 and right < width and bottom < height
    if is_large and not is_inside and not is_filled:
        is_filled = _fills_even_paper(counts, edge, low, high)
        if not is_filled:
            return None
    # The contrast of each level, and its amount of ink.
    contrast = _FLOAT_LEVELS - paper if sign > 0 else paper - _FLOAT_LEVELS
    ink = contrast - np.float32(floor)
    ink *= 1 / (full - floor)
    np.maximum(ink, 0, out=ink)
    np.minimum(ink, 1, out=ink)
    amounts = (ink * 255 + np.float32(0.5)).astype(np.uint8).take(gray[top:bottom, left:right])
    may_be_a_sheet = is_inside and min(right - left, bottom - top) >= _MIN_PAGE_SIDE
    if may_be_a_sheet and _resembles_a_sheet(amounts):
        return None
    clutter = 0.0  # contrast outside the strokes, relative to theirs
    if shows_paper:
        # Contrast of both signs: a photograph also has pixels that are lighter than the "paper".
        outside = np.abs(contrast) / full - ink
        clutter = max(0.0, float(counts @ outside)) / gray.size
    return Strokes(amounts, box, CLUTTER_WEIGHT * clutter)


def _resembles_a_sheet(amounts: Levels) -> bool:
    """Return whether strokes (H, W) fill much of their box, or their outline does, as that of a
    sheet or a frame.
    """
    inked = amounts >= 255 * INK_THRESHOLD
    first, last = inked.argmax(axis=1), inked[:, ::-1].argmax(axis=1)
    hull = inked.size - int(first.sum()) - int(last.sum())
    is_filled = np.count_nonzero(inked) > _MAX_FILL * inked.size and hull > 0.7 * inked.size
    return is_filled or hull > _MAX_HULL * inked.size


def _fills_even_paper(counts: Counts, edge: Levels, low: int, high: int) -> bool:
    """Return whether a digit on even paper reaches the edges of the image.

    `edge` is sorted. Even paper has one level, the lightest or the darkest of the image. What
    reaches the edges has full contrast, unlike a shadow.
    """
    tolerance = max(1, round(0.02 * (high - low)))
    farthest = len(edge) // 64
    for paper, strongest in ((high, edge[farthest]), (low, edge[-1 - farthest])):
        first, last = max(0, paper - tolerance), min(255, paper + tolerance)
        on_edge = edge.searchsorted(last, "right") - edge.searchsorted(first, "left")
        if on_edge >= 0.4 * len(edge):
            has_ink = abs(int(strongest) - paper) >= 0.8 * (high - low)
            return has_ink and bool(counts[first : last + 1].sum() >= 0.25 * counts.sum())
    return False


def _full_contrast(counts: Counts, pixels: int) -> float:
    """Return the contrast of a full stroke: the 80th percentile above Otsu's threshold (1979).

    `counts[i]` pixels have the contrast i to the paper. The rest of `pixels` has contrast of the
    other sign, which counts as none.
    """
    highest = int(counts.nonzero()[0][-1])
    if not highest:
        return 0.0
    below = counts[: highest + 1].cumsum()
    below += pixels - below[-1]
    mass = (counts[: highest + 1] * _LEVELS[: highest + 1]).cumsum()
    darker, weight = below[:-1], mass[:-1]
    variance = np.square(mass[-1] * darker - pixels * weight, dtype=np.float64)
    variance /= darker * (pixels - darker)
    cut = int(variance.argmax())
    inked = below[cut + 1 :] - below[cut]
    return float(cut + 1 + int(inked.searchsorted(0.8 * inked[-1])))


def _is_inked(gray: Levels, paper: int, sign: int, contrast: float) -> Mask:
    """Return which levels have at least this contrast to the paper, of the sign of the ink."""
    steps = int(np.ceil(contrast))
    if sign > 0:
        return gray >= min(255, paper + steps)
    return gray <= max(0, paper - steps)


def _has_lines(inked: Mask) -> bool:
    """Return whether thin lines of ink reach from side to side, as those of ruled paper do."""
    for mask in (inked, inked.T):
        if not (mask[:, 0] & mask[:, -1]).any():
            continue
        across = np.count_nonzero(mask, axis=1)
        crossed = np.flatnonzero(across > _MAX_INKED * mask.shape[1])
        if len(crossed):
            lines = np.split(crossed, np.flatnonzero(np.diff(crossed) > 1) + 1)
            if min(len(line) for line in lines) <= max(3, len(mask) // 32):
                return True
    return False


def _box(inked: Mask) -> PixelBox | None:
    """Return the box around the strokes, or None if there is none or a gap between them.

    A gap separates strokes of a digit, but also specks, marks and lines from it.
    """
    rows = np.logical_or.reduce(inked, axis=1).tobytes()
    columns = np.logical_or.reduce(inked, axis=0).tobytes()
    top, bottom = rows.find(1), rows.rfind(1) + 1
    left, right = columns.find(1), columns.rfind(1) + 1
    if not bottom or rows.find(0, top, bottom) >= 0 or columns.find(0, left, right) >= 0:
        return None
    return left, top, right, bottom
