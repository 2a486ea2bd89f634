"""The strokes of a digit that were found in an image."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# Left, top, right, bottom in pixels; right and bottom are exclusive.
Box = tuple[float, float, float, float]


@dataclass(slots=True)
class Strokes:
    """The strokes found in an image."""

    ink: NDArray[np.uint8]  # amount of ink within `box` (H, W): 0 paper, 255 a full stroke
    box: Box  # around the strokes, in pixels of the searched image
    ood_penalty: float  # log-odds that the image shows something else; 0 on plain paper
