"""Messages of the Open Inference Protocol over gRPC, as requests and responses over HTTP.

https://github.com/kserve/open-inference-protocol
"""

import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import numpy as np
import orjson
from google.protobuf.message import DecodeError

from backend.api.compat import grpc_predict_v2_pb2 as pb
from backend.api.compat.grpc_split import split_request
from backend.api.compat.inference_requests import BINARY_SIZE, HEADER_LENGTH
from backend.api.compat.inference_tensors import shown
from backend.api.errors import BodyTooLargeError, MalformedRequestError

T = TypeVar("T")

MAX_VALUES: Final = 1_000_000  # in the typed contents of a message

_MAX_TENSORS: Final = 16  # inputs, and requested outputs
_MAX_DIMENSIONS: Final = 16
_MAX_PARAMETERS: Final = 64
_LENGTH: Final = struct.Struct("<I")
# Parameters that describe the binary data, which the message has in fields of its own.
_OWN_PARAMETERS: Final = frozenset({BINARY_SIZE, "binary_data", "binary_data_output"})


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """A request of the protocol over HTTP."""

    method: str
    path: str
    body: bytes = b""
    headers: tuple[tuple[bytes, bytes], ...] = ()


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """A response with the names of its headers in lower case."""

    status: int
    headers: Mapping[bytes, bytes]
    body: bytes

    def json(self) -> Any:
        """Return the parsed body."""
        return orjson.loads(self.body)


def parse(message: bytes, kind: Callable[[], T]) -> T:
    """Return a message of a type; raise MalformedRequestError if its bytes are invalid."""
    parsed: Any = kind()
    try:
        parsed.ParseFromString(message)
    except (DecodeError, ValueError) as error:
        raise MalformedRequestError(
            f"The message is not a valid {type(parsed).__name__}."
        ) from error
    result: T = parsed
    return result


def model_path(name: str, version: str, suffix: str = "") -> str:
    """Return the path of a model; raise MalformedRequestError for a name that is not one."""
    if not name or "/" in name or "/" in version:
        raise MalformedRequestError("The message must name a model, without a slash.")
    middle = f"/versions/{version}" if version else ""
    return f"/v2/models/{name}{middle}{suffix}"


def to_http(message: bytes) -> HttpRequest:
    """Return the bytes of a ModelInfer request as its equivalent over HTTP, tensors in binary.

    Raise MalformedRequestError if its contents contradict each other, and BodyTooLargeError for
    more than MAX_VALUES values that are not raw.
    """
    split = split_request(message)
    request = parse(bytes(split.rest), pb.ModelInferRequest)
    path = model_path(request.model_name, request.model_version, "/infer")
    if max(len(request.inputs), len(request.outputs)) > _MAX_TENSORS:
        raise MalformedRequestError(f"There are more than {_MAX_TENSORS} inputs or outputs.")
    if split.raw and len(split.raw) != len(request.inputs):
        raise MalformedRequestError(
            "raw_input_contents: needs one element for each input, in the same order."
        )
    inputs: list[dict[str, Any]] = []
    binary: list[bytes | memoryview] = []
    for number, (tensor, strings) in enumerate(zip(request.inputs, split.strings, strict=True)):
        if len(tensor.shape) > _MAX_DIMENSIONS:
            raise MalformedRequestError(
                f"{shown(tensor.name)}: the shape has more than {_MAX_DIMENSIONS} dimensions."
            )
        if split.raw and tensor.HasField("contents"):
            raise MalformedRequestError(
                f"{shown(tensor.name)}: has contents besides raw_input_contents."
            )
        pieces = [split.raw[number]] if split.raw else _encode(tensor, strings)
        size = sum(len(piece) for piece in pieces)
        inputs.append(
            {
                "name": tensor.name,
                "datatype": tensor.datatype,
                "shape": list(tensor.shape),
                "parameters": _parameters(tensor.parameters) | {BINARY_SIZE: size},
            }
        )
        binary += pieces
    fields = {
        "inputs": inputs,
        "outputs": [
            {"name": each.name, "parameters": _parameters(each.parameters) | {"binary_data": True}}
            for each in request.outputs
        ],
        "parameters": _parameters(request.parameters) | {"binary_data_output": True},
    }
    if request.id:
        fields["id"] = request.id
    header = orjson.dumps(fields)
    headers = ((HEADER_LENGTH.lower().encode(), str(len(header)).encode()),)
    return HttpRequest("POST", path, b"".join((header, *binary)), headers)


