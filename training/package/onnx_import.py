"""An ONNX classifier from elsewhere: what goes in and what comes out, found by looking."""

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

Layout = Literal["NCHW", "NHWC", "NHW", "flat"]
Output = Literal["logits", "probabilities"]
_FLOATS = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE)
_READABLE = (*_FLOATS, TensorProto.UINT8)


class ForeignError(Exception):
    """An ONNX file that cannot be served; the text says why."""


@dataclass(frozen=True)
class Graph:
    """A graph with one input and one output of scores.

    `shape` is one input without the batch, None where the graph leaves a side open; `channels`
    and `side` are what the shape tells (None: open).
    """

    model: ModelProto
    shape: tuple[int | None, ...]
    layout: Layout
    channels: Literal[1, 3]
    side: int | None


def read_graph(path: Path) -> Graph:
    """Read a classifier's graph; raises ForeignError where it is none.

    Of several outputs the scores are kept (scikit-learn's converters give the label first, and
    the scores as a map, which is undone).
    """
    try:
        model = onnx.load(path)
        onnx.checker.check_model(model)
    except FileNotFoundError as error:
        raise ForeignError(f"there is no file {path}") from error
    except Exception as error:  # protobuf and the checker raise classes of their own
        raise ForeignError(f"{path} is not a valid ONNX file") from error
    constants = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in constants]
    if len(inputs) != 1:
        names = ", ".join(value.name for value in inputs) or "none"
        raise ForeignError(f"{path} needs exactly one input; it has {names}")
    (first,) = inputs
    if first.type.tensor_type.elem_type not in _READABLE:
        raise ForeignError(f"{path}: the input {first.name} is not of pixels")
    shape = tuple(
        side.dim_value or None if side.HasField("dim_value") else None
        for side in first.type.tensor_type.shape.dim
    )[1:]
    _undo_zipmap(model)
    _keep_scores(model, path)
    return Graph(model, shape, *_look(shape, path))


def tell_output(scores: Floats) -> Output:
    """Say what the outputs (N, C) for some pictures are: rows of probabilities, or logits."""
    sums = scores.sum(axis=1)
    if (scores >= 0).all() and np.allclose(sums, 1, atol=1e-3):
        return "probabilities"
    return "logits"


def _look(shape: tuple[int | None, ...], path: Path) -> tuple[Layout, Literal[1, 3], int | None]:
    """Layout, channels and side (None: open, or not square) that an input's shape tells."""
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
    raise ForeignError(f"{path}: an input of shape {shape} is no picture that can be prepared")


def _undo_zipmap(model: ModelProto) -> None:
    for node in [node for node in model.graph.node if node.op_type == "ZipMap"]:
        for output in model.graph.output:
            if output.name == node.output[0]:
                scores = onnx.helper.make_tensor_value_info(
                    node.input[0], TensorProto.FLOAT, [None, None]
                )
                output.CopyFrom(scores)
        model.graph.node.remove(node)


def _keep_scores(model: ModelProto, path: Path) -> None:
    """Leave one output: the first tensor of floats, which are the scores."""
    scores = [
        output for output in model.graph.output if output.type.tensor_type.elem_type in _FLOATS
    ]
    if not scores:
        raise ForeignError(f"{path}: none of the outputs holds scores")
    kept = ValueInfoProto()
    kept.CopyFrom(scores[0])
    del model.graph.output[:]
    model.graph.output.append(kept)


def scores(graph: Graph, probe: Floats) -> Floats:
    """Run the graph on `probe`, inputs (N, *input), for scores (N, C).

    Raises ForeignError where it gives none.
    """
    with TemporaryDirectory() as folder:
        path = Path(folder) / "graph.onnx"
        onnx.save(graph.model, path)
        try:
            found = OnnxRuntime(path)(probe)
        except PrismError as error:
            raise ForeignError("ONNX Runtime cannot run the graph on a picture") from error
    if found.shape[1] < 2 or not np.isfinite(found).all():
        raise ForeignError(
            f"the graph gives {found.shape[1]} numbers a picture; finite scores of two or more "
            "classes are needed"
        )
    return found
