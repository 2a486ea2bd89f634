"""Bounds on the memory of a ModelInfer request, checked in its bytes before they are parsed.

An empty message of two bytes takes about 50 times as much memory once it is parsed, so that a
message within the size limit could take gigabytes.
"""

from collections.abc import Iterator
from typing import Final

from backend.api.compat import grpc_predict_v2_pb2 as pb
from backend.api.compat.inference_tensors import MAX_IMAGES
from backend.api.errors import BodyTooLargeError, MalformedRequestError

_MAX_FIELDS: Final = 256  # of a message or of one of its inputs
_MAX_SMALL: Final = 4_096  # bytes of a name, a shape, a parameter or a requested output
_MAX_NUMBERS: Final = 8_000_000  # bytes of typed contents but BYTES

_INPUTS: Final = pb.ModelInferRequest.INPUTS_FIELD_NUMBER
_RAW: Final = pb.ModelInferRequest.RAW_INPUT_CONTENTS_FIELD_NUMBER
_CONTENTS: Final = pb.ModelInferRequest.InferInputTensor.CONTENTS_FIELD_NUMBER
_BYTES: Final = pb.InferTensorContents.BYTES_CONTENTS_FIELD_NUMBER

# https://protobuf.dev/programming-guides/encoding/
_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5
_FIXED_SIZES: Final = {_FIXED64: 8, _FIXED32: 4}


def check_sizes(message: bytes) -> None:
    """Raise BodyTooLargeError for too many or too large fields, and MalformedRequestError."""
    for number, field in _fields(memoryview(message), _MAX_FIELDS):
        if number == _INPUTS:
            _check_input(field)
        elif number != _RAW:
            _require_size(field, _MAX_SMALL)


def _check_input(message: memoryview) -> None:
    for number, field in _fields(message, _MAX_FIELDS):
        if number != _CONTENTS:
            _require_size(field, _MAX_SMALL)
            continue
        numbers = 0
        for kind, values in _fields(field, MAX_IMAGES + _MAX_FIELDS):
            numbers += len(values) if kind != _BYTES else 0
        if numbers > _MAX_NUMBERS:
            raise BodyTooLargeError(
                "The typed contents of an input are too large. Send them in raw_input_contents."
            )


def _require_size(field: memoryview, limit: int) -> None:
    if len(field) > limit:
        raise BodyTooLargeError(
            f"A name, shape, parameter or output in the message has more than {limit:,} bytes."
        )


def _fields(message: memoryview, limit: int) -> Iterator[tuple[int, memoryview]]:
    """Yield the number and the bytes of each field, without its length."""
    position, count = 0, 0
    while position < len(message):
        count += 1
        if count > limit:
            raise BodyTooLargeError(
                f"A part of the message has more than {limit:,} fields. Send fewer inputs, and "
                "numbers packed or in raw_input_contents."
            )
        tag, position = _varint(message, position)
        kind = tag & 7
        start = position
        if kind == _VARINT:
            _, position = _varint(message, position)
        elif kind == _LENGTH:
            size, start = _varint(message, position)
            position = start + size
        elif kind in _FIXED_SIZES:
            position += _FIXED_SIZES[kind]
        else:
            raise _malformed()
        if position > len(message):
            raise _malformed()
        yield tag >> 3, message[start:position]


def _varint(message: memoryview, position: int) -> tuple[int, int]:
    """Return a number of at most ten bytes, and the position after it."""
    value = 0
    for shift in range(0, 70, 7):
        if position >= len(message):
            break
        byte = message[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
    raise _malformed()


def _malformed() -> MalformedRequestError:
    return MalformedRequestError("The message is not a valid ModelInferRequest.")
