"""JSON that carries pixels -> inputs of a digit model, or the first thing that is wrong with it."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Final, Literal, get_args

import numpy as np
import orjson
from numpy.typing import NDArray

from backend.api.errors import MalformedRequestError
from backend.inference.digits import DigitPreprocess, normalize
from backend.inference.errors import PixelsError
from backend.inference.types import Floats

Field = Literal["input", "features", "image", "instances"]

_NOT_FINITE: Final = re.compile(rb"[\[,:]\s*-?(?:NaN|Infinity|nan|inf|[\d.]+[eE]\+?\d{3,})")


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
        if _NOT_FINITE.search(body):
            raise _not_finite() from error
        raise MalformedRequestError("The body is not valid JSON.") from error
    for field in get_args(Field):
        if isinstance(fields, dict) and field in fields:
            pixels = _READERS[field](fields[field], field, spec.size)
            return PixelQuery(field, _normalize(pixels, field, spec))
    raise PixelsError("Send a JSON object with 'input', 'features', 'image' or 'instances'.")


def _normalize(pixels: NDArray[np.float64], field: Field, spec: DigitPreprocess) -> Floats:
    low, high = pixels.min(), pixels.max()
    if field in ("features", "instances"):
        if low < 0:
            return _already_normalized(pixels, spec)
        if high <= 1:
            pixels = pixels * 255
    if low < 0 or high > 255:
        raise PixelsError(f"{field}: a pixel is outside 0 to 255.")
    return normalize(pixels, spec)


def _already_normalized(pixels: NDArray[np.float64], spec: DigitPreprocess) -> Floats:
    """Values below zero have been shifted: to [-1, 1], or by the model's own mean and deviation."""
    darkest = -spec.mean / spec.std
    if pixels.min() < darkest - 0.01:
        if pixels.min() < -1 or pixels.max() > 1:
            raise PixelsError("A pixel is outside every range that is understood.")
        return normalize((pixels + 1) * 127.5, spec)
    return pixels.astype(np.float32).reshape(-1, *spec.input_shape)


def _numbers(value: object, field: Field, size: int) -> NDArray[np.float64]:
    """Nested lists of numbers -> (N, size, size); every level is checked before the next."""
    if not isinstance(value, list):
        raise PixelsError(f"{field}: a list of numbers is expected.")
    flat: list[object] = value
    shape = [len(flat)]
    while flat and isinstance(flat[0], list):
        length = len(flat[0])
        if len(shape) > 3 or any(type(row) is not list or len(row) != length for row in flat):
            raise _wrong_shape(field, size)
        flat = list(chain.from_iterable(flat))  # type: ignore[arg-type]
        shape.append(length)
    one = [[size * size], [size, size], [size, size, 1], [1, size, size]]
    if not flat or (shape not in one and (shape[1:] not in one or field == "features")):
        raise _wrong_shape(field, size)
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
