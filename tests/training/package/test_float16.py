"""Graphs in float16 are packaged as graphs that compute in float32."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from backend.inference import runtimes
from backend.inference.models import artifact
from backend.inference.types import Floats
from tests.training.package.test_package import run

INPUTS = np.random.default_rng(0).normal(0, 1, (4, 1, 28, 28)).astype(np.float32)


@pytest.fixture
def graph(tmp_path: Path) -> Path:
    """A linear classifier in float16 with a constant, a cast and an old-style weight input."""
    rng = np.random.default_rng(0)
    weights = rng.normal(0, 0.1, (784, 10)).astype(np.float16)
    scale = numpy_helper.from_array(np.array(1.5, dtype=np.float16))
    half = TensorProto.FLOAT16
    nodes = [
        helper.make_node("Flatten", ["input"], ["flat"]),
        helper.make_node("MatMul", ["flat", "weights"], ["product"]),
        helper.make_node("Constant", [], ["scale"], value=scale),
        helper.make_node("Cast", ["scale"], ["same_scale"], to=half),
        helper.make_node("Mul", ["product", "same_scale"], ["scores"]),
    ]
    content = helper.make_graph(
        nodes,
        "linear",
        [
            helper.make_tensor_value_info("input", half, ["batch", 1, 28, 28]),
            helper.make_tensor_value_info("weights", half, [784, 10]),
        ],
        [helper.make_tensor_value_info("scores", half, ["batch", 10])],
        [numpy_helper.from_array(weights, "weights")],
    )
    model = helper.make_model(content, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    path = tmp_path / "half.onnx"
    onnx.save(model, path)
    return path


def expected_scores(graph: Path) -> Floats:
    """Return what the graph in float16 returns for INPUTS."""
    session = ort.InferenceSession(graph)
    scores: Floats = session.run(None, {"input": INPUTS.astype(np.float16)})[0]
    return scores.astype(np.float32)


def test_graph_in_float16_computes_in_float32(graph: Path, tmp_path: Path) -> None:
    run("half", "--onnx", graph, "--out", tmp_path)
    model = artifact.read(tmp_path / "half")
    assert model.onnx is not None
    optimized = tmp_path / "optimized.onnx"
    options = ort.SessionOptions()
    options.optimized_model_filepath = str(optimized)
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
    session = ort.InferenceSession(model.onnx, options)
    assert session.get_inputs()[0].type == "tensor(float)"
    assert "Cast" not in {node.op_type for node in onnx.load(optimized).graph.node}
    np.testing.assert_allclose(
        runtimes.load(model, "onnx")(INPUTS), expected_scores(graph), atol=0.05
    )


def test_weights_stay_stored_in_float16(graph: Path, tmp_path: Path) -> None:
    run("half", "--onnx", graph, "--out", tmp_path)
    model = artifact.read(tmp_path / "half")
    assert model.onnx is not None
    assert model.onnx.stat().st_size < graph.stat().st_size + 1000
