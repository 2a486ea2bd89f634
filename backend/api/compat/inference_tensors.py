"""Tensors of the Open Inference Protocol: checked against the model, decoded and encoded.

Only shapes and lengths that fit each other and the model are accepted, so that the memory of a
request is bounded by its body.
"""

import binascii
import math
import struct
from base64 import b64decode
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from backend.api.errors import MalformedRequestError
from backend.inference.images import file_types
from backend.inference.types import Floats

MAX_ROWS: Final = 4_096  # of a tensor in a request
MAX_IMAGES: Final = 1_024  # encoded images in a request

# Numbers that a tensor may hold besides FP32, converted without a change of scale.
_NUMBERS: Final[dict[str, str]] = {"FP32": "<f4", "FP16": "<f2", "FP64": "<f8"}
_PIXELS: Final[dict[str, str]] = {"UINT8": "u1"}

_LENGTH: Final = struct.Struct("<I")  # before each element of BYTES
_MAX_LISTED: Final = 8  # dimensions in an error message
_MAX_NAME: Final = 64  # characters of a client's name in an error message
_FLOAT32_MAX: Final = float(np.finfo(np.float32).max)


@dataclass(frozen=True, slots=True)
class Tensor:
    """An input of a request: `raw` bytes, or the `values` of its JSON."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    raw: memoryview | None = None
    values: object = None


def accepted_datatypes(*, takes_pixels: bool) -> list[str]:
    """Return the datatypes of a model's tensor; `takes_pixels`: its values are 0 to 255."""
    return [*_NUMBERS, *(_PIXELS if takes_pixels else ())]


def read_rows(tensor: Tensor, input_shape: tuple[int, ...], *, takes_pixels: bool) -> Floats:
    """Return the rows of a tensor for a model with inputs of `input_shape`: float32 (N, *input).

    Raise MalformedRequestError for another datatype, a shape or length that does not fit, and
    numbers that are not finite.
    """
    dtypes = _NUMBERS | (_PIXELS if takes_pixels else {})
    if tensor.datatype not in dtypes:
        raise MalformedRequestError(
            f"{shown(tensor.name)}: the datatype must be "
            f"{' or '.join(accepted_datatypes(takes_pixels=takes_pixels))}."
        )
    expected = ", ".join(map(str, ("N", *input_shape)))
    if tensor.shape[1:] != input_shape or len(tensor.shape) != 1 + len(input_shape):
        raise MalformedRequestError(
            f"{shown(tensor.name)}: the shape must be [{expected}], not {_show(tensor.shape)}."
        )
    _require_count(tensor, MAX_ROWS, "rows")
    count = math.prod(tensor.shape)
    numbers: NDArray[Any]
    if tensor.raw is not None:
        dtype = np.dtype(dtypes[tensor.datatype])
        size = count * dtype.itemsize
        if len(tensor.raw) != size:
            raise MalformedRequestError(
                f"{shown(tensor.name)}: {tensor.datatype} of the shape {_show(tensor.shape)} has "
                f"{size} bytes, not {len(tensor.raw)}."
            )
        numbers = np.frombuffer(tensor.raw, dtype=dtype)
    else:
        numbers = _parse_numbers(tensor, count)
    low, high = float(numbers.min()), float(numbers.max())  # NaN if a number is
    if not -_FLOAT32_MAX <= low <= high <= _FLOAT32_MAX:
        raise MalformedRequestError(f"{shown(tensor.name)}: a number is not finite in FP32.")
    if tensor.datatype in _PIXELS and (low < 0 or high > 255):
        raise MalformedRequestError(f"{shown(tensor.name)}: a number is outside 0 to 255.")
    # A tensor in a body may start at any byte, which numpy can read and a network perhaps not.
    rows: Floats = np.require(numbers, np.float32, ["C", "A"])
    return rows.reshape(tensor.shape)


def read_images(tensor: Tensor, max_bytes: int) -> list[bytes]:
    """Return the image files of a BYTES tensor of the shape [N] or [N, 1].

    Raise MalformedRequestError for another shape, lengths that do not fit, and invalid base64;
    a file above `max_bytes` is returned, but not more of it than twice as much.
    """
    name, shape = shown(tensor.name), tensor.shape
    if tensor.datatype != "BYTES":
        raise MalformedRequestError(f"{name}: the datatype must be BYTES.")
    if not shape or math.prod(shape[1:]) != 1 or len(shape) > 2:
        raise MalformedRequestError(
            f"{name}: the shape must be [N], the number of image files, not {_show(shape)}."
        )
    _require_count(tensor, MAX_IMAGES, "image files")
    if tensor.raw is None:
        return [_decode_base64(name, value) for value in _flatten(tensor, shape[0])]
    return [_decode_text(bytes(each[: 2 * max_bytes])) for each in _split(tensor, tensor.raw)]


