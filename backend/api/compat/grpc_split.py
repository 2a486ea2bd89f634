"""Splits the bytes of a ModelInfer request: large fields are taken out before the rest is parsed.

Parsing would copy them. Above all, an empty message of two bytes takes about 50 times as much
memory once it is parsed, so that the number of fields has to be limited before.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
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


@dataclass(slots=True)
class SplitRequest:
    """A request without its large fields, and those: raw contents, and BYTES of each input."""

    rest: bytearray = field(default_factory=bytearray)
    raw: list[memoryview] = field(default_factory=list)
    strings: list[list[memoryview]] = field(default_factory=list)


def split_request(message: bytes) -> SplitRequest:
    """Return the parts of a message, without copying the large ones.

    Raise BodyTooLargeError for too many or too large fields, and MalformedRequestError.
    """
    found = SplitRequest()
    for number, whole, content in _fields(memoryview(message), _MAX_FIELDS):
        if number == _RAW:
            found.raw.append(content)
        elif number == _INPUTS:
            piece, strings = _split_input(content)
            found.rest += _delimited(number, piece)
            found.strings.append(strings)
        else:
            found.rest += _require_small(whole)
    return found


def _split_input(message: memoryview) -> tuple[bytearray, list[memoryview]]:
    """Return an input without its BYTES, and these."""
    piece, strings = bytearray(), []
    for number, whole, content in _fields(message, _MAX_FIELDS):
        if number != _CONTENTS:
            piece += _require_small(whole)
            continue
        numbers = bytearray()
        for kind, whole_values, values in _fields(content, MAX_IMAGES + _MAX_FIELDS):
            if kind == _BYTES:
                strings.append(values)
            elif len(numbers) + len(whole_values) > _MAX_NUMBERS:
                raise BodyTooLargeError(
                    "The typed contents of an input are too large. Send them in raw_input_contents."
                )
            else:
                numbers += whole_values
        piece += _delimited(number, numbers)
    return piece, strings


def _require_small(content: memoryview) -> memoryview:
    if len(content) > _MAX_SMALL:
        raise BodyTooLargeError(
            f"A name, shape, parameter or output in the message has more than {_MAX_SMALL:,} bytes."
        )
    return content


def _fields(message: memoryview, limit: int) -> Iterator[tuple[int, memoryview, memoryview]]:
    """Yield the number of each field, its bytes, and its content without tag and length."""
    position, count = 0, 0
    while position < len(message):
        count += 1
        if count > limit:
            raise BodyTooLargeError(
                f"A part of the message has more than {limit:,} fields. Send fewer inputs, and "
                "numbers packed or in raw_input_contents."
            )
        begin = position
        tag, start = _read_varint(message, position)
        kind = tag & 7
        if kind == _VARINT:
            _, position = _read_varint(message, start)
        elif kind == _LENGTH:
            size, start = _read_varint(message, start)
            position = start + size
        elif kind in _FIXED_SIZES:
            position = start + _FIXED_SIZES[kind]
        else:
            raise _malformed()
        if position > len(message):
            raise _malformed()
        yield tag >> 3, message[begin:position], message[start:position]


def _read_varint(message: memoryview, position: int) -> tuple[int, int]:
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


def _delimited(number: int, content: bytearray) -> bytes:
    """Return a field with its tag and length."""
    return _varint(number << 3 | _LENGTH) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value >= 0x80:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def _malformed() -> MalformedRequestError:
    return MalformedRequestError("The message is not a valid ModelInferRequest.")
