"""The strokes of a digit that were found in an image, and helpers for small images."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from backend.inference.preprocessing.boxes import Box


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
