"""Graphs get the output `features` where a linear layer follows global pooling."""

from pathlib import Path

import numpy as np
import onnx
import pytest

from backend.inference import runtimes
from backend.inference.models import artifact
from backend.inference.runtimes.onnx_runtime import OnnxRuntime
from backend.inference.types import Floats
from tests.conftest import ROOT
from tests.inference.cam_network import NODE, WEIGHTS, make_network, matmul_add
from training.package.activation_map import add_activation_map
from training.package.features import add_features

INPUTS: Floats = np.random.default_rng(0).random((5, 3, 12, 16), dtype=np.float32)


@pytest.mark.parametrize("linear", [None, matmul_add()])
def test_features_are_the_input_of_the_linear_layer(
    tmp_path: Path, linear: list[onnx.NodeProto] | None
) -> None:
    model = make_network(linear=linear)
    add_activation_map(model)
    assert add_features(model)
    assert not add_features(model)  # it has the output now
    onnx.save(model, tmp_path / "model.onnx")
    runtime = OnnxRuntime(tmp_path / "model.onnx", threads=1)
    assert runtimes.has_features(runtime)
    outputs, features = runtime.features(INPUTS)
    np.testing.assert_allclose(features, INPUTS.mean(axis=(2, 3)), rtol=1e-5)
    np.testing.assert_allclose(features @ WEIGHTS.T, outputs, atol=1e-5)
    np.testing.assert_array_equal(runtime(INPUTS), outputs)
    maps = runtime.activation_maps(INPUTS)
    assert maps is not None
    np.testing.assert_array_equal(maps[0], outputs)


def test_network_without_linear_layer_stays_unchanged(tmp_path: Path) -> None:
    model = make_network(linear=[NODE("Identity", ["flat"], ["scores"])])
    before = model.SerializeToString()
    assert not add_features(model)
    assert model.SerializeToString() == before
    onnx.save(model, tmp_path / "model.onnx")
    assert not runtimes.has_features(OnnxRuntime(tmp_path / "model.onnx", threads=1))


def test_both_runtimes_return_the_features_of_the_shipped_photo_model() -> None:
    model = artifact.read(ROOT / "models" / "photos")
    shape = (1, *model.manifest.preprocess.input_shape)
    batch = np.random.default_rng(0).normal(0, 1, shape).astype(np.float32)
    onnx_runtime, torch = runtimes.load(model, "onnx"), runtimes.load(model, "torch")
    assert runtimes.has_features(onnx_runtime)
    assert runtimes.has_features(torch)
    expected, found = onnx_runtime.features(batch), torch.features(batch)
    assert found[1].shape == (1, 1280)
    np.testing.assert_array_equal(onnx_runtime(batch), expected[0])
    for one, other in zip(expected, found, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-3)
