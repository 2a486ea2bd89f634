"""Imports ONNX classifiers: detects the input layout, the scores and the output kind."""

import math
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, Literal

import numpy as np
import onnx
from onnx import ModelProto, TensorProto

from backend.inference.errors import PrismError
from backend.inference.runtimes.onnx_runtime import OnnxRuntime
from backend.inference.types import Floats
from calibration.apply import OutputKind
from training.package import float_types, onnx_files, onnx_scores
from training.package.onnx_files import OnnxImportError

Shape = tuple[int | None, ...]
Layout = Literal["NCHW", "NHWC", "NHW", "flat"]
DEFAULT_SIDES: Final = {1: 28, 3: 224}  # pixels, of graphs that take any size
_FLOAT_TYPES = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE)
_PIXEL_TYPES = (*_FLOAT_TYPES, TensorProto.UINT8)


@dataclass(frozen=True)
class OnnxGraph:
    """A graph with one image input and one output of scores.

    `shape` is the input shape without the batch dimension; dimensions that the graph leaves open
    are None. `size` is height and width, None if they are open. `labels` are those that operators
    of the graph hold.
    """

    model: ModelProto
    shape: Shape
    layout: Layout
    channels: Literal[1, 3]
    size: tuple[int, int] | None
    is_uint8: bool = False
    labels: tuple[str, ...] | None = None

    @property
    def side(self) -> int | None:
        """Side of square images; None: open or not square."""
        return self.size[0] if self.size and self.size[0] == self.size[1] else None


def read_graph(path: Path, output_name: str | None = None) -> OnnxGraph:
    """Read a classifier; raise OnnxImportError if the file is not one.

    Only the scores remain as output: `output_name`, or what `onnx_scores` finds. (Converters for
    scikit-learn put the label first and return the scores as a map, which is removed.) A graph in
    float16 becomes one in float32, and so does one in float64 that ONNX Runtime cannot run.
    A graph with dynamic quantization gets a batch size of one.
    """
    return describe_graph(onnx_files.load(path), path, output_name)


def describe_graph(
    model: ModelProto, path: Path = Path("the graph"), output_name: str | None = None
) -> OnnxGraph:
    """Return the graph with what its input tells; see `read_graph`, which reports `path`."""
    constants = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in constants]
    if len(inputs) != 1:
        names = ", ".join(value.name for value in inputs) or "none"
        raise OnnxImportError(
            f"{path} must have exactly one input; it has {names}. Export the network with the "
            "image as its only input"
        )
    (first,) = inputs
    kind = first.type.tensor_type.elem_type
    if kind not in _PIXEL_TYPES:
        raise OnnxImportError(
            f"{path}: the input {first.name} takes no pixels; export the network without the "
            "decoding of image files"
        )
    shape = tuple(
        side.dim_value or None if side.HasField("dim_value") else None
        for side in first.type.tensor_type.shape.dim
    )[1:]
    layout, channels, size = _detect_layout(shape, path)
    labels = onnx_scores.read_class_labels(model)
    side = DEFAULT_SIDES[channels]
    float_types.narrow(model)
    onnx_scores.keep_scores(model, [length or side for length in _fill(shape)], output_name)
    float_types.widen(model)
    if onnx_files.has_dynamic_ranges(model.graph):
        _limit_to_single_images(model.graph, first.name)
    return OnnxGraph(model, shape, layout, channels, size, kind == TensorProto.UINT8, labels)


def _limit_to_single_images(graph: onnx.GraphProto, name: str) -> None:
    """Fix an open batch size of an input at one: an answer then depends on one image only."""
    (first,) = (value for value in graph.input if value.name == name)
    batch = first.type.tensor_type.shape.dim[0]
    if not batch.dim_value:
        batch.dim_value = 1


def detect_output_kind(scores: Floats) -> OutputKind:
    """Return whether the rows of `scores` (N, C) are probabilities or logits."""
    sums = scores.sum(axis=1)
    if (scores >= 0).all() and np.allclose(sums, 1, atol=1e-3):
        return "probabilities"
    return "logits"


def _fill(shape: Shape) -> Shape:
    """Return the shape with three channels if their number is open."""
    match shape:
        case (None, height, width) if width not in (1, 3):
            return 3, height, width
        case (int(height), int(width), None):
            return height, width, 3
    return shape


def _detect_layout(
    shape: Shape, path: Path
) -> tuple[Layout, Literal[1, 3], tuple[int, int] | None]:
    """Return layout, channels and size (None: open) of an input shape."""
    match _fill(shape):
        case (1 | 3 as channels, height, width):
            return "NCHW", channels, (height, width) if height and width else None
        case (height, width, 1 | 3 as channels):
            return "NHWC", channels, (height, width) if height and width else None
        case (int(height), int(width)) if height == width:
            return "NHW", 1, (height, width)
        case (int(length),) if math.isqrt(length) ** 2 == length:
            return "flat", 1, (math.isqrt(length),) * 2
        case (int(length),) if length % 3 == 0 and math.isqrt(length // 3) ** 2 == length // 3:
            return "flat", 3, (math.isqrt(length // 3),) * 2
    raise OnnxImportError(
        f"{path}: an input of shape {shape}, after the batch dimension, is not a supported image: "
        "(channels, height, width), (height, width, channels), (side, side) or one length are"
    )


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
            lines = str(error.__cause__ or error).splitlines()
            reason = lines[0][:200] if lines else "unknown reason"
            raise OnnxImportError(
                f"ONNX Runtime cannot run the graph on an image: {reason}. Export the network "
                "again, in float32 and for the size of the input"
            ) from error
    if not np.isfinite(scores).all():
        raise OnnxImportError("the graph returns numbers that are not finite")
    return scores
