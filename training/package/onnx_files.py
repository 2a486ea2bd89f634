"""Reads ONNX files of any exporter, and repairs what ONNX Runtime would refuse or misread.

Nothing in a graph is code, except operators of other libraries, which are refused.
"""

from collections.abc import Iterable, Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Final

import onnx
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, helper
from onnx.external_data_helper import load_external_data_for_model, uses_external_data

from training.package.kinds.files import require_content
from training.package.model_spec import PackageError

OPERATORS: Final = ("", "ai.onnx", "ai.onnx.ml", "com.microsoft")  # domains of ONNX Runtime
MAX_OPSET: Final = onnx.defs.onnx_opset_version()  # of ONNX Runtime too, which is as new
_MAX_BYTES: Final = 2**31 - 1  # of a protobuf message, which holds the weights
_INTEGERS: Final = (
    TensorProto.INT8,
    TensorProto.INT16,
    TensorProto.INT32,
    TensorProto.INT64,
    TensorProto.UINT16,
    TensorProto.UINT32,
    TensorProto.UINT64,
    TensorProto.BFLOAT16,
)


class OnnxImportError(PackageError):
    """The ONNX file cannot be imported; the message says why."""


def load(path: Path) -> ModelProto:
    """Return a valid graph with its weights: nodes sorted, and an input of a type that we feed.

    Raise OnnxImportError with what to do if the file is no graph, if external data is missing or
    outside of its folder, or if it has operators or versions that ONNX Runtime does not know.
    """
    model = _parse(path)
    _load_external_data(model, path)
    _require_known_operators(model, path)
    _sort_nodes(model.graph, path)
    _cast_integer_input(model.graph)
    if model.ByteSize() > _MAX_BYTES:
        raise OnnxImportError(f"{path} is larger than 2 GB with its weights")
    try:
        onnx.checker.check_model(model)
    except Exception as error:  # the checker has several types
        reason = next((line for line in str(error).splitlines() if line.strip()), "")[:200]
        raise OnnxImportError(
            f"{path} is not a valid ONNX graph: {reason}; export it again"
        ) from error
    return model


def _parse(path: Path) -> ModelProto:
    require_content(path)
    try:
        model = onnx.load_model_from_string(path.read_bytes())
    except Exception as error:  # protobuf's own types
        raise OnnxImportError(
            f"{path} is not a valid ONNX file; copy or download it again, or export it again by "
            "torch.onnx.export"
        ) from error
    if not model.graph.node:
        raise OnnxImportError(f"{path} is not a valid ONNX file: it has no operators")
    return model


def _load_external_data(model: ModelProto, path: Path) -> None:
    folder = path.parent.resolve()
    for tensor in _tensors(model.graph):
        if not uses_external_data(tensor):
            continue
        entries = {entry.key: entry.value for entry in tensor.external_data}
        location = entries.get("location", "")
        target = (folder / location).resolve()
        if not location or not target.is_relative_to(folder):
            raise OnnxImportError(
                f"{path} refers to weights outside of its folder ({location!r}), which are not read"
            )
        if not target.is_file():
            raise OnnxImportError(
                f"{path} needs the file {location}, which holds its weights; put it beside it"
            )
    try:
        load_external_data_for_model(model, str(folder))
    except Exception as error:  # onnx's own types: a file that is too short, a link
        raise OnnxImportError(
            f"the weights beside {path} cannot be read; copy the graph and its data again, without "
            "links"
        ) from error


def _tensors(graph: GraphProto) -> Iterator[TensorProto]:
    yield from graph.initializer
    for attribute in _attributes(graph.node):
        if attribute.type == AttributeProto.TENSOR:
            yield attribute.t
        yield from attribute.tensors
    for inner in _subgraphs(graph.node):
        yield from _tensors(inner)


def _attributes(nodes: Iterable[NodeProto]) -> Iterator[AttributeProto]:
    return (attribute for node in nodes for attribute in node.attribute)


