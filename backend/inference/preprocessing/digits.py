"""A picture of a digit -> the field that a digit model sees. Training uses this very code.

A digit is presented as MNIST was made (LeCun et al. 1998): the ink is found, cropped, scaled to
fit a box of 20x20 with its aspect kept, and centred by its mass in a field of 28x28. It imports
numpy and Pillow only.
"""

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import BaseModel, Field, model_validator

from backend.inference.preprocessing.morphology import thicken
from backend.inference.preprocessing.segmentation import Ink, find_ink, pixels_of

OVERSAMPLING = 3  # thin strokes are thickened at this multiple of the final resolution
DECODED_SIDE = 768
LABELS = tuple("0123456789")  # of the models that read digits

_PLACES = np.arange(256.0)  # along a side of the field


class DigitPreprocess(BaseModel, frozen=True, extra="forbid"):
    """How a picture of a digit becomes a field: lengths in pixels of the field."""

    kind: Literal["digit"] = "digit"
    size: int = Field(28, ge=8, le=256, description="side of the square field")
    box: int = Field(20, ge=4, le=256, description="side of the box that the digit fits")
    mean: float = Field(0.1307, ge=0, le=1, description="mean of MNIST's pixels in [0, 1]")
    std: float = Field(0.3081, gt=0, le=1, description="their standard deviation")
    min_contrast: float = Field(
        20, gt=0, le=255, description="levels of 255 by which ink differs from paper at least"
    )
    min_stroke: float = Field(
        1.8, ge=0, le=8, description="thinner strokes are thickened to this width; 0: never"
    )

    layout: Literal["NCHW", "NHWC", "NHW", "flat"] = Field(
        "NCHW", description="of the model's input; flat: (N, size * size)"
    )

    @property
    def decoded_side(self) -> int | None:
        """Pixels that the shorter side keeps in scaled decoding: a digit may be a small part."""
        return DECODED_SIDE

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one input, without the batch."""
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

    For pictures that already are as the model sees them: no digit is searched for.
    """
    scale = np.float32(1 / (255 * spec.std))
    inputs: NDArray[np.float32] = np.multiply(pixels, scale, dtype=np.float32)
    inputs -= np.float32(spec.mean / spec.std)
    return inputs.reshape(-1, *spec.input_shape)


def find_digit(image: Image.Image, spec: DigitPreprocess) -> NDArray[np.uint8]:
    """Return what the model sees of a picture: uint8 (size, size), white ink on black.

    Takes any size and any ink on any paper; a blank picture becomes a field of zeros.
    """
    ink = find_ink(image, spec.min_contrast)
    if ink is None:
        return np.zeros((spec.size, spec.size), dtype=np.uint8)
    return _centre(_fit(ink, spec), spec.size)


def _fit(ink: Ink, spec: DigitPreprocess) -> NDArray[np.uint8]:
    """Crop the ink and scale it to fit the box, its aspect kept, full strokes at 255."""
    left, top, right, bottom = ink.box
    scale = spec.box / max(right - left, bottom - top)
    width = max(1, round((right - left) * scale))
    height = max(1, round((bottom - top) * scale))
    full_strokes = (ink.field[top:bottom, left:right] * 255).astype(np.uint8)
    size = (right - left, bottom - top)
    picture = Image.frombuffer("L", size, full_strokes, "raw", "L", 0, 1)
    small = picture.resize(
        (width, height), Image.Resampling.BOX if scale < 0.5 else Image.Resampling.HAMMING
    )
    pixels = pixels_of(small)
    stroke = _stroke_width(pixels)
    if stroke < spec.min_stroke:
        thick = picture.resize(
            (width * OVERSAMPLING, height * OVERSAMPLING), Image.Resampling.BILINEAR
        )
        grown = thicken(pixels_of(thick), round((spec.min_stroke - stroke) * OVERSAMPLING / 2))
        pixels = pixels_of(Image.fromarray(grown).reduce(OVERSAMPLING))
    darkest = max(1, pixels.size // 20)
    full = int(np.partition(pixels, -darkest, axis=None)[-darkest])
    if 0 < full < 255:
        pixels = np.minimum(pixels * np.float32(255 / full), 255).astype(np.uint8)
    return pixels


def _stroke_width(pixels: NDArray[np.uint8]) -> float:
    """Mean width of the strokes in pixels: twice the area over the length of the outline."""
    height, width = pixels.shape
    padded = np.zeros((height + 2, width + 2), dtype=np.float32)
    padded[1:-1, 1:-1] = pixels
    down = padded[1:, :-1] - padded[:-1, :-1]
    across = padded[:-1, 1:] - padded[:-1, :-1]
    outline = float(np.sqrt(down * down + across * across).sum())
    return 2 * float(padded.sum()) / outline if outline else 0.0


def _centre(pixels: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """Put the centre of mass in the middle of a black field, as far as the ink stays inside."""
    height, width = pixels.shape
    mass = pixels.astype(np.float64)
    columns, rows = mass.sum(axis=0), mass.sum(axis=1)
    total = max(1.0, float(rows.sum()))
    x = float(columns @ _PLACES[:width]) / total
    y = float(rows @ _PLACES[:height]) / total
    left = min(max(round(size / 2 - x), 0), size - width)
    top = min(max(round(size / 2 - y), 0), size - height)
    field = np.zeros((size, size), dtype=np.uint8)
    field[top : top + height, left : left + width] = pixels
    return field
