"""Whether one label of an image is right or any number, from the outputs of a network."""

from dataclasses import replace

import numpy as np
from onnx import ModelProto

from backend.inference.models import networks
from backend.inference.types import Floats
from calibration.apply import OutputKind
from calibration.sigmoid import BINARY, MULTI_LABEL, SINGLE_LABEL
from training.package.imported import ASSUMED, Imported
from training.package.model_spec import PackageError

_TOLERANCE = 1e-3
# Operators that change neither the values nor their order.
_LINEAR = {"Gemm", "MatMul", "Conv", "GlobalAveragePool", "AveragePool", "ReduceMean"}
_PASSING = {"Identity", "Cast", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Dropout"}

_ONE_OUTPUT = (
    "the network returns one number per image. If it is the logit or the probability of the second "
    "of two labels, pass --task binary, and both labels with --labels, that of 0 first"
)
_SIGMOID = (
    "{reason}, so a softmax would be wrong. If an image may have several labels, pass "
    "--task multi-label. If exactly one of them is right, pass --task single-label: the outputs "
    "are then divided by their sum"
)
_UNKNOWN_KIND = (
    "the outputs for test images lie in [0, 1], and the network does not end in a sigmoid: pass "
    "--output logits or --output probabilities"
)


def detect_task(imported: Imported, graph: ModelProto | None, scores: Floats) -> Imported:
    """Return `imported` with its task and, if it is not single-label, the kind of its outputs.

    `scores` (N, C) are the outputs for test images; `graph` returns them, or is None. Raise
    PackageError if the outputs are those of a sigmoid and neither the file nor an option tells the
    task, or if the task does not fit the number of outputs.
    """
    outputs = scores.shape[1]
    last = _last_operator(graph) if graph else "linear"  # as those of all networks in PyTorch are
    is_sigmoid = last == "Sigmoid"
    task = imported.task
    if outputs == 1 and task is None and is_sigmoid:
        imported = _with_source(imported, "task", "the network ends in one sigmoid")
        task = BINARY
    if outputs == 1 and task != BINARY:
        raise PackageError(_ONE_OUTPUT)
    if outputs > 1 and task == BINARY:
        raise PackageError(
            f"--task binary requires a network with one output, but this one has {outputs}. Two "
            "outputs of a softmax need no --task; for independent labels, pass --task multi-label"
        )
    if task is None and outputs > 1:
        if is_sigmoid:
            raise PackageError(_SIGMOID.format(reason="the network ends in a sigmoid"))
        if last != "linear" and _are_shares(scores) and not _sum_to_one(scores):
            reason = "the outputs for test images lie in [0, 1] and do not sum to 1"
            raise PackageError(_SIGMOID.format(reason=reason))
    if task is None:
        source = f"{ASSUMED}one label per image, probabilities by a softmax"
        if last == "Softmax" or (_are_shares(scores) and _sum_to_one(scores)):
            source = "the outputs sum to 1"
        elif last == "LogSoftmax":
            source = "the network ends in a softmax"
        elif imported.architecture in networks.DIGIT_ARCHITECTURES:
            source = f"architecture {imported.architecture}"
        imported = _with_source(imported, "task", source)
    task = task or SINGLE_LABEL
    imported = replace(imported, task=task)
    if task in (BINARY, MULTI_LABEL):
        return _detect_kind(imported, last, scores)
    return imported


def _last_operator(model: ModelProto) -> str:
    """Return the operator that computes the first output; "linear" for a linear layer."""
    producers = {name: node for node in model.graph.node for name in node.output}
    name = model.graph.output[0].name
    while (node := producers.get(name)) is not None and node.op_type in _PASSING:
        name = node.input[0]
    if node is None:
        return ""
    operators = {node.op_type}
    if node.op_type == "Add":  # of a bias
        operators = {producers[each].op_type for each in node.input if each in producers}
    return "linear" if operators & _LINEAR else str(node.op_type)


def _detect_kind(imported: Imported, last: str, scores: Floats) -> Imported:
    kind: OutputKind | None = imported.output
    if kind is None:
        if last == "Sigmoid":
            kind, source = "probabilities", "the network ends in a sigmoid"
        elif last == "linear":
            kind, source = "logits", "the network ends in a linear layer"
        elif _are_shares(scores):
            raise PackageError(_UNKNOWN_KIND)
        else:
            kind, source = "logits", "detected by running the graph"
        imported = _with_source(replace(imported, output=kind), "output", source)
    if kind == "probabilities" and not _are_shares(scores):
        raise PackageError(
            "the network returns numbers that are not in [0, 1], which are not probabilities; pass "
            "--output logits"
        )
    if kind == "logits" and last == "Sigmoid":
        raise PackageError("the network ends in a sigmoid; pass --output probabilities")
    return imported


def _are_shares(scores: Floats) -> bool:
    return bool((scores >= -_TOLERANCE).all() and (scores <= 1 + _TOLERANCE).all())


def _sum_to_one(scores: Floats) -> bool:
    return bool(np.allclose(scores.sum(axis=1), 1, atol=_TOLERANCE))


def _with_source(imported: Imported, name: str, source: str) -> Imported:
    return replace(imported, provenance=imported.provenance | {name: source})
