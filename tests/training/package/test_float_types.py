"""Graphs in float16 and float64 are packaged as graphs that compute in float32."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from backend.inference import runtimes
from backend.inference.models import artifact
from backend.inference.types import Floats
from tests.training.package.onnx_graphs import SIDE, mean_of_channels
from tests.training.package.test_package import run
from training.package import float_types

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


def convolution(kind: int, *, casts: bool) -> onnx.ModelProto:
    """Return a classifier that convolves in float64; with `casts`, its input is float32."""
    weights = np.random.default_rng(0).normal(0, 1, (3, 3, 5, 5))
    nodes = [
        *([helper.make_node("Cast", ["x"], ["wide"], to=TensorProto.DOUBLE)] if casts else []),
        helper.make_node("Conv", ["wide" if casts else "x", "weights"], ["features"]),
    ]
    return mean_of_channels(
        nodes, kind=kind, constants=[numpy_helper.from_array(weights, "weights")], last="features"
    )


@pytest.mark.parametrize("casts", [False, True])
def test_graph_in_float64_without_kernels_computes_in_float32(tmp_path: Path, casts: bool) -> None:
    model = convolution(TensorProto.FLOAT if casts else TensorProto.DOUBLE, casts=casts)
    model.graph.output[0].type.tensor_type.elem_type = TensorProto.DOUBLE
    onnx.save(model, tmp_path / "wide.onnx")
    run("wide", tmp_path / "wide.onnx", "--out", tmp_path)
    found = artifact.read(tmp_path / "wide")
    inputs = np.random.default_rng(1).normal(0, 1, (2, 3, SIDE, SIDE)).astype(np.float32)
    weights = numpy_helper.to_array(model.graph.initializer[0])
    windows = np.lib.stride_tricks.sliding_window_view(inputs, (5, 5), axis=(2, 3))
    expected = np.einsum("nchwij,ocij->nohw", windows, weights).mean(axis=(2, 3))
    np.testing.assert_allclose(runtimes.load(found, "onnx")(inputs), expected, atol=1e-4)


def test_graph_in_float64_that_runs_keeps_its_precision() -> None:
    model = mean_of_channels(kind=TensorProto.FLOAT, constants=[])
    model.graph.node.insert(0, helper.make_node("Cast", ["x"], ["d"], to=TensorProto.DOUBLE))
    model.graph.node.insert(1, helper.make_node("Cast", ["d"], ["y"], to=TensorProto.FLOAT))
    model.graph.node[2].input[0] = "y"
    before = model.SerializeToString()
    float_types.narrow(model)
    assert model.SerializeToString() == before
