"""Occlusion maps (Zeiler, Fergus 2014, https://arxiv.org/abs/1311.2901) of any classifier.

Windows of the model's input are masked one after another. What the score of a label loses is the
influence of the window.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from backend.inference.preprocessing.digit_crop import DigitPreprocess
from backend.inference.preprocessing.model_input import Preprocess
from backend.inference.preprocessing.photos import to_planes
from backend.inference.types import Floats
from calibration.sigmoid import to_logits

# Maps inputs (N, *input) to probabilities (N, C).
Predict = Callable[[Floats], Awaitable[Floats]]

_MIN_PROBABILITY: Final = 1e-12


@dataclass(frozen=True)
class Grid:
    """`windows` x `windows` evenly spaced windows, whose side is `share` of the input's."""

    windows: int
    share: float


# The coarse grid is measured first, so that there is a map if the time ends before the fine one.
PHOTO_GRIDS: Final = (Grid(4, 1 / 4), Grid(7, 1 / 4))
DIGIT_GRIDS: Final = (Grid(7, 1 / 5), Grid(13, 1 / 5))


async def measure(
    row: Floats,
    spec: Preprocess,
    label: int,
    predict: Predict,
    batch_size: int,
    *,
    independent: bool = False,
) -> AsyncIterator[Floats]:
    """Yield maps (h, w) of one input, each with a finer grid of windows than the one before.

    A map holds the mean loss in the log-odds of the label with the index `label`, at least 0, at
    the resolution of a digit's field, or of a photo's grid.
    Windows of a photo are masked with its mean color, those of a digit with paper. `predict` gets
    at most `batch_size` inputs at a time. `independent`: see `log_odds`.
    """
    planes = _planes(row, spec)
    is_digit = isinstance(spec, DigitPreprocess)
    fill = planes.min() if is_digit else planes.mean(axis=(1, 2), keepdims=True)
    is_ink = (planes != fill).any(axis=0) if is_digit else np.ones(planes.shape[1:], dtype=bool)
    (start,) = log_odds(await predict(row[np.newaxis]), label, independent=independent)
    for grid in DIGIT_GRIDS if is_digit else PHOTO_GRIDS:
        windows = [window for window in _windows(grid, is_ink.shape) if is_ink[window].any()]
        losses = np.zeros(is_ink.shape, dtype=np.float32)
        counts = np.zeros(is_ink.shape, dtype=np.float32)
        for first in range(0, len(windows), batch_size):
            chunk = windows[first : first + batch_size]
            rows = np.repeat(row[np.newaxis], len(chunk), axis=0)
            for masked, window in zip(rows, chunk, strict=True):
                _planes(masked, spec)[:, *window] = fill
            scores = log_odds(await predict(rows), label, independent=independent)
            for score, window in zip(scores, chunk, strict=True):
                losses[window] += start - score
                counts[window] += 1
        mean = np.maximum(losses / np.maximum(counts, 1), 0)
        # Only removed ink can have changed the score, not the paper around it.
        yield np.where(is_ink, mean, 0) if is_digit else _reduce(mean, grid)


def log_odds(probabilities: Floats, label: int, *, independent: bool = False) -> Floats:
    """Return the log-odds (N,) of one label; `probabilities` has the shape (N, C).

    Unlike a probability, they do not saturate for confident classifications. If the probabilities
    are `independent`, those of the other labels do not matter.
    """
    own: Floats = probabilities[:, label]
    if independent:
        return to_logits(own, "probabilities")
    # The sum of the others is more precise than 1 - own.
    others = probabilities[:, :label].sum(axis=1) + probabilities[:, label + 1 :].sum(axis=1)
    odds: Floats = np.log(np.maximum(own, _MIN_PROBABILITY)) - np.log(
        np.maximum(others, _MIN_PROBABILITY)
    )
    return odds


def _planes(row: Floats, spec: Preprocess) -> NDArray[np.float32]:
    """Return a view (channels, height, width) of one input."""
    if isinstance(spec, DigitPreprocess):
        return row.reshape(1, spec.size, spec.size)
    planes: NDArray[np.float32] = to_planes(row[np.newaxis], spec)[0]
    return planes


def _reduce(values: Floats, grid: Grid) -> Floats:
    """Return one value for each step from window to window, from which a smooth map is drawn."""
    cells = round((grid.windows - 1) / (1 - grid.share))
    return np.asarray(Image.fromarray(values).resize((cells, cells), Image.Resampling.BOX))


def _windows(grid: Grid, shape: tuple[int, ...]) -> list[tuple[slice, slice]]:
    rows, columns = (
        [
            slice(start, start + side)
            for side in [max(1, round(length * grid.share))]
            for start in np.rint(np.linspace(0, length - side, grid.windows)).astype(int).tolist()
        ]
        for length in shape
    )
    return [(row, column) for row in rows for column in columns]
