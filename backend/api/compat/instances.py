"""Images and preprocessed inputs in JSON, as Vertex AI, TensorFlow Serving and others send them."""

import math
from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from backend.api.compat.data_urls import decode_data_url
from backend.api.compat.inference_tensors import MAX_IMAGES, MAX_ROWS, Tensor, read_rows
from backend.api.errors import MalformedRequestError
from backend.api.json_body import parse_json
from backend.inference.models.artifact import Manifest
from backend.inference.types import Floats

_MAX_VALUES: Final = 1_000_000  # of which four photos of 260x260 pixels need 811,200
_MAX_ARRAYS: Final = 100_000
_MAX_NESTING: Final = 3  # objects around an image
_DESCRIPTIONS: Final = frozenset({"key", "mimeType", "mime_type"})  # beside an image


def parse_object(body: bytes | bytearray) -> dict[str, Any]:
    """Parse a JSON object; raise MalformedRequestError, or BodyTooLargeError for excessive JSON."""
    fields = parse_json(body, max_values=_MAX_VALUES, max_arrays=_MAX_ARRAYS)
    if not isinstance(fields, dict):
        raise MalformedRequestError("The body must be a JSON object.")
    return fields


def get_list(fields: dict[str, Any], name: str) -> list[Any]:
    """Return the list `name` of the body; raise MalformedRequestError for any other value."""
    value = fields.get(name)
    if not isinstance(value, list) or not value:
        raise MalformedRequestError(f"{name}: must be a list of images or of inputs, not empty.")
    return value


def read_instances(
    values: Sequence[object], name: str, manifest: Manifest | None
) -> list[bytes] | Floats:
    """Return the image files in `values`, or the preprocessed inputs: float32 (N, *input).

    An image is a string in base64, a data URL, `{"b64": string}`, or one of these in an object of
    one field; an input is nested lists of numbers in the shape of the model's input, or flat.
    `manifest` is None for `auto`, which takes image files only. Raise MalformedRequestError for the
    first invalid value, which it names by its position.
    """
    _require_count(values, MAX_ROWS, name)
    found = [_unwrap(value, f"{name}[{number}]") for number, value in enumerate(values)]
    inputs = sum(isinstance(value, list) for value in found)
    if inputs == 0:
        _require_count(found, MAX_IMAGES, name)
        return [decode_image(value, f"{name}[{number}]") for number, value in enumerate(found)]
    if inputs < len(found):
        raise MalformedRequestError(f"{name}: send either images or arrays of numbers, not both.")
    if manifest is None:
        raise MalformedRequestError(
            f"{name}: arrays of numbers are preprocessed inputs, which need a named model. Send "
            'images as {"b64": …} instead.'
        )
    shape = manifest.preprocess.input_shape
    rows = [_read_row(value, f"{name}[{number}]", shape) for number, value in enumerate(found)]
    return np.concatenate(rows)


def read_images(values: Sequence[object], name: str) -> list[bytes]:
    """Return the image files in `values`, as `read_instances` does; arrays are refused."""
    found = read_instances(values, name, None)
    assert isinstance(found, list)  # noqa: S101
    return found


def decode_image(value: object, name: str) -> bytes:
    """Return the image file in a base64 string or data URL; raise MalformedRequestError."""
    if not isinstance(value, str) or not value:
        raise _value_error(name)
    try:
        data = decode_data_url(value)
    except ValueError as error:
        raise MalformedRequestError(f"{name}: the image is not valid base64.") from error
    if not data:
        raise MalformedRequestError(f"{name}: the image is empty.")
    return data


def _unwrap(value: object, name: str) -> object:
    """Return the string or list in an object of one field, or in objects nested so."""
    for _ in range(_MAX_NESTING):
        if not isinstance(value, dict):
            break
        fields = [each for each in value if each not in _DESCRIPTIONS]
        if len(fields) != 1:
            raise _value_error(name)
        value = value[fields[0]]
    if not isinstance(value, str | list):
        raise _value_error(name)
    return value


def _read_row(value: object, name: str, shape: tuple[int, ...]) -> Floats:
    assert isinstance(value, list)  # noqa: S101
    is_flat = len(value) == math.prod(shape)
    tensor = Tensor(name, "FP32", (1, *shape), values=value if is_flat else [value])
    return read_rows(tensor, shape, takes_pixels=False)


def _require_count(values: Sequence[object], limit: int, name: str) -> None:
    if len(values) > limit:
        raise MalformedRequestError(
            f"{name}: a request has at most {limit:,}, not {len(values):,}."
        )


def _value_error(name: str) -> MalformedRequestError:
    return MalformedRequestError(
        f'{name}: send an image as {{"b64": …}}, or the model\'s input as an array of numbers.'
    )
