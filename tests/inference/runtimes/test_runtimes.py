"""Runtimes: ONNX Runtime and torch agree, and ONNX Runtime does not import torch."""

import os
import sys
from importlib.util import find_spec
from pathlib import Path
from subprocess import run

import numpy as np
import pytest

from backend.inference import runtimes
from backend.inference.errors import ArtifactError, InferenceError, RuntimeMissingError
from backend.inference.models import artifact
from backend.inference.models.artifact import Artifact
from tests.conftest import ROOT
from tests.fake_models import write_model

SHIPPED = ROOT / "models" / "mnist-cnn"


def test_both_runtimes_agree() -> None:
    model = artifact.read(SHIPPED)
    batch = np.random.default_rng(0).normal(0, 1, (16, 1, 28, 28)).astype(np.float32)
    onnx, torch = (runtimes.load(model, name) for name in ("onnx", "torch"))
    assert (onnx.name, torch.name) == ("onnx", "torch")
    np.testing.assert_allclose(onnx(batch), torch(batch), atol=1e-4)


def test_serving_with_onnx_never_imports_torch() -> None:
    code = """
import asyncio, sys
from starlette.testclient import TestClient
from backend.app import create_app
from tests.images import encoded, seven
with TestClient(create_app(), base_url="http://localhost") as client:
    response = client.post("/classify", files={"file": encoded(seven())}).json()
assert response["prediction"] == "7", response
print(*sys.modules)
"""
    process = run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=os.environ | {"PRISM_RUNTIME": "onnx"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert not {"torch", "torchvision"} & set(process.stdout.split())


def test_auto_is_onnx_without_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtimes, "_has_gpu", lambda: False)
    assert runtimes.load(artifact.read(SHIPPED)).name == "onnx"


def test_auto_is_torch_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtimes, "_has_gpu", lambda: True)
    assert runtimes.load(artifact.read(SHIPPED)).name == "torch"


def test_damaged_graph_raises_artifact_error(tmp_path: Path) -> None:
    model = artifact.read(write_model(tmp_path))
    with pytest.raises(ArtifactError, match=r"model\.onnx is not a valid ONNX graph"):
        runtimes.load(model, "onnx")


def test_model_without_weights_always_runs_in_onnx(tmp_path: Path) -> None:
    folder = write_model(tmp_path)
    (folder / artifact.ONNX).write_bytes((SHIPPED / artifact.ONNX).read_bytes())
    model = artifact.write_manifest(folder, artifact.read(SHIPPED).manifest)
    assert runtimes.load(model, "torch").name == "onnx"


def quantized(tmp_path: Path) -> Artifact:
    """Return a model folder with a placeholder for a quantized graph."""
    folder = write_model(tmp_path)
    (folder / artifact.INT8).write_bytes(b"placeholder")
    return artifact.write_manifest(folder, artifact.read_manifest(folder))


@pytest.mark.parametrize(
    ("has_openvino", "name", "precision", "expected"),
    [
        (False, "auto", "auto", [("onnx", "int8")]),
        (False, "auto", "fp32", []),
        (True, "auto", "auto", [("onnx", "int8"), ("openvino", "fp32"), ("openvino", "int8")]),
        (True, "auto", "fp32", [("openvino", "fp32")]),
        (True, "onnx", "auto", [("onnx", "int8")]),
        (True, "openvino", "auto", [("openvino", "int8")]),
    ],
)
def test_alternatives_follow_from_files_runtimes_and_settings(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    has_openvino: bool,
    name: runtimes.RuntimeName,
    precision: runtimes.PrecisionChoice,
    expected: list[tuple[str, str]],
) -> None:
    monkeypatch.setattr(runtimes, "find_spec", lambda _: object() if has_openvino else None)
    found = runtimes.alternatives(quantized(tmp_path), name, precision)
    assert [(each.runtime, each.precision) for each in found] == expected


def test_torch_has_no_alternatives(monkeypatch: pytest.MonkeyPatch) -> None:
    assert runtimes.alternatives(artifact.read(SHIPPED), "torch") == []
    monkeypatch.setattr(runtimes, "_has_gpu", lambda: True)
    assert runtimes.alternatives(artifact.read(SHIPPED)) == []


def test_alternative_loads_the_quantized_graph(tmp_path: Path) -> None:
    (alternative,) = runtimes.alternatives(quantized(tmp_path), "onnx")
    with pytest.raises(ArtifactError, match=r"model\.int8\.onnx is not a valid ONNX graph"):
        alternative.load(threads=1)


def test_missing_quantized_graph_raises_artifact_error() -> None:
    with pytest.raises(ArtifactError, match=r"no model\.int8\.onnx"):
        runtimes.load(artifact.read(SHIPPED.with_name("mnist-mlp")), "onnx", precision="int8")


@pytest.mark.skipif(find_spec("openvino") is not None, reason="openvino is installed")
def test_missing_openvino_says_what_to_install() -> None:
    with pytest.raises(RuntimeMissingError, match=r"requirements/openvino\.txt"):
        runtimes.load(artifact.read(SHIPPED), "openvino")


@pytest.mark.parametrize("name", ["onnx", "torch"])
def test_input_of_wrong_shape_raises_inference_error(name: runtimes.RuntimeName) -> None:
    runtime = runtimes.load(artifact.read(SHIPPED), name)
    with pytest.raises(InferenceError):
        runtime(np.zeros((1, 3, 5, 5), dtype=np.float32))
