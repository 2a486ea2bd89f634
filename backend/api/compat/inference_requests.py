"""Bodies of the Open Inference Protocol's `infer`: JSON, followed by the binary tensors, if any.

https://github.com/kserve/open-inference-protocol, with the extensions `binary_tensor_data` and
`classification` of Triton.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from backend.api.compat.inference_tensors import Tensor, shown
from backend.api.errors import MalformedRequestError
from backend.api.json_body import parse_json
from backend.api.parameters import parse_integer

HEADER_LENGTH: Final = "Inference-Header-Content-Length"
BINARY_SIZE: Final = "binary_data_size"

_MAX_VALUES: Final = 1_000_000  # of which four photos of 260x260 pixels need 811,200
_MAX_ARRAYS: Final = 100_000
_MAX_INPUTS: Final = 16
_MAX_OUTPUTS: Final = 16
_MAX_DIMENSION: Final = 2**31


@dataclass(frozen=True, slots=True)
class RequestedOutput:
    """An output, in binary or in JSON; `classes`: as that many labels, with the classification
    extension.
    """

    name: str
    is_binary: bool
    classes: int | None = None


@dataclass(frozen=True, slots=True)
class InferRequest:
    """A parsed body; `outputs` is empty if the client wants all, `is_binary` is for those."""

    inputs: tuple[Tensor, ...]
    outputs: tuple[RequestedOutput, ...]
    id: str | None
    is_binary: bool
    store: bool


def parse_request(body: bytes | bytearray, header_length: str | None) -> InferRequest:
    """Parse a body; `header_length` is the value of Inference-Header-Content-Length, if sent.

    Raise MalformedRequestError for the first error, and BodyTooLargeError for excessive JSON.
    """
    view = memoryview(body)
    size = len(body) if header_length is None else _parse_length(header_length, len(body))
    fields = _parse_header(body if size == len(body) else bytes(view[:size]))
    binary = view[size:]
    parameters = _parameters(fields, "parameters")
    is_binary = _boolean(parameters, "binary_data_output", "parameters", default=False)
    inputs, used = [], 0
    for each in _objects(fields, "inputs", _MAX_INPUTS):
        tensor, used = _parse_input(each, binary, used, has_binary=header_length is not None)
        inputs.append(tensor)
    if not inputs:
        raise MalformedRequestError("inputs: send at least one tensor.")
    if used != len(binary):
        raise MalformedRequestError(
            f"The binary data has {len(binary):,} bytes, but the inputs' {BINARY_SIZE} say "
            f"{used:,}. {HEADER_LENGTH} is the length of the JSON before it."
        )
    outputs = [_parse_output(each, is_binary) for each in _objects(fields, "outputs", _MAX_OUTPUTS)]
    for noun, names in (("input", [i.name for i in inputs]), ("output", [o.name for o in outputs])):
        if len(set(names)) < len(names):
            raise MalformedRequestError(f"The request names an {noun} twice.")
    request_id = fields.get("id")
    if not isinstance(request_id, str | None):
        raise MalformedRequestError("id: must be a string.")
    store = _boolean(parameters, "store", "parameters", default=True)
    return InferRequest(tuple(inputs), tuple(outputs), request_id, is_binary, store)


def _parse_length(text: str, size: int) -> int:
    try:
        length = parse_integer(text)
    except ValueError:
        length = 0
    if not 1 <= length <= size:
        raise MalformedRequestError(
            f"{HEADER_LENGTH}: must be the length of the JSON, 1 to {size:,}, the size of the body."
        )
    return length


def _parse_header(data: bytes | bytearray) -> dict[str, Any]:
    try:
        fields = parse_json(data, max_values=_MAX_VALUES, max_arrays=_MAX_ARRAYS)
    except MalformedRequestError as error:
        hint = " JSON has no NaN and no Infinity." if b"NaN" in data or b"Infinity" in data else ""
        raise MalformedRequestError(
            f"The body is not valid JSON.{hint} Binary tensors follow the JSON, whose length is "
            f"the value of {HEADER_LENGTH}."
        ) from error
    if not isinstance(fields, dict):
        raise MalformedRequestError("The body must be a JSON object with the field 'inputs'.")
    return fields


def _parse_input(
    fields: Mapping[str, Any], binary: memoryview, start: int, *, has_binary: bool
) -> tuple[Tensor, int]:
    """Return an input, whose binary data begins at `start`, and the end of that data."""
    name, datatype, shape = fields.get("name"), fields.get("datatype"), fields.get("shape")
    if not isinstance(name, str):
        raise MalformedRequestError("inputs: each needs a name, a string.")
    if not isinstance(datatype, str):
        raise MalformedRequestError(f"{shown(name)}: the datatype must be a string such as FP32.")
    if not isinstance(shape, list) or not all(map(_is_dimension, shape)):
        raise MalformedRequestError(f"{shown(name)}: the shape must be a list of sizes.")
    parameters = _parameters(fields, shown(name))
    if any(key.startswith("shared_memory") for key in parameters):
        raise MalformedRequestError(
            f"{shown(name)}: shared memory is not supported. Send the data in the request."
        )
    size = parameters.get(BINARY_SIZE)
    if (size is None) == ("data" not in fields):
        raise MalformedRequestError(
            f"{shown(name)}: needs either 'data', or the parameter {BINARY_SIZE} and binary data."
        )
    if size is None:
        return Tensor(name, datatype, tuple(shape), values=fields["data"]), start
    if not has_binary:
        raise MalformedRequestError(
            f"{shown(name)}: has a {BINARY_SIZE}, but the request has no header {HEADER_LENGTH}."
        )
    if not _is_dimension(size) or size > len(binary) - start:
        raise MalformedRequestError(
            f"{shown(name)}: {BINARY_SIZE} must be the size of its data; {len(binary) - start:,} "
            "bytes are left of the body."
        )
    end = start + size
    return Tensor(name, datatype, tuple(shape), binary[start:end]), end


def _parse_output(fields: Mapping[str, Any], is_binary: bool) -> RequestedOutput:
    name = fields.get("name")
    if not isinstance(name, str):
        raise MalformedRequestError("outputs: each needs a name, a string.")
    parameters = _parameters(fields, shown(name))
    if any(key.startswith("shared_memory") for key in parameters):
        raise MalformedRequestError(f"{shown(name)}: shared memory is not supported.")
    classes = parameters.get("classification")
    if classes is not None and (not _is_dimension(classes) or classes < 1):
        raise MalformedRequestError(
            f"{shown(name)}: classification must be the number of labels, at least 1."
        )
    is_binary = _boolean(parameters, "binary_data", shown(name), default=is_binary)
    return RequestedOutput(name, is_binary, classes)


def _objects(fields: Mapping[str, Any], field: str, limit: int) -> list[dict[str, Any]]:
    values = fields.get(field)
    if values is None:
        return []
    if not isinstance(values, list) or not all(isinstance(each, dict) for each in values):
        raise MalformedRequestError(f"{field}: must be a list of objects.")
    if len(values) > limit:
        raise MalformedRequestError(f"{field}: there are more than {limit}.")
    return values


def _parameters(fields: Mapping[str, Any], name: str) -> dict[str, Any]:
    parameters = fields.get("parameters")
    if parameters is None:
        return {}
    if not isinstance(parameters, dict):
        raise MalformedRequestError(f"{name}: the parameters must be an object.")
    return parameters


def _boolean(parameters: Mapping[str, Any], key: str, name: str, *, default: bool) -> bool:
    value = parameters.get(key, default)
    if not isinstance(value, bool):
        raise MalformedRequestError(f"{name}: {key} must be true or false.")
    return value


def _is_dimension(value: object) -> bool:
    return type(value) is int and 0 <= value < _MAX_DIMENSION
