"""Weights in half precision are stored once and used by both runtimes in float32."""

import shutil
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from backend.inference import runtimes
from backend.inference.errors import ArtifactError
from backend.inference.models import artifact, networks
from backend.inference.models.artifact import Artifact, Manifest
from backend.inference.preprocessing.digit_crop import LABELS, DigitPreprocess
from training.package.export import export

INPUTS = np.random.default_rng(0).normal(0, 1, (4, 1, 28, 28)).astype(np.float32)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    torch.manual_seed(0)
    network: nn.Module = networks.build("mnist-mlp")
    manifest = Manifest(
        name="half",
        version="1",
        architecture="mnist-mlp",
        labels=LABELS,
        preprocess=DigitPreprocess(),
        files={},
    )
    folder = tmp_path_factory.mktemp("models") / "half"
    return export(network, manifest, folder, INPUTS, "{parity}", half_precision=True)


def test_weights_are_stored_once_in_half_precision(model: Artifact) -> None:
    assert model.weights is not None
    assert model.onnx is not None
    tensors = load_file(model.weights)
    assert {tensor.dtype for tensor in tensors.values() if tensor.ndim > 1} == {torch.float16}
    assert {tensor.dtype for tensor in tensors.values() if tensor.ndim == 1} == {torch.float32}
    assert model.onnx.stat().st_size < 10_000 < model.weights.stat().st_size


def test_graph_contains_no_path_of_the_machine_that_exported_it(model: Artifact) -> None:
    assert model.onnx is not None
    assert b".py" not in model.onnx.read_bytes()


def test_graph_with_its_weights_is_valid_and_loads_anywhere(
    model: Artifact, tmp_path: Path
) -> None:
    folder = shutil.copytree(model.folder, tmp_path / "copy")
    onnx.checker.check_model(str(folder / artifact.ONNX))
    session = ort.InferenceSession(str(folder / artifact.ONNX))
    outputs = session.run(["output"], {"input": INPUTS})[0]
    np.testing.assert_allclose(outputs, runtimes.load(model, "torch")(INPUTS), atol=1e-5)


def test_graph_without_its_weights_raises_artifact_error(model: Artifact, tmp_path: Path) -> None:
    folder = shutil.copytree(model.folder, tmp_path / "copy")
    (folder / artifact.WEIGHTS).unlink()
    with pytest.raises(ArtifactError, match="not a valid ONNX graph"):
        runtimes.load(Artifact(folder=folder, manifest=model.manifest), "onnx")


def test_graph_cannot_refer_to_files_outside_its_folder(model: Artifact, tmp_path: Path) -> None:
    folder = shutil.copytree(model.folder, tmp_path / "copy")
    shutil.move(folder / artifact.WEIGHTS, tmp_path / artifact.WEIGHTS)
    graph = onnx.load(folder / artifact.ONNX, load_external_data=False)
    for tensor in graph.graph.initializer:
        for entry in tensor.external_data:
            if entry.key == "location":
                entry.value = f"../{artifact.WEIGHTS}"
    (folder / artifact.ONNX).write_bytes(graph.SerializeToString())
    with pytest.raises(ArtifactError, match="not a valid ONNX graph"):
        runtimes.load(Artifact(folder=folder, manifest=model.manifest), "onnx")