def encode_strings(texts: Iterable[str]) -> bytes:
    """Return BYTES: each text in UTF-8 after its length."""
    encoded = [text.encode() for text in texts]
    return b"".join(part for each in encoded for part in (_LENGTH.pack(len(each)), each))


def shown(name: str) -> str:
    """Return a name from a client as it may stand in an error message."""
    return name if len(name) <= _MAX_NAME else f"{name[:_MAX_NAME]}…"


def _require_count(tensor: Tensor, limit: int, noun: str) -> None:
    if not 1 <= tensor.shape[0] <= limit:
        raise MalformedRequestError(
            f"{shown(tensor.name)}: a request has 1 to {limit:,} {noun}, not {tensor.shape[0]:,}."
        )


def _split(tensor: Tensor, raw: memoryview) -> list[memoryview]:
    """Return the elements of BYTES; raise MalformedRequestError for lengths that do not fit."""
    name, count = shown(tensor.name), tensor.shape[0]
    parts: list[memoryview] = []
    position = 0
    for number in range(count):
        start = position + _LENGTH.size
        if start > len(raw):
            raise MalformedRequestError(
                f"{name}: the data ends before element {number} of {count}. Each element follows "
                "its length, 4 bytes, little-endian."
            )
        (length,) = _LENGTH.unpack_from(raw, position)
        position = start + length
        if position > len(raw):
            raise MalformedRequestError(
                f"{name}: element {number} has a length of {length:,} bytes, but only "
                f"{len(raw) - start:,} follow. Each element follows its length, 4 bytes, "
                "little-endian."
            )
        parts.append(raw[start:position])
    if position != len(raw):
        raise MalformedRequestError(
            f"{name}: {len(raw) - position:,} bytes follow the last of {count} elements."
        )
    return parts


def _decode_base64(name: str, value: object) -> bytes:
    if not isinstance(value, str):
        raise MalformedRequestError(f"{name}: each element must be a string, an image in base64.")
    try:
        return b64decode(value, validate=True)
    except (binascii.Error, ValueError) as error:
        raise MalformedRequestError(
            f"{name}: an element is not base64. JSON holds each image file in base64; binary data "
            "holds it as it is."
        ) from error


def _decode_text(data: bytes) -> bytes:
    """Return the image file in a binary element, which some clients of MLServer send in base64."""
    if file_types.detect(data) is None and data.isascii():
        with suppress(binascii.Error):
            decoded = b64decode(data, validate=True)
            return data if file_types.detect(decoded) is None else decoded
    return data


def _parse_numbers(tensor: Tensor, count: int) -> NDArray[np.float64]:
    """Return the numbers of a tensor in JSON."""
    values = _flatten(tensor, count)
    if not set(map(type, values)) <= {int, float}:
        raise MalformedRequestError(f"{shown(tensor.name)}: the data must be numbers.")
    try:
        return np.array(values, dtype=np.float64)
    except OverflowError as error:
        raise MalformedRequestError(
            f"{shown(tensor.name)}: a number is not finite in FP32."
        ) from error


def _flatten(tensor: Tensor, count: int) -> Sequence[Any]:
    """Return `count` values from a flat list, or from lists that are nested as the shape says."""
    values: Any = tensor.values
    if isinstance(values, list) and len(values) == tensor.shape[0] and count > len(values):
        for length in tensor.shape[1:]:
            if any(type(row) is not list or len(row) != length for row in values):
                break
            values = list(chain.from_iterable(values))
    if not isinstance(values, list) or len(values) != count:
        raise MalformedRequestError(
            f"{shown(tensor.name)}: the data must be a list of {count:,} values, as the shape "
            f"{_show(tensor.shape)} says, or lists nested in this shape."
        )
    return values


def _show(shape: tuple[int, ...]) -> str:
    more = ", …" if len(shape) > _MAX_LISTED else ""
    return f"[{', '.join(map(str, shape[:_MAX_LISTED]))}{more}]"
