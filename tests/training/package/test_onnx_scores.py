"""The scores of the classes are found among the outputs of a graph, with their labels."""

from typing import Any

import numpy as np
import pytest
from onnx import ModelProto, TensorProto, helper

from tests.training.package.onnx_graphs import SIDE, constant, make_model, value
from training.package.onnx_files import OnnxImportError
from training.package.onnx_import import describe_graph, run_graph
from training.package.onnx_scores import keep_scores, read_class_labels

INPUT = (3, SIDE, SIDE)


def model_of(outputs: dict[str, list[Any]], nodes: list[Any] | None = None) -> ModelProto:
    """Return a graph with features (N, 3), two heads on them and what `nodes` compute."""
    return make_model(
        [
            helper.make_node("GlobalAveragePool", ["x"], ["map"]),
            helper.make_node("Flatten", ["map"], ["features"]),
            helper.make_node("MatMul", ["features", "w"], ["logits"]),
            helper.make_node("MatMul", ["features", "w"], ["color"]),
            helper.make_node("MatMul", ["features", "w"], ["aux_logits"]),
            helper.make_node("Softmax", ["logits"], ["probabilities"]),
            helper.make_node("Sigmoid", ["logits"], ["shares"]),
            *(nodes or []),
        ],
        [value("x", ["n", *INPUT])],
        [value(name, shape) for name, shape in outputs.items()],
        [constant("w", np.eye(3, 5))],
    )


@pytest.mark.parametrize(
    ("outputs", "expected"),
    [
        ({"logits": ["n", 5]}, "logits"),
        ({"features": ["n", 3], "logits": ["n", 5]}, "logits"),
        ({"logits": ["n", 5], "map": ["n", 3, 1, 1]}, "logits"),
        ({"logits": ["n", 5], "aux_logits": ["n", 5]}, "logits"),
        ({"probabilities": ["n", 5], "logits": ["n", 5]}, "logits"),
        ({"logits": ["n", 5], "shares": ["n", 5]}, "shares"),  # a sigmoid is no softmax
        ({"x": ["n", *INPUT], "probabilities": ["n", 5]}, "probabilities"),
    ],
)
def test_scores_are_found(outputs: dict[str, list[Any]], expected: str) -> None:
    assert keep_scores(model_of(outputs), INPUT, None) == expected


def test_two_heads_require_the_name_of_the_output() -> None:
    outputs = {"logits": ["n", 5], "color": ["n", 5]}
    with pytest.raises(OnnxImportError, match=r"logits \(5,\), color \(5,\); pass .*--output-name"):
        keep_scores(model_of(outputs), INPUT, None)
    model = model_of(outputs)
    assert keep_scores(model, INPUT, "color") == "color"
    assert [output.name for output in model.graph.output] == ["color"]
    with pytest.raises(OnnxImportError, match="its outputs are logits, color"):
        keep_scores(model_of(outputs), INPUT, "colour")


def test_one_output_for_each_class_is_refused_with_what_to_do() -> None:
    nodes = [
        helper.make_node("Slice", ["logits", f"{n}", f"{n + 1}", "axes"], [f"i{n}"]) for n in (0, 1)
    ]
    model = model_of({"i0": ["n", 1], "i1": ["n", 1]}, nodes)
    numbers = [constant(f"{n}", [n], np.int64) for n in range(3)]
    model.graph.initializer.extend([*numbers, constant("axes", [1], np.int64)])
    with pytest.raises(OnnxImportError, match=r"zipmap"):
        keep_scores(model, INPUT, None)


@pytest.mark.parametrize("declared", [["n", 3, SIDE, SIDE], ["n", "c", "h", "w"]])
def test_output_for_each_pixel_is_no_classification(declared: list[Any]) -> None:
    relu = helper.make_node("Relu", ["x"], ["mask"])
    with pytest.raises(OnnxImportError, match=r"mask \(3, 32, 32\)"):
        keep_scores(model_of({"mask": declared}, [relu]), INPUT, None)


def test_quantized_scores_are_read_before_their_quantization() -> None:
    node = helper.make_node("QuantizeLinear", ["probabilities", "scale", "zero"], ["q"])
    model = model_of({}, [node])
    model.graph.output.append(value("q", ["n", 5], TensorProto.UINT8))
    model.graph.initializer.extend([constant("scale", 1 / 256), constant("zero", 0, np.uint8)])
    graph = describe_graph(model)
    scores = run_graph(graph, np.ones((1, *INPUT), dtype=np.float32))
    assert scores.sum() == pytest.approx(1, abs=1e-6)
    assert len(np.unique(scores * 256 % 1)) > 1  # not rounded


def test_labels_of_zipmap_are_kept() -> None:
    node = helper.make_node(
        "ZipMap",
        ["scores"],
        ["map"],
        domain="ai.onnx.ml",
        classlabels_strings=["cat", "dog", "owl"],
    )
    kind = helper.make_map_type_proto(
        TensorProto.STRING, helper.make_tensor_type_proto(TensorProto.FLOAT, [])
    )
    flatten = [
        helper.make_node("GlobalAveragePool", ["x"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["scores"]),
        node,
    ]
    output = helper.make_value_info("map", helper.make_sequence_type_proto(kind))
    graph = describe_graph(make_model(flatten, [value("x", ["n", *INPUT])], [output]))
    assert graph.labels == ("cat", "dog", "owl")
    assert [output.name for output in graph.model.graph.output] == ["scores"]


def test_labels_of_a_converted_pipeline_are_read() -> None:
    classes = constant("classes", [3, 5], np.int64)
    node = helper.make_node("ArrayFeatureExtractor", ["classes", "i"], ["y"], domain="ai.onnx.ml")
    model = make_model([node], [value("i", ["n"])], [value("y", ["n"])], [classes])
    assert read_class_labels(model) == ("3", "5")
