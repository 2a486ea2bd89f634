"""JSON that carries pixels -> inputs of a digit model, or the first thing that is wrong with it."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Final, Literal, get_args

import numpy as np
import orjson
from numpy.typing import NDArray

from backend.api.errors import MalformedRequestError
from backend.inference.errors import PixelsError
from backend.inference.preprocessing.digits import DigitPreprocess, normalize
from backend.inference.types import Floats

Field = Literal["input", "features", "image", "instances"]

_NOT_FINITE: Final = re.compile(rb"(?i)nan|inf|\d[\d.]*e\+?\d{3,}")


@dataclass(frozen=True, slots=True)
class PixelQuery:
    """Which field asked, and the inputs (N, 1, H, W), float32, that it asked about."""

    field: Field
    inputs: Floats


def parse(body: bytes, spec: DigitPreprocess) -> PixelQuery:
    """Read one of the four fields out of a JSON body.

    Raises PixelsError for a missing field, wrong shapes, types and ranges, with the first error
    only and nothing of the body in it, and MalformedRequestError for what is not JSON.
    """
    try:
        fields = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        if _NOT_FINITE.match(body[max(0, error.pos - 1) :].lstrip(b" [,:-")):
            raise _not_finite() from error
        raise MalformedRequestError("The body is not valid JSON.") from error
    for field in get_args(Field):
        if isinstance(fields, dict) and field in fields:
            pixels = _READERS[field](fields[field], field, spec.size)
            return PixelQuery(field, _normalize(pixels, field, spec))
    raise PixelsError("Send a JSON object with 'input', 'features', 'image' or 'instances'.")


def _normalize(pixels: NDArray[np.float64], field: Field, spec: DigitPreprocess) -> Floats:
    """Pictures (N, size, size) as the model's inputs; each tells its own scale."""
    if field in ("features", "instances"):
        return np.concatenate([_rescaled(picture[np.newaxis], field, spec) for picture in pixels])
    return normalize(_in_range(pixels, field), spec)


def _rescaled(picture: NDArray[np.float64], field: Field, spec: DigitPreprocess) -> Floats:
    """One picture in 0 to 255, 0 to 1, -1 to 1, or normalized as the model's own are."""
    low, high = picture.min(), picture.max()
    if low >= 0:
        return normalize(_in_range(picture * 255 if high <= 1 else picture, field), spec)
    darkest = -spec.mean / spec.std
    if low >= darkest - 0.01:
        return picture.astype(np.float32).reshape(-1, *spec.input_shape)
    if low < -1 or high > 1:
        raise PixelsError(f"{field}: a pixel is outside every range that is understood.")
    return normalize((picture + 1) * 127.5, spec)


def _in_range(pixels: NDArray[np.float64], field: Field) -> NDArray[np.float64]:
    if pixels.min() < 0 or pixels.max() > 255:
        raise PixelsError(f"{field}: a pixel is outside 0 to 255.")
    return pixels


def _numbers(value: object, field: Field, size: int) -> NDArray[np.float64]:
    """Nested lists of numbers -> (N, size, size); the first one's shape decides for all."""
    shape: list[int] = []
    first = value
    while isinstance(first, list) and first and len(shape) < 5:
        shape.append(len(first))
        first = first[0]
    one = [[size * size], [size, size], [size, size, 1], [1, size, size]]
    if shape not in one and (shape[1:] not in one or field == "features"):
        raise _wrong_shape(field, size)
    flat: Any = value
    for length in shape[1:]:
        if any(type(row) is not list or len(row) != length for row in flat):
            raise _wrong_shape(field, size)
        flat = list(chain.from_iterable(flat))
    return _finite(flat, field).reshape(-1, size, size)


def _comma_separated(value: object, field: Field, size: int) -> NDArray[np.float64]:
    """A string of size * size numbers -> (1, size, size)."""
    if not isinstance(value, str):
        raise PixelsError(f"{field}: a string of {size * size} numbers and commas is expected.")
    words = value.split(",", size * size)
    if len(words) != size * size:
        raise _wrong_shape(field, size)
    try:
        return _finite([float(word) for word in words], field).reshape(1, size, size)
    except ValueError as error:
        raise _not_a_number(field) from error


def _finite(flat: Sequence[object], field: Field) -> NDArray[np.float64]:
    if not set(map(type, flat)) <= {int, float}:
        raise _not_a_number(field)
    try:
        pixels = np.array(flat, dtype=np.float64)
    except OverflowError as error:
        raise _not_finite() from error
    if not np.isfinite(pixels).all():
        raise _not_finite()
    return pixels


_READERS: Final[Mapping[Field, Callable[[object, Field, int], NDArray[np.float64]]]] = {
    "input": _numbers,
    "features": _numbers,
    "image": _comma_separated,
    "instances": _numbers,
}


def _wrong_shape(field: Field, size: int) -> PixelsError:
    return PixelsError(
        f"{field}: pictures of {size}x{size} pixels are expected, as rows of {size * size} numbers."
    )


def _not_a_number(field: Field) -> PixelsError:
    return PixelsError(f"{field}: a pixel is not a number.")


def _not_finite() -> PixelsError:
    return PixelsError("A pixel is not a finite number.")
