"""Imports ONNX classifiers: detects the input layout and the output kind."""

import math
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

import numpy as np
import onnx
from onnx import ModelProto, TensorProto, ValueInfoProto

from backend.inference.errors import PrismError
from backend.inference.runtimes.onnx_runtime import OnnxRuntime
from backend.inference.types import Floats
from calibration.apply import OutputKind
from training.package import float16
from training.package.model_spec import PackageError

Shape = tuple[int | None, ...]
Layout = Literal["NCHW", "NHWC", "NHW", "flat"]
_FLOAT_TYPES = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE)
_PIXEL_TYPES = (*_FLOAT_TYPES, TensorProto.UINT8)


class OnnxImportError(PackageError):
    """The ONNX file cannot be imported; the message says why."""


@dataclass(frozen=True)
class OnnxGraph:
    """A graph with one image input and one output of scores.

    `shape` is the input shape without the batch dimension. `channels` and `side` are derived from
    it. Dimensions that the graph leaves open are None.
    """

    model: ModelProto
    shape: Shape
    layout: Layout
    channels: Literal[1, 3]
    side: int | None


def read_graph(path: Path) -> OnnxGraph:
    """Read a classifier; raise OnnxImportError if the file is not one.

    Only the scores remain as output. (Converters for scikit-learn put the label first and return
    the scores as a map, which is removed.) A graph in float16 becomes one in float32.
    """
    try:
        model = onnx.load(path)
        onnx.checker.check_model(model)
    except FileNotFoundError as error:
        raise OnnxImportError(f"file not found: {path}") from error
    except Exception as error:  # protobuf and the checker raise their own types
        raise OnnxImportError(f"{path} is not a valid ONNX file") from error
    return describe_graph(model, path)


def describe_graph(model: ModelProto, path: Path = Path("the graph")) -> OnnxGraph:
    """Return the graph with what its input tells; see `read_graph`, which reports `path`."""
    constants = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in constants]
    if len(inputs) != 1:
        names = ", ".join(value.name for value in inputs) or "none"
        raise OnnxImportError(f"{path} must have exactly one input; it has {names}")
    (first,) = inputs
    if first.type.tensor_type.elem_type not in _PIXEL_TYPES:
        raise OnnxImportError(f"{path}: the type of the input {first.name} cannot hold pixels")
    shape = tuple(
        side.dim_value or None if side.HasField("dim_value") else None
        for side in first.type.tensor_type.shape.dim
    )[1:]
    _remove_zipmap(model)
    _keep_scores(model, path)
    float16.widen(model)
    return OnnxGraph(model, shape, *_detect_layout(shape, path))


def detect_output_kind(scores: Floats) -> OutputKind:
    """Return whether the rows of `scores` (N, C) are probabilities or logits."""
    sums = scores.sum(axis=1)
    if (scores >= 0).all() and np.allclose(sums, 1, atol=1e-3):
        return "probabilities"
    return "logits"


def _detect_layout(shape: Shape, path: Path) -> tuple[Layout, Literal[1, 3], int | None]:
    """Return layout, channels and side (None: open or not square) of an input shape."""
    match shape:
        case (1 | 3 as channels, height, width):
            return "NCHW", channels, height if height == width else None
        case (height, width, 1 | 3 as channels):
            return "NHWC", channels, height if height == width else None
        case (None, height, width):
            return "NCHW", 3, height if height == width else None
        case (int(height), int(width)) if height == width:
            return "NHW", 1, height
        case (int(length),) if math.isqrt(length) ** 2 == length:
            return "flat", 1, math.isqrt(length)
    raise OnnxImportError(f"{path}: an input of shape {shape} is not a supported image")


def _remove_zipmap(model: ModelProto) -> None:
    for node in [node for node in model.graph.node if node.op_type == "ZipMap"]:
        for output in model.graph.output:
            if output.name == node.output[0]:
                name, kind = node.input[0], TensorProto.FLOAT
                output.CopyFrom(onnx.helper.make_tensor_value_info(name, kind, [None, None]))
        model.graph.node.remove(node)


def _keep_scores(model: ModelProto, path: Path) -> None:
    """Remove all outputs except the first float tensor, which holds the scores."""
    outputs = model.graph.output
    scores = [output for output in outputs if output.type.tensor_type.elem_type in _FLOAT_TYPES]
    if not scores:
        raise OnnxImportError(f"{path}: no output holds scores")
    output = ValueInfoProto()
    output.CopyFrom(scores[0])
    del outputs[:]
    outputs.append(output)


def run_graph(graph: OnnxGraph, inputs: Floats) -> Floats:
    """Return the scores (N, C) of `graph` for `inputs` (N, *input).

    Raise OnnxImportError if the graph fails or does not return scores.
    """
    with TemporaryDirectory() as folder:
        path = Path(folder) / "graph.onnx"
        onnx.save(graph.model, path)
        try:
            scores = OnnxRuntime(path)(inputs)
        except PrismError as error:
            raise OnnxImportError("ONNX Runtime cannot run the graph on an image") from error
    if scores.shape[1] < 2 or not np.isfinite(scores).all():
        raise OnnxImportError(
            f"the graph returns {scores.shape[1]} numbers per image; it must return finite scores "
            "of two or more classes"
        )
    return scores
