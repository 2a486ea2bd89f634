"""A heat map of what decided, drawn over its image and described in words."""

from io import BytesIO
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from client import Explanation
from frontend.ui.formatting import escape

# Viridis, which increases evenly in lightness and is readable with any color vision; RGB.
_COLORS: Final = np.array(
    [
        *((68, 1, 84), (71, 45, 123), (59, 82, 139), (44, 114, 142), (33, 145, 140)),
        *((40, 174, 128), (94, 201, 98), (173, 220, 48), (253, 231, 37)),
    ]
)
_MAX_OPACITY: Final = 0.75
_FULL_OPACITY_HEAT: Final = 0.5  # share of the most heat from which colors have full opacity
_HOT: Final = 0.5  # share of the most heat from which a pixel counts as hot
_WHOLE: Final = 0.5  # share of hot pixels from which no single part is named
_ROWS: Final = ("upper", "", "lower")
_COLUMNS: Final = ("left", "", "right")


def overlay(image: bytes, explanation: Explanation) -> bytes:
    """Return an image file in gray, with the heat in colors, as a PNG of the same size."""
    with Image.open(BytesIO(image)) as file:
        gray = file.convert("L")
    heat = _read(explanation.heatmap, gray.size)
    steps = np.linspace(0, 1, len(_COLORS))
    colors = np.stack([np.interp(heat, steps, channel) for channel in _COLORS.T], axis=-1)
    opacity = _MAX_OPACITY * np.minimum(heat / _FULL_OPACITY_HEAT, 1)[..., np.newaxis]
    pixels = np.asarray(gray)[..., np.newaxis] * (1 - opacity) + colors * opacity
    buffer = BytesIO()
    Image.fromarray(np.rint(pixels).astype(np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def describe(explanation: Explanation) -> str:
    """Return in words where in the image the heat is."""
    with Image.open(BytesIO(explanation.heatmap)) as file:
        heat = _read(explanation.heatmap, file.size)
    label = f"the label “{explanation.label}”"
    if not heat.any():
        return f"No part of the image influenced {label} more than others."
    hot = heat >= _HOT * heat.max()
    if hot.mean() > _WHOLE:
        return f"Most of the image influenced {label}."
    ys, xs = np.nonzero(hot)
    row = _ROWS[min(int(3 * (ys.mean() + 0.5) / heat.shape[0]), 2)]
    column = _COLUMNS[min(int(3 * (xs.mean() + 0.5) / heat.shape[1]), 2)]
    place = f"{row} {column}".strip() or "central"
    return f"The {place} part of the image influenced {label} most."


def caption(explanation: Explanation) -> str:
    """Return how to read the colors and how they were measured, as Markdown."""
    return escape(
        f"Yellow influenced “{explanation.label}” most, gray not at all. "
        f"Method: {explanation.method}."
    )


def _read(heatmap: bytes, size: tuple[int, int]) -> NDArray[np.float64]:
    """Return the heat in [0, 1], of shape (height, width)."""
    with Image.open(BytesIO(heatmap)) as file:
        levels = file.convert("L").resize(size, Image.Resampling.BILINEAR)
    return np.asarray(levels) / 255
