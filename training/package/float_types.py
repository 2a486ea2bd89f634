"""Makes ONNX graphs in float16 and float64 compute in float32.

ONNX Runtime has few kernels for float16 on processors: it converts values before and after most
nodes. Weights stay stored in float16 and pass through Cast nodes, which the runtime evaluates once,
when it loads the graph. Of float64, the kernels of some operators are missing, such as Conv.
"""

from collections.abc import Iterable

import numpy as np
import onnxruntime as ort
from onnx import (
    AttributeProto,
    GraphProto,
    ModelProto,
    NodeProto,
    TensorProto,
    helper,
    numpy_helper,
)

_TYPE_ATTRIBUTES = ("to", "dtype")  # of nodes whose output has the type in the attribute


def widen(model: ModelProto) -> None:
    """Replace float16 by float32 everywhere in `model`, except in its stored weights."""
    _replace(model, TensorProto.FLOAT16)


def narrow(model: ModelProto) -> None:
    """Replace float64 by float32 everywhere in `model` if ONNX Runtime has no kernels for it.

    Other graphs keep their float64, which some converters for scikit-learn need.
    """
    if not _runs(model):
        _replace(model, TensorProto.DOUBLE)


def _runs(model: ModelProto) -> bool:
    options = ort.SessionOptions()
    options.log_severity_level = 4
    try:
        ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    except Exception:  # onnxruntime has an exception class for each status code
        return False
    return True


def _replace(model: ModelProto, kind: int) -> None:
    _replace_in_graph(model.graph, kind)
    for function in model.functions:
        _replace_in_nodes(function.node, kind)


def _replace_in_graph(graph: GraphProto, kind: int) -> None:
    casts = []
    for tensor in graph.initializer:
        if kind == TensorProto.FLOAT16 == tensor.data_type:
            stored = f"{tensor.name}.stored"
            casts.append(helper.make_node("Cast", [stored], [tensor.name], to=TensorProto.FLOAT))
            tensor.name = stored
        else:
            _replace_in_tensor(tensor, kind)
    # In old graphs the weights are inputs too.
    names = {cast.output[0] for cast in casts}
    inputs = [value for value in graph.input if value.name not in names]
    del graph.input[:]
    graph.input.extend(inputs)
    for value in (*graph.input, *graph.output, *graph.value_info):
        if value.type.tensor_type.elem_type == kind:
            value.type.tensor_type.elem_type = TensorProto.FLOAT
    _replace_in_nodes(graph.node, kind)
    nodes = list(graph.node)
    del graph.node[:]
    graph.node.extend([*casts, *nodes])


def _replace_in_nodes(nodes: Iterable[NodeProto], kind: int) -> None:
    for node in nodes:
        for attribute in node.attribute:
            if attribute.type == AttributeProto.GRAPH:
                _replace_in_graph(attribute.g, kind)
            elif attribute.type == AttributeProto.TENSOR:
                _replace_in_tensor(attribute.t, kind)
            elif attribute.name in _TYPE_ATTRIBUTES and attribute.i == kind:
                attribute.i = TensorProto.FLOAT


def _replace_in_tensor(tensor: TensorProto, kind: int) -> None:
    if tensor.data_type == kind:
        values = numpy_helper.to_array(tensor).astype(np.float32)
        tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
