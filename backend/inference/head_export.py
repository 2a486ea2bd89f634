"""A taught model as one ONNX file: the backbone, with the head in place of its last layer.

The file needs no other one: it contains the weights to which the backbone's graph refers.
"""

from pathlib import Path
from typing import Final

import numpy as np

from backend.inference.errors import NoFeaturesError, RuntimeMissingError
from backend.inference.runtimes.onnx_runtime import FEATURES
from backend.inference.types import Floats

LOGITS: Final = "logits"
PROBABILITIES: Final = "probabilities"

_UNIT: Final = "head.features"  # with an L2 norm of 1


def fuse_head(
    backbone: Path, weight: Floats, bias: Floats, *, temperature: float = 1.0, softmax: bool = False
) -> bytes:
    """Return an ONNX file that maps the inputs (N, *input) of a backbone to the outputs of a head.

    `backbone` is a graph with the output `features`. `weight` (C, D) and `bias` (C,) are those of
    the head. The output is `logits` (N, C), divided by `temperature`, or with `softmax` the
    `probabilities` (N, C); both are float32.

    Raise RuntimeMissingError if the package onnx is not installed, and NoFeaturesError if the graph
    has no features.
    """
    try:
        import onnx  # late: nothing else in serving needs it
        from onnx import helper, numpy_helper
        from onnx.utils import Extractor
    except ModuleNotFoundError as error:
        raise RuntimeMissingError(
            "This service cannot export models, because the Python package onnx is not installed. "
            "Its operator can install requirements/serving.txt."
        ) from error
    source = onnx.load(backbone)  # with the weights in other files
    outputs = {output.name: output.type.tensor_type for output in source.graph.output}
    if FEATURES not in outputs:
        raise NoFeaturesError("The graph of the backbone has no features; package it again.")
    batch_input = source.graph.input[0]
    # The extractor keeps what the features depend on, and so not the backbone's last layer.
    model = Extractor(source).extract_model([batch_input.name], [FEATURES])
    graph = model.graph
    parameters = {"head.weight": weight / temperature, "head.bias": bias / temperature}
    for name, values in parameters.items():
        graph.initializer.append(numpy_helper.from_array(values.astype(np.float32), name))
    features = FEATURES
    if outputs[FEATURES].elem_type != onnx.TensorProto.FLOAT:
        features = "head.float"
        graph.node.append(
            helper.make_node("Cast", [FEATURES], [features], to=onnx.TensorProto.FLOAT)
        )
    graph.node.extend(
        [
            helper.make_node("LpNormalization", [features], [_UNIT], axis=1, p=2),
            helper.make_node("Gemm", [_UNIT, *parameters], [LOGITS], transB=1),
        ]
    )
    if softmax:
        graph.node.append(helper.make_node("Softmax", [LOGITS], [PROBABILITIES], axis=1))
    dimension = batch_input.type.tensor_type.shape.dim[0]
    shape = [dimension.dim_param or dimension.dim_value or None, len(weight)]
    del graph.output[:]
    graph.output.append(
        helper.make_tensor_value_info(
            PROBABILITIES if softmax else LOGITS, onnx.TensorProto.FLOAT, shape
        )
    )
    model.producer_name = "Prism"
    return bytes(model.SerializeToString())
