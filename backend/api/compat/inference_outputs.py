"""Outputs of the Open Inference Protocol: descriptions of models, and tensors of responses."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import orjson
from numpy.typing import NDArray

from backend.api.compat.inference_requests import BINARY_SIZE, InferRequest, RequestedOutput
from backend.api.compat.inference_tensors import accepted_datatypes, encode_strings, shown
from backend.api.errors import MalformedRequestError
from backend.catalog import AUTO
from backend.inference.models.artifact import Manifest
from backend.inference.preprocessing.photos import PhotoPreprocess
from backend.inference.types import ClassificationResult

TENSOR: Final = "input"  # preprocessed inputs of the model
IMAGE: Final = "image"  # image files
PROBABILITIES: Final = "probabilities"
LABEL: Final = "label"  # the most probable one
MODEL: Final = "model"  # that classified an image, of `auto`

_PIXEL_SCALE: Final = 1 / 255  # standard deviation of a model that takes pixels of 0 to 255
_TOLERANCE: Final = 1e-6


@dataclass(frozen=True, slots=True)
class Answer:
    """The classification of one row or image, and the model that made it."""

    result: ClassificationResult
    manifest: Manifest


def takes_pixels(manifest: Manifest) -> bool:
    """Return whether the network's own input is pixels of 0 to 255."""
    spec = manifest.preprocess
    return isinstance(spec, PhotoPreprocess) and all(
        abs(mean) < _TOLERANCE and abs(std - _PIXEL_SCALE) < _TOLERANCE
        for mean, std in zip(spec.mean, spec.std, strict=True)
    )


def describe_inputs(manifest: Manifest | None) -> list[dict[str, Any]]:
    """Return the inputs of a model; None: of the automatic choice, which takes image files only."""
    images = {"name": IMAGE, "datatype": "BYTES", "shape": [-1]}
    if manifest is None:
        return [images]
    pixels = takes_pixels(manifest)
    datatypes = accepted_datatypes(takes_pixels=pixels)
    shape = [-1, *manifest.preprocess.input_shape]
    tensor = {
        "name": TENSOR,
        "datatype": "FP32",
        "shape": shape,
        "parameters": {"datatypes": ",".join(datatypes)},
    }
    return [tensor, images]


def describe_outputs(manifest: Manifest | None) -> list[dict[str, Any]]:
    """Return the outputs of a model; None: of the automatic choice."""
    probabilities: dict[str, Any] = {"name": PROBABILITIES, "datatype": "FP32", "shape": [-1, -1]}
    label = {"name": LABEL, "datatype": "BYTES", "shape": [-1]}
    if manifest is None:
        return [probabilities, label, {"name": MODEL, "datatype": "BYTES", "shape": [-1]}]
    probabilities["shape"] = [-1, len(manifest.labels)]
    return [probabilities | {"parameters": {"labels": list(manifest.labels)}}, label]


def require_outputs(request: InferRequest, names: Sequence[str]) -> None:
    """Raise MalformedRequestError if a requested output is not one of `names`."""
    for output in request.outputs:
        if output.name not in names:
            raise MalformedRequestError(
                f"{shown(output.name)}: the model has no such output. It has {', '.join(names)}."
            )
        if output.classes is not None and output.name != PROBABILITIES:
            raise MalformedRequestError(
                f"{output.name}: classification applies to the output {PROBABILITIES} only."
            )


def make_response(
    request: InferRequest, model_name: str, answers: Sequence[Answer]
) -> tuple[bytes, int | None]:
    """Return the body of a response, and the length of its JSON if binary tensors follow it."""
    by_several = len({(each.manifest.name, each.manifest.version) for each in answers}) > 1
    outputs = request.outputs
    if not outputs:
        # Models with other labels have no common tensor of probabilities.
        names = [LABEL] if by_several else [PROBABILITIES, LABEL]
        names += [MODEL] if model_name == AUTO else []
        outputs = tuple(RequestedOutput(name, request.is_binary) for name in names)
    fields: dict[str, Any] = {
        "model_name": model_name if by_several else answers[0].manifest.name,
        "model_version": "" if by_several else answers[0].manifest.version,
    }
    if request.id is not None:
        fields["id"] = request.id
    binary: list[bytes] = []
    fields["outputs"] = [
        _make_output(output, answers, binary, by_several=by_several) for output in outputs
    ]
    header = orjson.dumps(fields, option=orjson.OPT_SERIALIZE_NUMPY)
    if not binary:
        return header, None
    return b"".join((header, *binary)), len(header)


def _make_output(
    output: RequestedOutput, answers: Sequence[Answer], binary: list[bytes], *, by_several: bool
) -> dict[str, Any]:
    """Return the description of an output, with its data or after appending it to `binary`."""
    if output.name == PROBABILITIES and output.classes is None:
        if by_several:
            raise MalformedRequestError(
                f"{PROBABILITIES}: the images were classified by models with different labels. "
                f"Send one image at a time, or request {LABEL} or the classification extension."
            )
        return _numbers(output, np.stack([each.result.probabilities for each in answers]), binary)
    if output.name == PROBABILITIES:
        return _strings(output, _classes(answers, output.classes or 1), binary)
    if output.name == LABEL:
        return _strings(output, [each.result.top(1)[0].label for each in answers], binary)
    return _strings(output, [each.manifest.name for each in answers], binary)


def _classes(answers: Sequence[Answer], count: int) -> list[list[str]]:
    """Return "value:index:label" of the most probable labels of each row, as many of each."""
    count = min(count, *(len(each.manifest.labels) for each in answers))
    return [
        [f"{top.probability:.6f}:{top.index}:{top.label}" for top in each.result.top(count)]
        for each in answers
    ]


def _numbers(
    output: RequestedOutput, values: NDArray[np.float32], binary: list[bytes]
) -> dict[str, Any]:
    fields: dict[str, Any] = {"name": output.name, "datatype": "FP32", "shape": list(values.shape)}
    if not output.is_binary:
        return fields | {"data": values.ravel()}
    data = values.astype("<f4", copy=False).tobytes()
    binary.append(data)
    return fields | {"parameters": {BINARY_SIZE: len(data)}}


def _strings(
    output: RequestedOutput, values: Sequence[str] | Sequence[list[str]], binary: list[bytes]
) -> dict[str, Any]:
    rows = [[value] if isinstance(value, str) else value for value in values]
    is_nested = not isinstance(values[0], str)
    texts = [text for row in rows for text in row]
    shape = [len(rows), len(rows[0])] if is_nested else [len(rows)]
    fields: dict[str, Any] = {"name": output.name, "datatype": "BYTES", "shape": shape}
    if not output.is_binary:
        return fields | {"data": texts}
    data = encode_strings(texts)
    binary.append(data)
    return fields | {"parameters": {BINARY_SIZE: len(data)}}
