"""The strokes of a digit that were found in an image, boxes in it, and helpers for small images."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

# Left, top, right, bottom in pixels; right and bottom are exclusive.
Box = tuple[float, float, float, float]

WORK_SIDE = 192  # longest side of the image that is searched, in pixels
STRIP_SIDE = 48  # pixels; more would not be needed to find a digit in a wide, low image
MARGIN = 0.3  # around a digit that is searched again, relative to its longer side


@dataclass(slots=True)
class Strokes:
    """The strokes found in an image."""

    ink: NDArray[np.uint8]  # amount of ink within `box` (H, W): 0 paper, 255 a full stroke
    box: Box  # around the strokes, in pixels of the searched image
    ood_penalty: float  # log-odds that the image shows something else; 0 on plain paper


def dilate(values: NDArray[np.uint8], radius: int) -> NDArray[np.uint8]:
    """Return the maximum of `values` (H, W) in the square of `radius` pixels around each pixel."""
    for _ in range(radius):
        across = values.copy()
        np.maximum(across[:, 1:], values[:, :-1], out=across[:, 1:])
        np.maximum(across[:, :-1], values[:, 1:], out=across[:, :-1])
        values = across.copy()
        np.maximum(values[1:], across[:-1], out=values[1:])
        np.maximum(values[:-1], across[1:], out=values[:-1])
    return values


def to_array(image: Image.Image) -> NDArray[np.uint8]:
    """Return the pixels of an image of mode L, uint8 (H, W), read-only."""
    return np.frombuffer(image.tobytes(), dtype=np.uint8).reshape(image.height, image.width)


def reduce_image(image: Image.Image) -> Image.Image:
    """Return the image with about WORK_SIDE pixels a side.

    A strip keeps STRIP_SIDE pixels of its shorter side, within the same number of pixels.
    """
    shorter, longer = sorted(image.size)
    factor = -(-longer // WORK_SIDE)
    if factor * STRIP_SIDE > shorter:
        for_area = math.ceil(math.sqrt(shorter * longer) / WORK_SIDE)
        factor = min(factor, max(for_area, shorter // STRIP_SIDE))
    if factor <= 1:
        return image
    # A line of 10,000 x 1 pixels keeps its single pixel of width.
    return image.reduce((min(factor, image.width), min(factor, image.height)))


def surroundings(box: Box, image: Image.Image) -> tuple[int, int, int, int]:
    """Return the box with a margin, within the image."""
    left, top, right, bottom = box
    margin = max(4 * image.width / WORK_SIDE, MARGIN * longer_side(box))
    return (
        max(0, math.floor(left - margin)),
        max(0, math.floor(top - margin)),
        min(image.width, math.ceil(right + margin)),
        min(image.height, math.ceil(bottom + margin)),
    )


def longer_side(box: Box) -> float:
    left, top, right, bottom = box
    return max(right - left, bottom - top)


def move_box(
    box: Box, image: Image.Image, size: tuple[int, int], place: tuple[int, ...] = (0, 0)
) -> Box:
    """Return a box in a copy of `size` of an image, in the pixels of the whole that the image is
    cropped from at `place`.
    """
    x, y = image.width / size[0], image.height / size[1]
    left, top, right, bottom = box
    return (
        place[0] + left * x,
        place[1] + top * y,
        place[0] + right * x,
        place[1] + bottom * y,
    )
