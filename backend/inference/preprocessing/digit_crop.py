"""Image of a digit -> the field that a digit model is given. Training and serving share this code.

The steps are those of MNIST (LeCun et al. 1998): find the strokes, crop them, scale them to fit a
box of 20x20 with the aspect ratio preserved, and center them by mass in a field of 28x28.
"""

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import BaseModel, Field, model_validator

from backend.inference.preprocessing.segmentation import find_strokes
from backend.inference.preprocessing.strokes import Strokes, dilate, to_array
from backend.inference.types import Region

OVERSAMPLING = 3  # thin strokes are thickened at this multiple of the final resolution
# Pixels of the shorter side in scaled decoding: photographs of 12 megapixels are decoded at 1/4.
DECODED_SIDE = 750
LABELS = tuple("0123456789")

_COORDINATES = np.arange(256.0)


class DigitPreprocess(BaseModel, frozen=True, extra="forbid"):
    """How an image of a digit becomes a field. Lengths are in pixels of the field."""

    kind: Literal["digit"] = "digit"
    size: int = Field(28, ge=8, le=256, description="side of the square field")
    box: int = Field(20, ge=4, le=256, description="side of the box that the digit fits")
    mean: float = Field(0.1307, ge=0, le=1, description="mean of MNIST's pixels in [0, 1]")
    std: float = Field(0.3081, gt=0, le=1, description="their standard deviation")
    min_contrast: float = Field(
        20, gt=0, le=255, description="minimum difference between ink and paper, in levels of 255"
    )
    min_stroke: float = Field(
        1.8, ge=0, le=8, description="thinner strokes are dilated to this width; 0: never"
    )

    layout: Literal["NCHW", "NHWC", "NHW", "flat"] = Field(
        "NCHW", description="of the model's input; flat: (N, size * size)"
    )

    @property
    def decoded_side(self) -> int | None:
        """Minimum pixels of the shorter side in scaled decoding; the digit may be a small part."""
        return DECODED_SIDE

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one input, without the batch dimension."""
        side = self.size
        shapes = {"NCHW": (1, side, side), "NHWC": (side, side, 1), "NHW": (side, side)}
        return shapes.get(self.layout, (side * side,))

    @model_validator(mode="after")
    def _box_fits(self) -> "DigitPreprocess":
        if self.box > self.size:
            raise ValueError("box must not be larger than size")
        return self


def normalize(pixels: NDArray[np.generic], spec: DigitPreprocess) -> NDArray[np.float32]:
    """Turn fields (N, H, W) with values 0-255 into inputs, float32 (N, *spec.input_shape).

    The fields must already be preprocessed: no digit is searched for.
    """
    scale = np.float32(1 / (255 * spec.std))
    inputs: NDArray[np.float32] = np.multiply(pixels, scale, dtype=np.float32)
    inputs -= np.float32(spec.mean / spec.std)
    return inputs.reshape(-1, *spec.input_shape)


def find_digit(image: Image.Image, spec: DigitPreprocess) -> NDArray[np.uint8]:
    """Return the field of the digit in an image: uint8 (size, size), white ink on black.

    The image may have any size and any colors of ink and paper. A blank image becomes zeros.
    """
    return find_digit_and_penalty(image, spec)[0]


def find_digit_and_penalty(
    image: Image.Image, spec: DigitPreprocess
) -> tuple[NDArray[np.uint8], float]:
    """Return the field of `find_digit`, and the log-odds that its surroundings add to the
    out-of-distribution score (`Strokes.ood_penalty`).
    """
    field = np.zeros((spec.size, spec.size), dtype=np.uint8)
    strokes = find_strokes(image, spec.min_contrast)
    if strokes is None:
        return field, 0.0
    pixels = _fit(strokes, spec)
    left, top = _offset(pixels, spec.size)
    height, width = pixels.shape
    field[top : top + height, left : left + width] = pixels
    return field, strokes.ood_penalty


def digit_region(image: Image.Image, spec: DigitPreprocess) -> Region | None:
    """Return the part of the image that the field of its digit shows, or None without a digit."""
    strokes = find_strokes(image, spec.min_contrast)
    if strokes is None:
        return None
    pixels = _fit(strokes, spec)
    edges = []
    for axis, offset in enumerate(_offset(pixels, spec.size)):  # horizontal, vertical
        start, end = strokes.box[axis], strokes.box[axis + 2]
        step = (end - start) / pixels.shape[1 - axis]  # pixels of the image per pixel of the field
        edge = start - offset * step
        edges.append((edge / image.size[axis], (edge + spec.size * step) / image.size[axis]))
    (left, right), (top, bottom) = edges
    return Region(left, top, right, bottom)


def _fit(strokes: Strokes, spec: DigitPreprocess) -> NDArray[np.uint8]:
    """Scale strokes to fit the box of the field, with full ink at 255."""
    left, top, right, bottom = strokes.box
    scale = spec.box / max(right - left, bottom - top)
    size = max(1, round((right - left) * scale)), max(1, round((bottom - top) * scale))
    crop = Image.fromarray(strokes.ink)
    is_large = max(crop.size) > 2 * spec.box
    filtering = Image.Resampling.BOX if is_large else Image.Resampling.HAMMING
    pixels = to_array(crop.resize(size, filtering))
    stroke_width = _stroke_width(pixels)
    if stroke_width < spec.min_stroke:
        large = crop.resize(
            (size[0] * OVERSAMPLING, size[1] * OVERSAMPLING), Image.Resampling.BILINEAR
        )
        radius = round((spec.min_stroke - stroke_width) * OVERSAMPLING / 2)
        dilated = dilate(to_array(large), radius)
        pixels = to_array(Image.fromarray(dilated).reduce(OVERSAMPLING))
    brightest = max(1, pixels.size // 20)
    full = int(np.partition(pixels, -brightest, axis=None)[-brightest])
    if 0 < full < 255:
        pixels = np.minimum(pixels * np.float32(255 / full), 255).astype(np.uint8)
    return pixels


def _stroke_width(pixels: NDArray[np.uint8]) -> float:
    """Return the mean stroke width in pixels: twice the area over the length of the outline."""
    height, width = pixels.shape
    padded = np.zeros((height + 2, width + 2), dtype=np.float32)
    padded[1:-1, 1:-1] = pixels
    down = padded[1:, :-1] - padded[:-1, :-1]
    across = padded[:-1, 1:] - padded[:-1, :-1]
    outline = float(np.sqrt(down * down + across * across).sum())
    return 2 * float(padded.sum()) / outline if outline else 0.0


def _offset(pixels: NDArray[np.uint8], size: int) -> tuple[int, int]:
    """Return left and top of the ink in the field: centered by mass, with all ink inside."""
    height, width = pixels.shape
    mass = pixels.astype(np.float64)
    columns, rows = mass.sum(axis=0), mass.sum(axis=1)
    total = max(1.0, float(rows.sum()))
    x = float(columns @ _COORDINATES[:width]) / total
    y = float(rows @ _COORDINATES[:height]) / total
    left = min(max(round(size / 2 - x), 0), size - width)
    top = min(max(round(size / 2 - y), 0), size - height)
    return left, top
