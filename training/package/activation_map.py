"""Adds class activation maps (Zhou et al. 2016, https://arxiv.org/abs/1512.04150) to ONNX graphs.

Such a map exists for networks that end in global average pooling and at most one linear layer: it
is what each position of the last feature maps contributes to the score of the predicted label.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import onnx
from onnx import ModelProto, NodeProto, helper, numpy_helper

from backend.inference.runtimes.onnx_runtime import ACTIVATION_MAP

_MIN_OPSET = 12  # the first with Einsum
_SPATIAL_AXES = [2, 3]  # of feature maps, NCHW
_FINAL_OPERATORS = ("Softmax", "Identity")
_NEUTRAL_OPERATORS = ("Identity", "Dropout", "Flatten", "Reshape", "Squeeze")

_Producers = Mapping[str, NodeProto]


class Linear(NamedTuple):
    """A linear layer: its input, its weights, and the axis of the labels in the weights."""

    input: str
    weights: str
    axis: int


class PooledHead(NamedTuple):
    """The end of a network: its scores, its linear layer, if any, and the pooled feature maps."""

    scores: str
    linear: Linear | None
    maps: str


def add_activation_map(model: ModelProto) -> bool:
    """Add the output `activation_map` (N, h, w) to a graph whose only output is the scores.

    The map belongs to the label with the highest score. Return False, and leave the graph
    unchanged, if the network does not end in global pooling and at most one linear layer.
    """
    graph = model.graph
    opset = next((each.version for each in model.opset_import if each.domain in ("", "ai.onnx")), 0)
    if len(graph.output) != 1 or opset < _MIN_OPSET:
        return False
    head = find_pooled_head(model)
    if head is None:
        return False
    graph.node.extend(_map_nodes(head.scores, head.maps, head.linear))
    kind = graph.output[0].type.tensor_type.elem_type
    graph.output.append(helper.make_tensor_value_info(ACTIVATION_MAP, kind, [None, None, None]))
    onnx.checker.check_model(model)
    return True


def find_pooled_head(model: ModelProto) -> PooledHead | None:
    """Return the end of a network that is global pooling and at most one linear layer, or None."""
    graph = model.graph
    producers = {name: node for node in graph.node for name in node.output}
    scores = _skip(graph.output[0].name, _FINAL_OPERATORS, producers)
    linear = _find_linear(scores, producers)
    pooling = producers.get(
        _skip(linear.input if linear else scores, _NEUTRAL_OPERATORS, producers)
    )
    if pooling is None or not _is_global_pooling(pooling, model):
        return None
    return PooledHead(scores, linear, pooling.input[0])


def _map_nodes(scores: str, features: str, linear: Linear | None) -> list[NodeProto]:
    label, weights = f"{ACTIVATION_MAP}_label", f"{ACTIVATION_MAP}_weights"
    if linear is None:  # there is one feature map for each label
        argmax = helper.make_node("ArgMax", [scores], [label], axis=1, keepdims=1)
        select = helper.make_node("GatherND", [features, label], [ACTIVATION_MAP], batch_dims=1)
        return [argmax, select]
    equation = "nk,nkhw->nhw" if linear.axis == 0 else "kn,nkhw->nhw"
    return [
        helper.make_node("ArgMax", [scores], [label], axis=1, keepdims=0),
        helper.make_node("Gather", [linear.weights, label], [weights], axis=linear.axis),
        helper.make_node("Einsum", [weights, features], [ACTIVATION_MAP], equation=equation),
    ]


def _skip(name: str, operators: tuple[str, ...], producers: _Producers) -> str:
    """Return the tensor from which `name` is made by `operators` alone."""
    while name in producers and producers[name].op_type in operators:
        name = producers[name].input[0]
    return name


def _find_linear(scores: str, producers: _Producers) -> Linear | None:
    """Return the linear layer that makes `scores`, or None."""
    node = producers.get(scores)
    if node is None:
        return None
    if node.op_type == "Gemm":
        attributes = _attributes(node)
        return Linear(node.input[0], node.input[1], 0 if attributes.get("transB", 0) else 1)
    for name in node.input if node.op_type == "Add" else [scores]:
        product = producers.get(name)
        if product is not None and product.op_type == "MatMul":
            return Linear(product.input[0], product.input[1], 1)
    return None


def _is_global_pooling(node: NodeProto, model: ModelProto) -> bool:
    if node.op_type != "ReduceMean":
        return node.op_type == "GlobalAveragePool"
    axes = _attributes(node).get("axes")
    if axes is None and len(node.input) > 1:
        axes = _constant(node.input[1], model)
    return axes is not None and sorted(axis % 4 for axis in axes) == _SPATIAL_AXES


def _constant(name: str, model: ModelProto) -> list[int] | None:
    for tensor in model.graph.initializer:
        if tensor.name == name:
            return [int(value) for value in numpy_helper.to_array(tensor).ravel()]
    for node in model.graph.node:
        if node.op_type == "Constant" and name in node.output and "value" in _attributes(node):
            values = numpy_helper.to_array(_attributes(node)["value"])
            return [int(value) for value in values.ravel()]
    return None


def _attributes(node: NodeProto) -> dict[str, Any]:
    return {each.name: helper.get_attribute_value(each) for each in node.attribute}
