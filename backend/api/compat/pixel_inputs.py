"""Request formats of the digit tutorials: JSON with raw pixels or images, and data URLs."""

import re
from collections.abc import Sequence
from itertools import chain
from typing import Any, Final, Literal, cast, get_args
from urllib.parse import parse_qs

import numpy as np
import orjson
from numpy.typing import NDArray
from PIL import Image

from backend.api.compat import data_urls, instances
from backend.api.errors import MalformedRequestError, MissingFileError
from backend.api.json_body import parse_json
from backend.api.parameters import parse_number
from backend.inference.errors import PixelsError
from backend.inference.images import opening
from backend.inference.preprocessing.digit_crop import DigitPreprocess, find_digit, normalize
from backend.inference.types import Floats

PixelField = Literal["input", "features", "image", "instances"]

DRAWING_FIELD: Final = "drawing_data"

MAX_BYTES: Final = 8_388_608  # of a JSON body: 500 rows of 784 numbers of 19 digits need 8.2 MB

_MAX_VALUES: Final = 400_000  # of which 500 rows of 784 numbers need 392,000
_MAX_ARRAYS: Final = 100_000
_MAX_FORM_FIELDS: Final = 100
_MAX_FORM_ESCAPES: Final = 100_000  # base64 needs escapes for "+", "/" and "=" only
_MAX_NUMBER: Final = 400  # bytes in which a number that is not finite is recognized
_NOT_FINITE: Final = re.compile(rb"(?i)nan|inf|\d[\d.]*e\+?\d{3,}")


def parse_pixels(
    body: bytes | bytearray, spec: DigitPreprocess
) -> tuple[PixelField, Floats | list[bytes]]:
    """Return the field of a JSON body, and its model inputs: float32, shape (N, 1, H, W).

    Return image files instead for `instances` that are objects with an image in base64, and for an
    `image` that is a data URL.

    Raises PixelsError for the first missing field, wrong shape, type or range, with no part of the
    body in its message; BodyTooLargeError for more than 400,000 values or 100,000 arrays; and
    MalformedRequestError for invalid JSON.
    """
    try:
        fields = parse_json(body, max_values=_MAX_VALUES, max_arrays=_MAX_ARRAYS)
    except MalformedRequestError as error:
        if _starts_not_finite(body, error.__cause__):
            raise _not_finite_error() from error
        raise
    for field in get_args(PixelField):
        if isinstance(fields, dict) and field in fields:
            if images := _find_images(fields[field], field):
                return field, images
            parse = _parse_string if field == "image" else _parse_lists
            return field, _normalize(parse(fields[field], field, spec.size), field, spec)
    raise PixelsError("Send a JSON object with 'input', 'features', 'image' or 'instances'.")


def _find_images(value: object, field: PixelField) -> list[bytes]:
    """Return the image files in the value of a field; empty: it consists of pixels."""
    if field == "image" and isinstance(value, str) and value[:5].lower().startswith("data"):
        return [instances.decode_image(value, field)]
    if field == "instances" and isinstance(value, list) and isinstance(next(iter(value), 0), dict):
        return instances.read_images(value, field)
    return []


def _starts_not_finite(body: bytes | bytearray, error: BaseException | None) -> bool:
    """Return whether parsing failed at a number that is not finite."""
    if not isinstance(error, orjson.JSONDecodeError):
        return False
    start = max(0, error.pos - 1)
    return bool(_NOT_FINITE.match(body[start : start + _MAX_NUMBER].lstrip(b" [,:-")))


def find_data_url(body: bytes | bytearray) -> str:
    """Return the data URL in a body: JSON, a URL-encoded form, or the data URL itself.

    Raises MissingFileError if there is none, MalformedRequestError for an excessive form or invalid
    JSON, and BodyTooLargeError for excessive JSON.
    """
    if body.lstrip().startswith(b"{"):
        return _find_in_json(body)
    text = body.decode("ascii", "replace").strip()
    if f"{DRAWING_FIELD}=" in text and not text.startswith("data:"):
        return _find_in_form(text)
    if not text:
        raise missing_drawing_error()
    return text


def decode_data_url(text: str) -> bytes:
    """Decode a data URL or bare base64; raise MalformedRequestError for anything else."""
    try:
        return data_urls.decode_data_url(text)
    except ValueError as error:
        raise MalformedRequestError(
            f"{DRAWING_FIELD} is not a data URL. Send data:image/png;base64, followed by the image "
            "in base64."
        ) from error