def _subgraphs(nodes: Iterable[NodeProto]) -> Iterator[GraphProto]:
    for attribute in _attributes(nodes):
        if attribute.type == AttributeProto.GRAPH:
            yield attribute.g
        yield from attribute.graphs


def _require_known_operators(model: ModelProto, path: Path) -> None:
    functions = {(each.domain, each.name) for each in model.functions}
    nodes = [*_nodes(model.graph), *(node for each in model.functions for node in each.node)]
    unknown = sorted(
        {
            f"{node.domain}.{node.op_type}"
            for node in nodes
            if node.domain not in OPERATORS and (node.domain, node.op_type) not in functions
        }
    )
    if unknown:
        raise OnnxImportError(
            f"{path} has operators that ONNX Runtime does not contain: {', '.join(unknown[:5])}; "
            "export the network without them, for instance without preprocessing or plugins"
        )
    opset = next((each.version for each in model.opset_import if each.domain in OPERATORS[:2]), 1)
    if opset > MAX_OPSET or model.ir_version > onnx.IR_VERSION:
        raise OnnxImportError(
            f"{path} has opset {opset} and IR version {model.ir_version}, and the installed ONNX "
            f"Runtime knows up to {MAX_OPSET} and {onnx.IR_VERSION}; export it again with "
            "opset_version=18"
        )


def _nodes(graph: GraphProto) -> Iterator[NodeProto]:
    yield from graph.node
    for inner in _subgraphs(graph.node):
        yield from _nodes(inner)


def _sort_nodes(graph: GraphProto, path: Path) -> None:
    """Put every node after those that compute its inputs, also in inner graphs."""
    for inner in _subgraphs(graph.node):
        _sort_nodes(inner, path)
    producers = {name: n for n, node in enumerate(graph.node) for name in node.output if name}
    needed = [
        {producers[name] for name in _used_names(node) if name in producers} for node in graph.node
    ]
    if all(max(each, default=-1) < number for number, each in enumerate(needed)):
        return
    try:
        order = list(TopologicalSorter(dict(enumerate(needed))).static_order())
    except CycleError as error:
        raise OnnxImportError(f"{path} is not a valid ONNX graph: it has a cycle") from error
    nodes = [graph.node[number] for number in order]
    copies = [NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del graph.node[:]
    graph.node.extend(copies)


def _used_names(node: NodeProto) -> Iterator[str]:
    yield from node.input
    for inner in _subgraphs([node]):
        yield from (name for each in inner.node for name in _used_names(each))
        yield from (output.name for output in inner.output)


def _cast_integer_input(graph: GraphProto) -> None:
    """Make an integer input a float one, followed by a Cast; uint8 stays as it is."""
    constants = {tensor.name for tensor in graph.initializer}
    for value in graph.input:
        kind = value.type.tensor_type.elem_type
        if value.name in constants or kind not in _INTEGERS:
            continue
        cast = f"{value.name}.cast"
        for node in graph.node:
            for number, name in enumerate(node.input):
                if name == value.name:
                    node.input[number] = cast
        value.type.tensor_type.elem_type = TensorProto.FLOAT
        nodes = [helper.make_node("Cast", [value.name], [cast], to=kind), *graph.node]
        copies = [NodeProto.FromString(node.SerializeToString()) for node in nodes]
        del graph.node[:]
        graph.node.extend(copies)


def integer_type(graph: GraphProto) -> int | None:
    """Return the integer type that the first operator casts the input to; None for another."""
    constants = {tensor.name for tensor in graph.initializer}
    name = next(value.name for value in graph.input if value.name not in constants)
    for node in graph.node:
        if name in node.input and node.op_type == "Cast":
            kind = next((each.i for each in node.attribute if each.name == "to"), None)
            return kind if kind in _INTEGERS and kind != TensorProto.BFLOAT16 else None
    return None


def has_dynamic_ranges(graph: GraphProto) -> bool:
    """Return whether a graph computes ranges of 8-bit integers from the batch that it is given."""
    return any(node.op_type.startswith("DynamicQuantize") for node in _nodes(graph))
