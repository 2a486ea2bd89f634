"""The exported graph of a taught model gives the probabilities of its head."""

import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from backend.inference.errors import NoFeaturesError, RuntimeMissingError
from backend.inference.head_export import fuse_head
from backend.inference.types import Floats
from calibration.apply import normalize
from calibration.apply import probabilities as to_probabilities

RNG = np.random.default_rng(0)
WEIGHT = RNG.normal(size=(3, 4)).astype(np.float32)
BIAS = RNG.normal(size=3).astype(np.float32)
IMAGES = RNG.random((2, 4, 5, 5), dtype=np.float32)


def write_backbone(path: Path, *, kind: int = TensorProto.FLOAT, outputs: int = 2) -> Path:
    """Write a network of pooling and one linear layer, whose weights are in another file."""
    layer = numpy_helper.from_array(RNG.random((4, 1_000), dtype=np.float32), "layer")
    nodes = [
        helper.make_node("GlobalAveragePool", ["input"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("MatMul", ["flat", "layer"], ["output"]),
        helper.make_node("Cast", ["flat"], ["features"], to=kind),
    ]
    values = [
        helper.make_tensor_value_info("output", TensorProto.FLOAT, ["batch", 1_000]),
        helper.make_tensor_value_info("features", kind, [None, None]),
    ]
    image = helper.make_tensor_value_info("input", TensorProto.FLOAT, ["batch", 4, 5, 5])
    graph = helper.make_graph(nodes, "backbone", [image], values[:outputs], [layer])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    onnx.save(model, path, save_as_external_data=True, location="weights", size_threshold=0)
    return path


def run(graph: bytes) -> tuple[str, Floats]:
    session = ort.InferenceSession(graph)
    (output,) = session.get_outputs()
    return output.name, session.run(None, {"input": IMAGES})[0]


def expected_logits() -> Floats:
    logits: Floats = normalize(IMAGES.mean(axis=(2, 3))) @ WEIGHT.T + BIAS
    return logits


@pytest.mark.parametrize("kind", [TensorProto.FLOAT, TensorProto.DOUBLE])
def test_graph_gives_the_logits_of_the_head(tmp_path: Path, kind: int) -> None:
    backbone = write_backbone(tmp_path / "model.onnx", kind=kind)
    name, logits = run(fuse_head(backbone, WEIGHT, BIAS))
    assert name == "logits"
    np.testing.assert_allclose(logits, expected_logits(), atol=1e-6)


def test_graph_gives_probabilities(tmp_path: Path) -> None:
    backbone = write_backbone(tmp_path / "model.onnx")
    name, probabilities = run(fuse_head(backbone, WEIGHT, BIAS, temperature=0.5, softmax=True))
    assert name == "probabilities"
    expected = to_probabilities(expected_logits(), "logits", 0.5)
    np.testing.assert_allclose(probabilities, expected, atol=1e-6)


def test_graph_is_one_valid_file_without_the_last_layer_of_the_backbone(tmp_path: Path) -> None:
    content = fuse_head(write_backbone(tmp_path / "model.onnx"), WEIGHT, BIAS)
    model = onnx.load_from_string(content)
    onnx.checker.check_model(model, full_check=True)
    assert {each.name for each in model.graph.initializer} == {"head.weight", "head.bias"}
    assert model.graph.output[0].type.tensor_type.shape.dim[0].dim_param == "batch"


def test_backbone_without_features_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(NoFeaturesError, match="has no features"):
        fuse_head(write_backbone(tmp_path / "model.onnx", outputs=1), WEIGHT, BIAS)


def test_missing_package_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(RuntimeMissingError, match="package onnx is not installed"):
        fuse_head(tmp_path / "model.onnx", WEIGHT, BIAS)
