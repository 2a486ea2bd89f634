"""Dilation, erosion and connected components, and the components that are strokes of a digit."""

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Box = tuple[int, int, int, int]  # left, top, right, bottom; right and bottom are exclusive

INK_THRESHOLD = 0.3  # a pixel with at least this much ink belongs to a stroke

# Components relative to the main one: smaller or more distant ones are specks.
MIN_MASS = 0.03  # share of the main component's pixels
MIN_SIDE = 0.2  # share of the main component's longer side
MAX_GAP = 0.6  # share of the main component's longer side

FLAT_RATIO = 0.2  # maximum height of a horizontal line, relative to its width
UNDERLINE_GAP = 0.05  # minimum gap between a narrow digit and an underline, relative to its height

Pixel = TypeVar("Pixel", np.bool_, np.uint8, np.float32)


@dataclass(slots=True)
class Component:
    """A connected component: its box, its number of pixels, and how many touch the border."""

    left: int
    top: int
    right: int
    bottom: int
    mass: int
    border_pixels: int = 0

    @property
    def side(self) -> int:
        return max(self.right - self.left, self.bottom - self.top)

    @property
    def is_flat(self) -> bool:
        return self.bottom - self.top <= FLAT_RATIO * (self.right - self.left)


def remove_specks(ink: NDArray[np.float32]) -> tuple[NDArray[np.float32], Box, bool] | None:
    """Return `ink` (H, W, in [0, 1]) without specks, the box of its strokes, and
    whether the main stroke reaches in from the image's border.

    Return None if there is no ink. Detached strokes, such as the bar of a 5, are kept.
    """
    mask = ink >= INK_THRESHOLD
    inked_rows = np.logical_or.reduce(mask, axis=1).nonzero()[0]
    inked_columns = np.logical_or.reduce(mask, axis=0).nonzero()[0]
    if not len(inked_rows):
        return None
    box = _box(inked_rows, inked_columns)
    has_no_gap = len(inked_rows) == box[3] - box[1] and len(inked_columns) == box[2] - box[0]
    is_inside = box[0] > 0 and box[1] > 0 and box[2] < mask.shape[1] and box[3] < mask.shape[0]
    if has_no_gap and is_inside:
        return ink, box, False  # one component, or specks within the box
    labels, components = connected_components(mask)
    upright = [part for part in components if not part.is_flat] or components
    body = max(upright, key=lambda part: _weight(part, mask.shape))
    candidates = [part for part in components if not _is_underline(part, body)]
    main = max(candidates, key=lambda part: _weight(part, mask.shape))
    strokes = _stroke_indices(components, main, mask.shape)
    if len(strokes) < len(components):
        is_stroke = np.zeros(len(components) + 1, dtype=bool)
        is_stroke[[index + 1 for index in strokes]] = True
        stroke_mask = is_stroke[labels]
        # Keep the soft edges of strokes.
        ink = np.where(dilate(stroke_mask, 1), ink, np.float32(0))
        box = _box(np.flatnonzero(stroke_mask.any(axis=1)), np.flatnonzero(stroke_mask.any(axis=0)))
    return ink, box, _touches_border(main, mask.shape)


def dilate(values: NDArray[Pixel], radius: int) -> NDArray[Pixel]:
    """Return the maximum of `values` (H, W) in the square of `radius` pixels around each pixel."""
    return _filter(values, radius, np.maximum)


def erode(values: NDArray[Pixel], radius: int) -> NDArray[Pixel]:
    """Return the minimum of `values` (H, W) in the square of `radius` pixels around each pixel."""
    return _filter(values, radius, np.minimum)


def _filter(values: NDArray[Pixel], radius: int, operation: np.ufunc) -> NDArray[Pixel]:
    for _ in ("horizontal", "vertical"):
        values, done = values.T.copy(), 0
        while done < radius:  # the step doubles each time, so a wide window costs little more
            step = min(done + 1, radius - done)
            before = values.copy()
            operation(values[step:], before[:-step], out=values[step:])
            operation(values[:-step], before[step:], out=values[:-step])
            done += step
    return values


def _box(rows: NDArray[np.intp], columns: NDArray[np.intp]) -> Box:
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def _stroke_indices(
    components: list[Component], main: Component, shape: tuple[int, ...]
) -> list[int]:
    """Return the indices of the main component and of the strokes near it."""
    indices = []
    for index, part in enumerate(components):
        gap = max(
            part.left - main.right,
            main.left - part.right,
            part.top - main.bottom,
            main.top - part.bottom,
        )
        is_large = part.mass >= MIN_MASS * main.mass and part.side >= MIN_SIDE * main.side
        is_near = gap <= MAX_GAP * main.side
        touches_border = _touches_border(part, shape) and not main.border_pixels
        is_foreign = touches_border or _is_underline(part, main)
        if part is main or (is_large and is_near and not is_foreign):
            indices.append(index)
    return indices


def _is_underline(part: Component, body: Component) -> bool:
    """Return whether `part` is a line below `body` that extends beyond it on both sides."""
    height, width = body.bottom - body.top, body.right - body.left
    # The foot of a 1 is wider than the 1, too, but nearly touches it.
    gap = UNDERLINE_GAP * height if width < 0.4 * height else 0
    is_below = part.top >= body.bottom + gap
    is_wider = part.left <= body.left and body.right <= part.right
    return part.is_flat and is_below and is_wider and part.right - part.left > 1.1 * width


def _weight(part: Component, shape: tuple[int, ...]) -> float:
    return part.mass * part.side * (0.01 if _touches_border(part, shape) else 1.0)


def _touches_border(part: Component, shape: tuple[int, ...]) -> bool:
    """Return whether `part` lies on the border or reaches from side to side.

    It is then the edge of the sheet, a shadow or a ruled line.
    """
    height, width = shape
    is_horizontal = part.right - part.left == width and part.bottom - part.top < 0.15 * height
    is_vertical = part.bottom - part.top == height and part.right - part.left < 0.15 * width
    return is_horizontal or is_vertical or part.border_pixels > 0.4 * part.side


def connected_components(mask: NDArray[np.bool_]) -> tuple[NDArray[np.int32], list[Component]]:
    """Return the labels (H, W) of the 8-connected components of `mask`, and the components.

    Label 0 is the background; label i is the component i - 1.
    """
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

    first_above, first_current, current_row = 0, 0, -1
    for index, (row, start, end) in enumerate(runs):
        if row != current_row:
            first_above = first_current if row == current_row + 1 else index
            first_current, current_row = index, row
        above = first_above
        while above < first_current and runs[above][1] <= end:
            if runs[above][2] >= start:
                parent[root(above)] = root(index)
            above += 1
        while first_above < first_current and runs[first_above][2] < start:
            first_above += 1
    numbers: dict[int, int] = {}
    components: list[Component] = []
    label_of_run = np.empty(len(runs), dtype=np.int32)
    for index, (row, start, end) in enumerate(runs):
        top = root(index)
        number = numbers.get(top)
        if number is None:
            number = numbers[top] = len(components)
            components.append(Component(start, row, end, row + 1, 0))
        part = components[number]
        part.left, part.right = min(part.left, start), max(part.right, end)
        part.bottom = row + 1
        part.mass += end - start
        if row in (0, height - 1):
            part.border_pixels += end - start
        else:
            part.border_pixels += (start == 0) + (end == width)
        label_of_run[index] = number + 1
    labels = np.zeros(mask.shape, dtype=np.int32)
    labels[mask] = np.repeat(label_of_run, ends - starts)
    return labels, components