def read_canvas(data: bytes, spec: DigitPreprocess, max_pixels: int) -> Floats | None:
    """Return the model input of light strokes on a transparent canvas of the model's size.

    The tutorial's service reads the red channel of such a canvas as white ink on black. Return None
    for every other image. Raise ImageError if `data` is not an image.
    """
    image = opening.open_image(data, max_pixels=max_pixels)
    if image.size != (spec.size, spec.size) or not image.has_transparency_data:
        return None
    canvas = Image.new("RGBA", image.size, "black")
    try:
        canvas.alpha_composite(image.convert("RGBA"))
    except opening.DECODE_ERRORS:  # the classifier raises the right error for a damaged file
        return None
    red = canvas.getchannel("R")
    _, brightest = cast(tuple[float, float], red.getextrema())
    if brightest < spec.min_contrast:
        return None
    return normalize(find_digit(red, spec)[np.newaxis], spec)


def missing_drawing_error() -> MissingFileError:
    """Return the error for a request without a drawing."""
    return MissingFileError(f"Send the drawing as {DRAWING_FIELD}=data:image/png;base64,…")


def _find_in_form(text: str) -> str:
    if text.count("%") > _MAX_FORM_ESCAPES:
        raise MalformedRequestError("The form has too many escapes.")
    try:
        fields = parse_qs(text, max_num_fields=_MAX_FORM_FIELDS)
    except ValueError as error:
        raise MalformedRequestError("The form has too many fields.") from error
    if DRAWING_FIELD not in fields:
        raise missing_drawing_error()
    return fields[DRAWING_FIELD][0]


def _find_in_json(body: bytes | bytearray) -> str:
    value = parse_json(body).get(DRAWING_FIELD)
    if not isinstance(value, str) or not value:
        raise missing_drawing_error()
    return value


def _normalize(pixels: NDArray[np.float64], field: PixelField, spec: DigitPreprocess) -> Floats:
    """Normalize images of shape (N, size, size); `features` and `instances` may have any scale."""
    if field in ("features", "instances"):
        return np.concatenate([_rescale(image[np.newaxis], field, spec) for image in pixels])
    return normalize(_check_range(pixels, field), spec)


def _rescale(image: NDArray[np.float64], field: PixelField, spec: DigitPreprocess) -> Floats:
    """Normalize an image in the range 0 to 255, 0 to 1 or -1 to 1, or normalized already."""
    low, high = image.min(), image.max()
    if low >= 0:
        return normalize(_check_range(image * 255 if high <= 1 else image, field), spec)
    darkest = -spec.mean / spec.std
    if low >= darkest - 0.01:
        return image.astype(np.float32).reshape(-1, *spec.input_shape)
    if low < -1 or high > 1:
        raise PixelsError(f"{field}: a pixel is outside every supported range.")
    return normalize((image + 1) * 127.5, spec)


def _check_range(pixels: NDArray[np.float64], field: PixelField) -> NDArray[np.float64]:
    if pixels.min() < 0 or pixels.max() > 255:
        raise PixelsError(f"{field}: a pixel is outside 0 to 255.")
    return pixels


def _parse_lists(value: object, field: PixelField, size: int) -> NDArray[np.float64]:
    """Return nested lists of numbers, all in the shape of the first, as (N, size, size)."""
    shape: list[int] = []
    first = value
    while isinstance(first, list) and first and len(shape) < 5:
        shape.append(len(first))
        first = first[0]
    image_shapes = [[size * size], [size, size], [size, size, 1], [1, size, size]]
    if shape not in image_shapes and (shape[1:] not in image_shapes or field == "features"):
        raise _shape_error(field, size)
    flat: Any = value
    for length in shape[1:]:
        if any(type(row) is not list or len(row) != length for row in flat):
            raise _shape_error(field, size)
        flat = list(chain.from_iterable(flat))
    return _to_array(flat, field).reshape(-1, size, size)


def _parse_string(value: object, field: PixelField, size: int) -> NDArray[np.float64]:
    """Return a string of size * size comma-separated numbers as (1, size, size)."""
    if not isinstance(value, str):
        raise PixelsError(f"{field}: must be a string of {size * size} comma-separated numbers.")
    numbers = value.split(",", size * size)
    if len(numbers) != size * size:
        raise _shape_error(field, size)
    try:
        pixels = [parse_number(number.strip(" ")) for number in numbers]
        return _to_array(pixels, field).reshape(1, size, size)
    except ValueError as error:
        raise _type_error(field) from error


def _to_array(flat: Sequence[object], field: PixelField) -> NDArray[np.float64]:
    if not set(map(type, flat)) <= {int, float}:
        raise _type_error(field)
    try:
        pixels = np.array(flat, dtype=np.float64)
    except OverflowError as error:
        raise _not_finite_error() from error
    if not np.isfinite(pixels).all():
        raise _not_finite_error()
    return pixels


def _shape_error(field: PixelField, size: int) -> PixelsError:
    return PixelsError(
        f"{field}: must be images of {size}x{size} pixels, as rows of {size * size} numbers."
    )


def _type_error(field: PixelField) -> PixelsError:
    return PixelsError(f"{field}: a pixel is not a number.")


def _not_finite_error() -> PixelsError:
    return PixelsError("A pixel is not a finite number.")
