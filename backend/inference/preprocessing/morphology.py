"""Tell strokes from specks: connected parts of an ink field, and which of them were written."""

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Box = tuple[int, int, int, int]  # left, top, right, bottom; right and bottom are exclusive

INKED = 0.3  # from here on a pixel counts as written
KEEP_MASS = 0.03  # a part with less of the ink than this is a speck, unless it is long
KEEP_SIDE = 0.2  # long: this much of the main part's longer side
KEEP_NEAR = 0.6  # further away than this (of the main part's longer side) is something else
FLAT = 0.2  # a line across is at most so high for its width
FOOT_GAP = 0.05  # an underline is so far (of the digit's height) below a narrow digit


Pixel = TypeVar("Pixel", np.bool_, np.uint8, np.float32)


@dataclass(slots=True)
class Part:
    """A connected part: its box, how many pixels it has, and how many on the picture's border."""

    left: int
    top: int
    right: int
    bottom: int
    mass: int
    contact: int = 0

    @property
    def side(self) -> int:
        return max(self.right - self.left, self.bottom - self.top)

    @property
    def flat(self) -> bool:
        return self.bottom - self.top <= FLAT * (self.right - self.left)


def main_strokes(field: NDArray[np.float32]) -> tuple[NDArray[np.float32], Box, bool] | None:
    """Return `field` (H, W, in [0, 1]) without specks, the box of its strokes, and
    whether the main one leans in from the picture's border.

    None where nothing is inked. Detached strokes stay, such as the bar of a 5.
    """
    mask = field >= INKED
    inked_rows = np.logical_or.reduce(mask, axis=1).nonzero()[0]
    inked_columns = np.logical_or.reduce(mask, axis=0).nonzero()[0]
    if not len(inked_rows):
        return None
    box = _box(inked_rows, inked_columns)
    gapless = len(inked_rows) == box[3] - box[1] and len(inked_columns) == box[2] - box[0]
    inside = box[0] > 0 and box[1] > 0 and box[2] < mask.shape[1] and box[3] < mask.shape[0]
    if gapless and inside:
        return field, box, False  # one part, or specks that cannot move the box
    labels, parts = connected_parts(mask)
    upright = [part for part in parts if not part.flat] or parts
    body = max(upright, key=lambda part: _weight(part, mask.shape))
    written = [part for part in parts if not _underlines(part, body)]
    main = max(written, key=lambda part: _weight(part, mask.shape))
    kept = _written(parts, main, mask.shape)
    if len(kept) < len(parts):
        chosen = np.zeros(len(parts) + 1, dtype=bool)
        chosen[[index + 1 for index in kept]] = True
        keep = chosen[labels]
        # The soft edge around a kept stroke stays with it.
        field = np.where(thicken(keep, 1), field, np.float32(0))
        box = _box(np.flatnonzero(keep.any(axis=1)), np.flatnonzero(keep.any(axis=0)))
    return field, box, _leans_in(main, mask.shape)


def thicken(values: NDArray[Pixel], reach: int) -> NDArray[Pixel]:
    """The largest of the values (H, W) within `reach` pixels of each, across and down."""
    return _furthest(values, reach, np.maximum)


def thin(values: NDArray[Pixel], reach: int) -> NDArray[Pixel]:
    """The smallest of the values (H, W) within `reach` pixels of each, across and down."""
    return _furthest(values, reach, np.minimum)


def _furthest(values: NDArray[Pixel], reach: int, further: np.ufunc) -> NDArray[Pixel]:
    for _ in ("across", "down"):
        values, reached = values.T.copy(), 0
        while reached < reach:  # twice as far each time: a wide window costs little more
            step = min(reached + 1, reach - reached)
            before = values.copy()
            further(values[step:], before[:-step], out=values[step:])
            further(values[:-step], before[step:], out=values[:-step])
            reached += step
    return values


def _box(rows: NDArray[np.intp], columns: NDArray[np.intp]) -> Box:
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def _written(parts: list[Part], main: Part, shape: tuple[int, ...]) -> list[int]:
    """Which parts belong to what was written: the main one and its near companions."""
    kept = []
    for index, part in enumerate(parts):
        gap = max(
            part.left - main.right,
            main.left - part.right,
            part.top - main.bottom,
            main.top - part.bottom,
        )
        large = part.mass >= KEEP_MASS * main.mass and part.side >= KEEP_SIDE * main.side
        near = gap <= KEEP_NEAR * main.side
        foreign = (_leans_in(part, shape) and not main.contact) or _underlines(part, main)
        if part is main or (large and near and not foreign):
            kept.append(index)
    return kept


def _underlines(part: Part, body: Part) -> bool:
    """A line below what was written, from beyond its left to beyond its right."""
    height, width = body.bottom - body.top, body.right - body.left
    # The foot of a 1 is wider than the 1 too, but all but touches it.
    gap = FOOT_GAP * height if width < 0.4 * height else 0
    below = part.top >= body.bottom + gap
    beyond = part.left <= body.left and body.right <= part.right
    return part.flat and below and beyond and part.right - part.left > 1.1 * width


def _weight(part: Part, shape: tuple[int, ...]) -> float:
    return part.mass * part.side * (0.01 if _leans_in(part, shape) else 1.0)


def _leans_in(part: Part, shape: tuple[int, ...]) -> bool:
    """The end of the sheet, a shadow or a ruled line: on the border, or from side to side."""
    height, width = shape
    across = part.right - part.left == width and part.bottom - part.top < 0.15 * height
    down = part.bottom - part.top == height and part.right - part.left < 0.15 * width
    return across or down or part.contact > 0.4 * part.side


def connected_parts(mask: NDArray[np.bool_]) -> tuple[NDArray[np.int32], list[Part]]:
    """Label the 8-connected parts of a mask: labels (H, W), 0 is background, and the parts."""
    height, width = mask.shape
    padded = np.zeros((height, width + 2), dtype=np.int8)
    padded[:, 1:-1] = mask
    steps = np.diff(padded, axis=1)
    row_of, starts = np.nonzero(steps == 1)
    ends = np.nonzero(steps == -1)[1]
    runs = list(zip(row_of.tolist(), starts.tolist(), ends.tolist(), strict=True))
    parent = list(range(len(runs)))

    def root(index: int) -> int:
        while parent[index] != index:
            parent[index] = parent[parent[index]]
            index = parent[index]
        return index

    first_above, first_here, current = 0, 0, -1
    for index, (row, start, end) in enumerate(runs):
        if row != current:
            first_above = first_here if row == current + 1 else index
            first_here, current = index, row
        above = first_above
        while above < first_here and runs[above][1] <= end:
            if runs[above][2] >= start:
                parent[root(above)] = root(index)
            above += 1
        while first_above < first_here and runs[first_above][2] < start:
            first_above += 1
    numbers: dict[int, int] = {}
    parts: list[Part] = []
    of_run = np.empty(len(runs), dtype=np.int32)
    for index, (row, start, end) in enumerate(runs):
        top = root(index)
        number = numbers.get(top)
        if number is None:
            number = numbers[top] = len(parts)
            parts.append(Part(start, row, end, row + 1, 0))
        part = parts[number]
        part.left, part.right = min(part.left, start), max(part.right, end)
        part.bottom = row + 1
        part.mass += end - start
        if row in (0, height - 1):
            part.contact += end - start
        else:
            part.contact += (start == 0) + (end == width)
        of_run[index] = number + 1
    labels = np.zeros(mask.shape, dtype=np.int32)
    labels[mask] = np.repeat(of_run, ends - starts)
    return labels, parts
