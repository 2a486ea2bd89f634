"""Makes ONNX graphs in float16 compute in float32, which is faster on processors.

ONNX Runtime has few kernels for float16 on processors: it converts values before and after most
nodes. Weights stay stored in float16 and pass through Cast nodes, which the runtime evaluates once,
when it loads the graph.
"""

from collections.abc import Iterable

import numpy as np
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
    _widen_graph(model.graph)
    for function in model.functions:
        _widen_nodes(function.node)


def _widen_graph(graph: GraphProto) -> None:
    casts = []
    for tensor in graph.initializer:
        if tensor.data_type == TensorProto.FLOAT16:
            stored = f"{tensor.name}.stored"
            casts.append(helper.make_node("Cast", [stored], [tensor.name], to=TensorProto.FLOAT))
            tensor.name = stored
    # In old graphs the weights are inputs too.
    names = {cast.output[0] for cast in casts}
    inputs = [value for value in graph.input if value.name not in names]
    del graph.input[:]
    graph.input.extend(inputs)
    for value in (*graph.input, *graph.output, *graph.value_info):
        if value.type.tensor_type.elem_type == TensorProto.FLOAT16:
            value.type.tensor_type.elem_type = TensorProto.FLOAT
    _widen_nodes(graph.node)
    nodes = list(graph.node)
    del graph.node[:]
    graph.node.extend([*casts, *nodes])


def _widen_nodes(nodes: Iterable[NodeProto]) -> None:
    for node in nodes:
        for attribute in node.attribute:
            if attribute.type == AttributeProto.GRAPH:
                _widen_graph(attribute.g)
            elif attribute.type == AttributeProto.TENSOR:
                _widen_tensor(attribute.t)
            elif attribute.name in _TYPE_ATTRIBUTES and attribute.i == TensorProto.FLOAT16:
                attribute.i = TensorProto.FLOAT


def _widen_tensor(tensor: TensorProto) -> None:
    if tensor.data_type == TensorProto.FLOAT16:
        values = numpy_helper.to_array(tensor).astype(np.float32)
        tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
