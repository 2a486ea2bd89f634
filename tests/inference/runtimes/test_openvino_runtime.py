"""OpenVINO gives the answers of ONNX Runtime; these tests need requirements/openvino.txt."""

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnx
import pytest

from backend.inference import runtimes
from backend.inference.errors import ArtifactError, InferenceError
from backend.inference.models import artifact
from backend.inference.models.artifact import Artifact
from backend.inference.runtimes import MappingRuntime
from tests.conftest import ROOT
from tests.fake_models import write_model

pytest.importorskip("openvino")

from backend.inference.runtimes.openvino_runtime import OpenVinoRuntime

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("name", ["mnist-cnn", "photos"])
@pytest.mark.parametrize("threads", [1, 2, None])
def test_outputs_and_maps_are_those_of_onnx_runtime(name: str, threads: int | None) -> None:
    model = artifact.read(ROOT / "models" / name)
    batch = RNG.normal(0, 1, (3, *model.manifest.preprocess.input_shape)).astype(np.float32)
    onnx_runtime = runtimes.load(model, "onnx")
    openvino = runtimes.load(model, "openvino", threads=threads)
    np.testing.assert_allclose(openvino(batch), onnx_runtime(batch), atol=1e-3)
    assert isinstance(onnx_runtime, MappingRuntime)
    assert isinstance(openvino, MappingRuntime)
    expected, found = onnx_runtime.activation_maps(batch), openvino.activation_maps(batch)
    assert (expected is None) == (found is None)
    if expected is not None and found is not None:
        np.testing.assert_allclose(found[1], expected[1], atol=1e-3)


def test_concurrent_callers_get_their_own_results() -> None:
    runtime = runtimes.load(artifact.read(ROOT / "models" / "mnist-cnn"), "openvino", threads=1)
    batches = [RNG.normal(0, 1, (2, 1, 28, 28)).astype(np.float32) for _ in range(40)]
    expected = [runtime(batch) for batch in batches]
    with ThreadPoolExecutor(4) as pool:
        for found, right in zip(pool.map(runtime, batches), expected, strict=True):
            np.testing.assert_array_equal(found, right)


def test_graph_with_fixed_batch_size_runs_in_parts(tmp_path: Path) -> None:
    batch = RNG.normal(0, 1, (5, 1, 28, 28)).astype(np.float32)
    graph = onnx.load(ROOT / "models" / "mnist-cnn" / "model.onnx")
    expected = runtimes.load(artifact.read(ROOT / "models" / "mnist-cnn"), "onnx")(batch)
    graph.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 2
    onnx.save(graph, tmp_path / "model.onnx")
    found = OpenVinoRuntime(tmp_path / "model.onnx")(batch)
    np.testing.assert_allclose(found, expected, atol=1e-3)


def test_input_of_wrong_shape_raises_inference_error() -> None:
    runtime = runtimes.load(artifact.read(ROOT / "models" / "mnist-cnn"), "openvino")
    with pytest.raises(InferenceError):
        runtime(np.zeros((1, 3, 5, 5), dtype=np.float32))


def test_damaged_graph_raises_artifact_error(tmp_path: Path) -> None:
    model = artifact.read(write_model(tmp_path))
    with pytest.raises(ArtifactError, match=r"cannot load model\.onnx"):
        runtimes.load(model, "openvino")


def test_graph_cannot_refer_to_files_outside_its_folder(tmp_path: Path) -> None:
    model = artifact.read(ROOT / "models" / "photos")
    folder = shutil.copytree(model.folder, tmp_path / "copy")
    shutil.move(folder / artifact.WEIGHTS, tmp_path / artifact.WEIGHTS)
    graph = onnx.load(folder / artifact.ONNX, load_external_data=False)
    for tensor in graph.graph.initializer:
        for entry in tensor.external_data:
            if entry.key == "location":
                entry.value = f"../{artifact.WEIGHTS}"
    (folder / artifact.ONNX).write_bytes(graph.SerializeToString())
    with pytest.raises(ArtifactError, match="cannot load"):
        runtimes.load(Artifact(folder=folder, manifest=model.manifest), "openvino")
