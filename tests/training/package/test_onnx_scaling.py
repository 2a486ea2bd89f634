"""Graphs that scale their pixels themselves are detected."""

import numpy as np
import pytest
from onnx import helper

from tests.training.package.onnx_graphs import constant, make_model, mean_of_channels, value
from training.package.onnx_scaling import detect_feature_range, detect_range, has_small_weights

MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ([("Mul", 1 / 255)], 255),
        ([("Div", 127.5), ("Sub", 1)], 255),
        ([("Div", 255), ("Sub", MEAN), ("Div", STD)], 255),
        ([("Sub", [123.675, 116.28, 103.53])], 255),
        ([("Add", [-123.675, -116.28, -103.53]), ("Mul", [0.017] * 3)], 255),
        ([("Sub", MEAN), ("Div", STD)], 1),
        ([("Mul", 2), ("Sub", 1)], 1),
        ([], None),
        ([("Sub", [100.0, 110.0, 120.0]), ("Div", [20.0, 22.0, 24.0])], 255),
        ([("Mul", 0)], None),
        ([("Mul", 1)], None),
        ([("Mul", 0.458), ("Add", -0.03)], None),  # of values normalized for ImageNet
    ],
)
def test_range_follows_from_the_first_operators(
    steps: list[tuple[str, object]], expected: int | None
) -> None:
    nodes, constants, last = [helper.make_node("Identity", ["x"], ["v"])], [], "v"
    for number, (operator, values) in enumerate(steps):
        shape = (1, 3, 1, 1) if isinstance(values, list) else ()
        tensor = constant(f"c{number}", values)
        tensor.dims[:] = shape
        constants.append(tensor)
        nodes.append(helper.make_node(operator, [last, tensor.name], [f"v{number}"]))
        last = f"v{number}"
    model = mean_of_channels(nodes, constants=constants, last=last)
    assert detect_range(model.graph) == expected


def test_scale_after_resizing_is_found() -> None:
    """Layers that resize images of any size ask for their shape."""
    nodes = [
        helper.make_node("Shape", ["x"], ["shape"]),
        helper.make_node("Resize", ["x", "", "k"], ["y"]),
        helper.make_node("Mul", ["y", "c"], ["z"]),
    ]
    constants = [constant("k", [1.0, 1.0, 0.5, 0.5]), constant("c", 1 / 255)]
    model = mean_of_channels(nodes, constants=constants, last="z")
    assert detect_range(model.graph) == 255


def test_arithmetic_after_the_first_layer_is_not_a_scale() -> None:
    nodes = [
        helper.make_node("Relu", ["x"], ["y"]),
        helper.make_node("Mul", ["y", "k"], ["z"]),
    ]
    model = mean_of_channels(nodes, constants=[constant("k", 1 / 255)], last="z")
    assert detect_range(model.graph) is None


@pytest.mark.parametrize(
    ("thresholds", "expected"), [([0.2, 0.9], 1), ([3.5, 12.0], 16), ([200.0], 255)]
)
def test_thresholds_of_trees_tell_the_range(thresholds: list[float], expected: int) -> None:
    node = helper.make_node(
        "TreeEnsembleClassifier", ["x"], ["y", "p"], domain="ai.onnx.ml", nodes_values=thresholds
    )
    model = make_model([node], [value("x", ["n", 64])], [value("p", ["n", 2])])
    assert detect_feature_range(model.graph) == expected


@pytest.mark.parametrize(("largest", "expected"), [(0.5, False), (0.5 / 255, True)])
def test_scale_that_is_merged_into_the_weights_is_found(largest: float, expected: bool) -> None:
    weights = constant("w", np.full((4, 3, 3, 3), largest))
    node = helper.make_node("Conv", ["x", "w"], ["y"])
    model = mean_of_channels([node], constants=[weights], last="y")
    assert has_small_weights(model.graph) == expected
