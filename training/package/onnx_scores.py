"""Finds the output of an ONNX classifier that holds the scores of its classes, and its labels."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import onnxruntime as ort
from onnx import GraphProto, ModelProto, TensorProto, ValueInfoProto, helper, numpy_helper

from training.package.labels import parse_labels
from training.package.onnx_files import OnnxImportError

_BATCH: Final = 2  # images that the graph is run on
_FLOATS: Final = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE)
_NUMPY: Final = {
    "tensor(uint8)": np.uint8,
    "tensor(float16)": np.float16,
    "tensor(double)": np.float64,
}
# Names of outputs that are not the scores of the classes.
_OTHER_OUTPUT: Final = re.compile(r"aux|embed|feat|hidden|pool|attention|activation", re.I)


@dataclass(frozen=True)
class _Output:
    name: str
    shape: tuple[int, ...]  # of the values for one image, without dimensions of 1

    def __str__(self) -> str:
        return f"{self.name} {self.shape}"


def read_class_labels(model: ModelProto) -> tuple[str, ...] | None:
    """Return the labels that operators of scikit-learn and Core ML converters hold; else None."""
    for node in model.graph.node:
        for attribute in node.attribute:
            if attribute.name in ("classlabels_strings", "cats_strings") and attribute.strings:
                return parse_labels([each.decode("utf-8", "replace") for each in attribute.strings])
            if attribute.name in ("classlabels_int64s", "classlabels_ints") and attribute.ints:
                return parse_labels([str(each) for each in attribute.ints])
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "ArrayFeatureExtractor" and node.input[0] in constants:
            values = numpy_helper.to_array(constants[node.input[0]]).ravel().tolist()
            return parse_labels(
                [each.decode() if isinstance(each, bytes) else str(each) for each in values]
            )
    return None


def keep_scores(model: ModelProto, shape: Sequence[int], name: str | None) -> str:
    """Remove all outputs but that with the scores, which has the name `name` or is found.

    `shape` is that of one input. Return the name of the output. Raise OnnxImportError with the
    outputs if none or several could be the scores.
    """
    graph = model.graph
    maps = _remove_maps(graph)
    _remove_quantization(graph)
    if name is not None and name not in {output.name for output in graph.output}:
        names = ", ".join(output.name for output in graph.output)
        raise OnnxImportError(f"the graph has no output {name!r}; its outputs are {names}")
    kept = [
        output
        for output in graph.output
        if output.type.tensor_type.elem_type in _FLOATS and name in (None, output.name)
    ]
    if len(kept) == len(graph.output) == 1 and _is_row(kept[0]):
        return str(kept[0].name)
    _set_outputs(graph, kept)
    outputs = _run(model, shape) if kept else []
    rows = [output for output in outputs if len(output.shape) <= 1]
    if not rows:
        found = ", ".join(map(str, outputs)) or "none holds numbers"
        raise OnnxImportError(
            "no output holds one score for each class; detection, segmentation and features are "
            f"not classification. Outputs: {found}"
        )
    chosen = _choose([output for output in rows if output.name in maps] or rows, graph)
    _set_outputs(graph, [output for output in kept if output.name == chosen])
    return chosen


def _is_row(output: ValueInfoProto) -> bool:
    return len(output.type.tensor_type.shape.dim) == 2


def _set_outputs(graph: GraphProto, outputs: list[ValueInfoProto]) -> None:
    copies = [ValueInfoProto.FromString(output.SerializeToString()) for output in outputs]
    del graph.output[:]
    graph.output.extend(copies)


def _remove_maps(graph: GraphProto) -> set[str]:
    """Replace outputs that are lists of maps by the tensors behind them; return their names."""
    found = set()
    for node in [node for node in graph.node if node.op_type == "ZipMap"]:
        for output in graph.output:
            if output.name == node.output[0]:
                scores = node.input[0]
                shape: list[int | str | None] = [None, None]
                output.CopyFrom(helper.make_tensor_value_info(scores, TensorProto.FLOAT, shape))
                found.add(scores)
        graph.node.remove(node)
    return found


def _remove_quantization(graph: GraphProto) -> None:
    """Replace outputs that the last operator quantizes by the numbers before it."""
    producers = {node.output[0]: node for node in graph.node if node.op_type == "QuantizeLinear"}
    for output in graph.output:
        node = producers.get(output.name)
        kind = output.type.tensor_type.elem_type
        if node is not None and kind not in _FLOATS:
            node.output[0] = f"{output.name}.quantized"
            for each in graph.node:
                for number, name in enumerate(each.output):
                    if name == node.input[0]:
                        each.output[number] = output.name
            node.input[0] = output.name
            output.type.tensor_type.elem_type = TensorProto.FLOAT


def _run(model: ModelProto, shape: Sequence[int]) -> list[_Output]:
    """Return the graph's outputs for random inputs; they tell shapes that graphs leave open."""
    options = ort.SessionOptions()
    options.log_severity_level = 4
    try:
        session = ort.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        first = session.get_inputs()[0]
        batch = first.shape[0] if first.shape and isinstance(first.shape[0], int) else _BATCH
        inputs = np.random.default_rng(0).random((batch, *shape))
        values = session.run(None, {first.name: inputs.astype(_NUMPY.get(first.type, np.float32))})
    except Exception as error:  # onnxruntime has an exception class for each status code
        reason = str(error).splitlines()[0][:200] if str(error) else "unknown reason"
        raise OnnxImportError(f"ONNX Runtime cannot run the graph: {reason}") from error
    found = []
    for output, value in zip(session.get_outputs(), values, strict=True):
        array = np.asarray(value)
        if array.ndim and len(array) == batch:
            shape = tuple(size for size in array.shape[1:] if size != 1)
            found.append(_Output(output.name, shape))
    return found


def _choose(rows: list[_Output], graph: GraphProto) -> str:
    """Return the scores: the last in the graph, without features and auxiliary heads."""
    named = [output for output in rows if not _OTHER_OUTPUT.search(output.name)] or rows
    wide = [output for output in named if output.shape] or named
    # Logits tell more than the probabilities that are computed from them.
    before = {output.name: _ancestors(output.name, graph) for output in wide}
    softmax = {node.output[0]: node.input[0] for node in graph.node if node.op_type == "Softmax"}
    names = [output.name for output in wide]
    last = [name for name in names if not any(name in before[other] for other in names)]
    if len(last) == 1:
        return softmax[last[0]] if softmax.get(last[0]) in names else last[0]
    if not any(output.shape for output in wide):
        raise OnnxImportError(
            f"the graph has one output for each class ({', '.join(last[:3])}, …); convert it again "
            "with one output for all: to_onnx(…, options={'zipmap': False})"
        )
    raise OnnxImportError(
        f"{len(last)} outputs could hold the scores: "
        f"{', '.join(str(output) for output in wide if output.name in last)}; pass one of them as "
        "--output-name"
    )


def _ancestors(name: str, graph: GraphProto) -> set[str]:
    """Return the names of all values that the value `name` is computed from."""
    producers = {output: node for node in graph.node for output in node.output}
    found: set[str] = set()
    waiting = [name]
    while waiting:
        node = producers.get(waiting.pop())
        for each in node.input if node else ():
            if each not in found:
                found.add(each)
                waiting.append(each)
    return found