def from_http(response: HttpResponse) -> pb.ModelInferResponse:
    """Return the ModelInfer response for a response over HTTP, with raw contents."""
    length = int(response.headers[HEADER_LENGTH.lower().encode()])
    fields = orjson.loads(response.body[:length])
    outputs, raw, start = [], [], length
    for each in fields["outputs"]:
        end = start + each["parameters"][BINARY_SIZE]
        raw.append(response.body[start:end])
        start = end
        outputs.append(
            pb.ModelInferResponse.InferOutputTensor(
                name=each["name"], datatype=each["datatype"], shape=each["shape"]
            )
        )
    return pb.ModelInferResponse(
        model_name=fields["model_name"],
        model_version=fields["model_version"],
        id=fields.get("id", ""),
        outputs=outputs,
        raw_output_contents=raw,
    )


def metadata_from_http(response: HttpResponse) -> pb.ModelMetadataResponse:
    """Return the ModelMetadata response for a response over HTTP."""
    fields = response.json()

    def tensors(key: str) -> list[pb.ModelMetadataResponse.TensorMetadata]:
        return [
            pb.ModelMetadataResponse.TensorMetadata(
                name=each["name"], datatype=each["datatype"], shape=each["shape"]
            )
            for each in fields[key]
        ]

    return pb.ModelMetadataResponse(
        name=fields["name"],
        versions=fields["versions"],
        platform=fields["platform"],
        inputs=tensors("inputs"),
        outputs=tensors("outputs"),
    )


def _encode(
    tensor: pb.ModelInferRequest.InferInputTensor, strings: Sequence[memoryview]
) -> list[bytes | memoryview]:
    """Return the typed contents of a tensor as pieces of binary data; `strings` are its BYTES."""
    contents, name = tensor.contents, shown(tensor.name)
    match tensor.datatype:
        case "BYTES":
            return [piece for each in strings for piece in (_LENGTH.pack(len(each)), each)]
        case "FP32":
            return [np.array(_limit(contents.fp32_contents, name), dtype="<f4").tobytes()]
        case "FP64":
            return [np.array(_limit(contents.fp64_contents, name), dtype="<f8").tobytes()]
        case "UINT8":
            values = np.array(_limit(contents.uint_contents, name), dtype=np.uint32)
            if values.size and values.max() > 255:
                raise MalformedRequestError(f"{name}: a number is outside 0 to 255.")
            return [values.astype(np.uint8).tobytes()]
        case "FP16":
            raise MalformedRequestError(f"{name}: send FP16 in raw_input_contents.")
    return []  # the route refuses the datatype


def _limit(values: Sequence[T], name: str) -> Sequence[T]:
    if len(values) > MAX_VALUES:
        raise BodyTooLargeError(
            f"{name}: has more than {MAX_VALUES:,} values. Send them in raw_input_contents."
        )
    return values


def _parameters(parameters: Mapping[str, pb.InferParameter]) -> dict[str, Any]:
    if len(parameters) > _MAX_PARAMETERS:
        raise MalformedRequestError(f"There are more than {_MAX_PARAMETERS} parameters.")
    found: dict[str, Any] = {}
    for name in _names(parameters):
        kind = parameters[name].WhichOneof("parameter_choice")
        if kind is not None:
            found[name] = getattr(parameters[name], kind)
    return found


def _names(parameters: Iterable[str]) -> list[str]:
    return [name for name in parameters if name not in _OWN_PARAMETERS]
