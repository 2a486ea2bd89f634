"""Small hand-made ONNX classifiers."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

SIDE = 32
COLORS = 3  # one score for each channel


def value(name: str, shape: Sequence[int | str], kind: int = TensorProto.FLOAT) -> ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, list(shape))


def constant(name: str, values: Any, dtype: Any = np.float32) -> TensorProto:
    return numpy_helper.from_array(np.asarray(values, dtype=dtype), name)


def make_model(
    nodes: Sequence[NodeProto],
    inputs: Sequence[ValueInfoProto],
    outputs: Sequence[ValueInfoProto],
    constants: Sequence[TensorProto] = (),
    metadata: dict[str, str] | None = None,
    **options: Any,
) -> ModelProto:
    graph = helper.make_graph(nodes, "g", inputs, outputs, constants)
    opsets = [
        helper.make_opsetid("", options.pop("opset", 17)),
        helper.make_opsetid("ai.onnx.ml", 3),
    ]
    model = helper.make_model(graph, opset_imports=opsets, **{"ir_version": 9} | options)
    helper.set_model_props(model, metadata or {})
    return model


def mean_of_channels(
    steps: Sequence[NodeProto] = (),
    *,
    shape: Sequence[int | str] = ("n", 3, SIDE, SIDE),
    kind: int = TensorProto.FLOAT,
    constants: Sequence[TensorProto] = (),
    last: str = "x",
    **options: Any,
) -> ModelProto:
    """Return a classifier (N, 3, H, W) whose logits are the means of the channels of `last`.

    `steps` compute `last` from the input x.
    """
    nodes = [
        *steps,
        helper.make_node("GlobalAveragePool", [last], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["scores"]),
    ]
    outputs = [value("scores", ["n", COLORS])]
    return make_model(nodes, [value("x", shape, kind)], outputs, constants, **options)


def save(model: ModelProto, path: Path) -> Path:
    path.write_bytes(model.SerializeToString())
    return path


def save_with_external_data(folder: Path, location: str) -> Path:
    """Write a graph whose weight is in the file `location` beside it."""
    weight = constant("w", np.eye(3))
    model = mean_of_channels(constants=[weight])
    model.graph.node.append(helper.make_node("MatMul", ["scores", "w"], ["out"]))
    model.graph.output[0].name = "out"
    (tensor,) = model.graph.initializer
    onnx.external_data_helper.set_external_data(tensor, location)
    raw = tensor.raw_data
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    path = save(model, folder / "model.onnx")
    target = (folder / location).resolve()
    if target.parent.is_dir():
        target.write_bytes(raw)
    return path
