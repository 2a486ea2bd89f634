"""Detects that an ONNX graph scales its pixels itself, by the first operators after its input."""

from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray
from onnx import GraphProto, NodeProto, helper, numpy_helper

Range = Literal[1, 255]  # the largest value of the pixels that a graph takes

# Operators that keep the range of the values, such as those of layers that resize and crop.
_MOVES: Final = (
    *("Identity", "Cast", "Transpose", "Reshape", "Squeeze", "Unsqueeze", "Dropout"),
    *("Resize", "Upsample", "Pad", "Slice", "Gather"),
)
_ARITHMETIC: Final = ("Add", "Sub", "Mul", "Div")
# Means and stds of pixels: those of 0 to 255 are larger than 8, those of 0 to 1 are at most 1.
_MIN_PIXELS: Final = 8.0
_MAX_SHARES: Final = 1.5
_MAX_STEPS: Final = 30
_SMALL_WEIGHT: Final = 0.03  # trained weights for values of 0 to 1 have maxima above 0.1


def detect_range(graph: GraphProto) -> Range | None:
    """Return 255 or 1 if the graph subtracts means or scales values itself; None if it does not.

    The result is the range of values that the first layer after this arithmetic can be meant for.
    """
    constants = _read_constants(graph)
    uses: dict[str, list[NodeProto]] = {}
    for node in graph.node:
        for name in node.input if node.op_type != "Shape" else ():
            uses.setdefault(name, []).append(node)
    inputs = [value.name for value in graph.input if value.name not in constants]
    name, scale, offset, found = inputs[0], np.ones(1), np.zeros(1), False
    for _ in range(_MAX_STEPS):
        if len(uses.get(name, [])) != 1:
            break
        (node,) = uses[name]
        if node.op_type in _ARITHMETIC and len(node.input) == 2:
            other = constants.get(node.input[1 if node.input[0] == name else 0])
            if other is None or other.size not in (1, 3):
                break
            values = other.astype(np.float64).ravel()
            is_first = node.input[0] == name
            if node.op_type == "Mul":
                scale, offset = scale * values, offset * values
            elif node.op_type == "Add":
                offset = offset + values
            elif node.op_type == "Sub":
                scale, offset = (scale, offset - values) if is_first else (-scale, values - offset)
            elif is_first and values.all():
                scale, offset = scale / values, offset / values
            else:
                break
            found = True
        elif node.op_type not in _MOVES:
            break
        name = node.output[0]
    return _classify(scale, offset) if found else None


def _classify(scale: NDArray[np.float64], offset: NDArray[np.float64]) -> Range | None:
    """Return the range by the mean and the std of the pixels that the arithmetic is meant for."""
    if not scale.all() or (np.allclose(scale, 1) and np.allclose(offset, 0)):
        return None
    largest = float(max(np.abs(offset / scale).max(), np.abs(1 / scale).max()))
    if largest > _MIN_PIXELS:
        return 255
    return 1 if largest <= _MAX_SHARES else None


def _read_constants(graph: GraphProto) -> dict[str, NDArray[np.generic]]:
    found = {
        tensor.name: numpy_helper.to_array(tensor)
        for tensor in graph.initializer
        if np.prod(tensor.dims) <= 3
    }
    for node in graph.node:
        if node.op_type == "Constant":
            for attribute in node.attribute:
                if attribute.name == "value":
                    found[node.output[0]] = numpy_helper.to_array(attribute.t)
                elif attribute.name in ("value_float", "value_int"):
                    found[node.output[0]] = np.array(helper.get_attribute_value(attribute))
    return found


def has_small_weights(graph: GraphProto) -> bool:
    """Return whether the first layer is a convolution that is meant for values of 0 to 255.

    Converters merge a scale of 1/255 into the weights of this layer.
    """
    tensors = {tensor.name: tensor for tensor in graph.initializer}
    name = next(value.name for value in graph.input if value.name not in tensors)
    for _ in range(_MAX_STEPS):
        users = [node for node in graph.node if name in node.input and node.op_type != "Shape"]
        if len(users) != 1:
            return False
        if users[0].op_type == "Conv":
            weights = tensors.get(users[0].input[1])
            if weights is None:
                return False
            return 0 < float(np.abs(numpy_helper.to_array(weights)).max()) < _SMALL_WEIGHT
        if users[0].op_type not in _MOVES:
            return False
        name = users[0].output[0]
    return False


def detect_feature_range(graph: GraphProto) -> int | None:
    """Return the largest value of the features that trees or vectors of scikit-learn tell.

    It is 1, 16 (its digits) or 255; None without trees, support vectors and scalers.
    """
    values = [
        abs(value)
        for node in graph.node
        for attribute in node.attribute
        if (node.op_type.startswith("TreeEnsemble") and attribute.name == "nodes_values")
        or (node.op_type.startswith("SVM") and attribute.name == "support_vectors")
        or (node.op_type == "Scaler" and attribute.name == "offset")
        for value in attribute.floats
    ]
    if not values:
        return None
    return next((limit for limit in (1, 16) if max(values) <= limit), 255)
