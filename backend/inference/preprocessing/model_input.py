"""Image -> the array a model is given, as its manifest describes; and that array as a PNG.

Training and serving share this code.
"""

from io import BytesIO
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import Field

from backend.inference.preprocessing import scene
from backend.inference.preprocessing.digit_crop import (
    DigitPreprocess,
    digit_region,
    find_digit_and_penalty,
    normalize,
)
from backend.inference.preprocessing.photos import (
    PhotoPreprocess,
    photo_region,
    prepare_photo,
    to_planes,
)
from backend.inference.types import Floats, Region

_SAMPLING = 8

Preprocess = Annotated[DigitPreprocess | PhotoPreprocess, Field(discriminator="kind")]


def warm_up(spec: Preprocess) -> None:
    """Load what the first image would otherwise have to wait for."""
    if isinstance(spec, DigitPreprocess):
        scene.load_network()


def preprocess(image: Image.Image, spec: Preprocess) -> Floats:
    """Turn an RGB image of any size into one input, float32 of `spec.input_shape`."""
    return preprocess_with_penalty(image, spec)[0]


def preprocess_with_penalty(image: Image.Image, spec: Preprocess) -> tuple[Floats, float]:
    """Return one input, and what the image adds to its out-of-distribution score.

    A photograph may show a shape like a digit, but has no plain paper around it. A model for digits
    sees only the shape.
    """
    if isinstance(spec, PhotoPreprocess):
        return prepare_photo(image, spec), 0.0
    field, penalty = find_digit_and_penalty(image, spec)
    return normalize(field[np.newaxis], spec)[0], penalty


def input_region(image: Image.Image, spec: Preprocess) -> Region | None:
    """Return the part of an RGB image that its input shows; None if no digit was found."""
    if isinstance(spec, PhotoPreprocess):
        return photo_region(image, spec)
    return digit_region(image, spec)


def mean_brightness(rows: Floats, spec: Preprocess) -> float:
    """Return the mean of inputs of shape (n, *spec.input_shape), in [0, 1].

    Of photographs, every eighth row and column is read.
    """
    if isinstance(spec, DigitPreprocess):
        return float(rows.sum()) / rows.size * spec.std + spec.mean
    sample = to_planes(rows, spec)[:, :, ::_SAMPLING, ::_SAMPLING]
    size = sample.size / spec.channels
    sums = sample.sum(axis=(0, 2, 3)).tolist()
    channels = zip(sums, spec.std, spec.mean, strict=True)
    return float(sum(total / size * std + mean for total, std, mean in channels) / spec.channels)


def to_png(row: Floats, spec: Preprocess) -> bytes:
    """Return one input of `spec.input_shape` as a PNG of the same size, normalization undone."""
    buffer = BytesIO()
    Image.fromarray(_to_pixels(row, spec)).save(buffer, "PNG")
    return buffer.getvalue()


def _to_pixels(row: Floats, spec: Preprocess) -> NDArray[np.uint8]:
    """Return uint8 pixels: shape (H, W) for one channel, else (H, W, 3)."""
    if spec.kind == "digit":
        shares = row.reshape(spec.size, spec.size) * spec.std + spec.mean
    else:
        planes = to_planes(row[np.newaxis], spec)[0]
        shares = planes.transpose(1, 2, 0) * np.array(spec.std) + np.array(spec.mean)
        shares = shares[..., ::-1] if spec.color == "BGR" else shares
        shares = shares[..., 0] if spec.channels == 1 else shares
    pixels: NDArray[np.uint8] = np.rint(255 * shares).clip(0, 255).astype(np.uint8)
    return pixels
