"""The input layout and the output kind of ONNX graphs are detected."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from tests.training.package.onnx_graphs import SIDE, mean_of_channels
from training.package.onnx_files import OnnxImportError
from training.package.onnx_import import detect_output_kind, read_graph, run_graph


def write_graph(
    path: Path, shape: list[int | str], *, zipmap: bool = False, label: bool = False
) -> Path:
    """Write a graph that sums its input and returns three scores, like various converters do."""
    nodes = [
        helper.make_node("Flatten", ["x"], ["flat"]),
        helper.make_node("ReduceSum", ["flat", "axes"], ["sum"], keepdims=1),
        helper.make_node("Concat", ["sum", "sum", "sum"], ["scores"], axis=1),
    ]
    outputs = [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["n", 3])]
    if zipmap:
        nodes.append(helper.make_node("ZipMap", ["scores"], ["map"], domain="ai.onnx.ml",
                                      classlabels_int64s=[0, 1, 2]))  # fmt: skip
        value = helper.make_map_type_proto(
            TensorProto.INT64, helper.make_tensor_type_proto(TensorProto.FLOAT, [])
        )
        outputs = [helper.make_value_info("map", helper.make_sequence_type_proto(value))]
    if label:
        nodes.append(helper.make_node("ArgMax", ["scores"], ["label"], axis=1, keepdims=0))
        outputs.insert(0, helper.make_tensor_value_info("label", TensorProto.INT64, ["n"]))
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        outputs,
        [helper.make_tensor("axes", TensorProto.INT64, [1], [1])],
    )
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("ai.onnx.ml", 3)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=10), path)
    return path


@pytest.mark.parametrize(
    ("shape", "layout", "channels", "side"),
    [
        (["n", 3, 224, 224], "NCHW", 3, 224),
        (["n", 3, "h", "w"], "NCHW", 3, None),
        ([1, 1, 28, 28], "NCHW", 1, 28),
        (["n", 96, 96, 3], "NHWC", 3, 96),
        (["n", "h", "w", 3], "NHWC", 3, None),
        (["n", 28, 28, 1], "NHWC", 1, 28),
        (["n", 28, 28], "NHW", 1, 28),
        (["n", 784], "flat", 1, 28),
        (["n", 3, 240, 320], "NCHW", 3, None),
    ],
)
def test_layout_is_detected(
    tmp_path: Path, shape: list[int | str], layout: str, channels: int, side: int | None
) -> None:
    graph = read_graph(write_graph(tmp_path / "g.onnx", shape))
    assert (graph.layout, graph.channels, graph.side) == (layout, channels, side)


@pytest.mark.parametrize("shape", [["n", 5], ["n", 28, 30], ["n", 2, 2, 2, 2], ["n"]])
def test_input_that_is_not_an_image_raises_error(tmp_path: Path, shape: list[int | str]) -> None:
    with pytest.raises(OnnxImportError, match="not a supported image"):
        read_graph(write_graph(tmp_path / "g.onnx", shape))


@pytest.mark.parametrize("zipmap", [True, False])
def test_scores_are_selected_from_several_outputs(tmp_path: Path, zipmap: bool) -> None:
    path = write_graph(tmp_path / "g.onnx", ["n", 784], zipmap=zipmap, label=True)
    scores = run_graph(read_graph(path), np.ones((2, 784), dtype=np.float32))
    np.testing.assert_array_equal(scores, np.full((2, 3), 784))


def test_probabilities_and_logits_are_distinguished() -> None:
    probabilities = np.array([[0.2, 0.8], [1, 0]], dtype=np.float32)
    assert detect_output_kind(probabilities) == "probabilities"
    assert detect_output_kind(np.log(probabilities + 1e-9)) == "logits"
    assert detect_output_kind(np.array([[2, 3]], dtype=np.float32)) == "logits"


def test_dynamic_quantization_does_not_make_answers_depend_on_other_images(
    tmp_path: Path,
) -> None:
    model = mean_of_channels(
        [
            helper.make_node("DynamicQuantizeLinear", ["x"], ["q", "scale", "zero"]),
            helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["y"]),
        ],
        last="y",
    )
    onnx.save(model, tmp_path / "dynamic.onnx")
    graph = read_graph(tmp_path / "dynamic.onnx")
    inputs = np.random.default_rng(0).normal(0, 1, (3, 3, SIDE, SIDE)).astype(np.float32)
    inputs *= np.array([1, 10, 100], dtype=np.float32)[:, None, None, None]
    together = run_graph(graph, inputs)
    np.testing.assert_array_equal(run_graph(graph, inputs[:1]), together[:1])
