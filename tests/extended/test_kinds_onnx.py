"""ONNX files of other tools answer as in the tools that wrote them."""

import json
import os
import re
import shlex
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import joblib
import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from onnxruntime.transformers.float16 import convert_float_to_float16
from PIL import Image
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn

from backend.inference.models import artifact
from tests.conftest import ROOT
from tests.extended import environments, nine_images
from training.package.__main__ import main

LABELS = ("cat", "dog", "owl")
SIDE = 48


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return nine_images.write(tmp_path_factory.mktemp("images"))


def package(source: Path, out: Path, *options: str) -> Path:
    main(["animals", str(source), "--out", str(out / "models"), *options])
    return out / "models" / "animals"


def write_network(path: Path) -> None:
    """Write a small convolutional network with three probabilities."""
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.BatchNorm2d(3),
        nn.Conv2d(3, 8, 3, stride=2),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, 3),
        nn.Softmax(1),
    ).eval()
    with warnings.catch_warnings(action="ignore"):  # about the exporter's internals
        torch.onnx.export(
            *(network, (torch.zeros(1, 3, SIDE, SIDE),), str(path)),
            input_names=["data"],
            dynamo=True,
            external_data=False,
            verbose=False,
        )


def load_stretched(path: Path) -> np.ndarray[Any, Any]:
    """Return an image as the example of Custom Vision loads it: float32 (1, 3, H, W)."""
    image = Image.open(path).convert("RGB").resize((SIDE, SIDE))
    return np.array(image, dtype=np.float32)[np.newaxis].transpose((0, 3, 1, 2))


def test_export_of_custom_vision_equals_its_example(tmp_path: Path, images: list[Path]) -> None:
    graph = tmp_path / "model.onnx"
    write_network(graph)
    properties = {
        "Image.BitmapPixelFormat": "Bgr8",
        "Image.NominalPixelRange": "NominalRange_0_255",
        "CustomVision.Postprocess.Method": "ClassificationMultiClass",
    }
    path = tmp_path / "export.zip"
    with ZipFile(path, "w") as archive:
        archive.write(graph, "model.onnx")
        archive.writestr("labels.txt", "\n".join(LABELS))
        archive.writestr("metadata_properties.json", json.dumps(properties))
    folder = package(path, tmp_path)
    session = ort.InferenceSession(graph)
    expected = [session.run(None, {"data": load_stretched(each)[:, (2, 1, 0)]}) for each in images]
    found = nine_images.classify(folder, images)
    np.testing.assert_allclose(found, np.concatenate([rows[0] for rows in expected]), atol=1e-3)
    assert artifact.read(folder).manifest.labels == LABELS


def test_float16_graph_equals_onnx_runtime(tmp_path: Path, images: list[Path]) -> None:
    graph = tmp_path / "model.onnx"
    write_network(graph)
    with warnings.catch_warnings(action="ignore"):  # about numbers that are rounded to zero
        half = convert_float_to_float16(onnx.load(graph), keep_io_types=True)
    onnx.save(half, graph)
    spec = {
        "kind": "image",
        "resize": [SIDE, SIDE],
        "crop": [SIDE, SIDE],
        "interpolation": "bicubic",
        "mean": [0] * 3,
        "std": [1] * 3,
    }
    description = tmp_path / "spec.json"
    description.write_text(json.dumps(spec))
    folder = package(graph, tmp_path, "--preprocess", str(description))
    session = ort.InferenceSession(graph)
    expected = [session.run(None, {"data": load_stretched(each) / 255})[0] for each in images]
    found = nine_images.classify(folder, images)
    np.testing.assert_allclose(found, np.concatenate(expected), atol=1e-3)


@pytest.mark.parametrize(
    "model",
    [
        make_pipeline(StandardScaler(), LogisticRegression()),
        RandomForestClassifier(20, random_state=0),
    ],
    ids=["pipeline", "forest"],
)
def test_recipe_for_scikit_learn_equals_predict_proba(
    tmp_path: Path, images: list[Path], model: Any
) -> None:
    side = 12
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (150, side * side * 3))
    kinds = rng.integers(0, 3, 150)
    pixels[:, ::3] = pixels[:, ::3] * (kinds + 1)[:, np.newaxis] // 3
    model.fit(pixels, np.array(LABELS)[kinds])
    path = tmp_path / "model's.pkl"
    joblib.dump(model, path)
    with pytest.raises(SystemExit, match="executes the code in it") as refusal:
        package(path, tmp_path)
    install, *lines = str(refusal.value).split("it:\n")[1].splitlines()
    assert "pip install skl2onnx" in install
    recipe = "\n".join(lines)
    recipe = re.sub(r"(\.venv/bin/)?python (?=-)", f"{shlex.quote(sys.executable)} ", recipe)
    environ = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"}
    subprocess.run(["bash", "-ec", recipe], cwd=tmp_path, env=environ, check=True)
    folder = tmp_path / "models" / "animals"
    manifest = artifact.read(folder).manifest
    assert manifest.labels == LABELS
    assert "values of 0 to 255" in manifest.provenance["preprocess"]
    size = (side, side)
    rows = [
        np.asarray(Image.open(each).convert("RGB").resize(size, Image.Resampling.BILINEAR)).ravel()
        for each in images
    ]
    found = nine_images.classify(folder, images)
    np.testing.assert_allclose(found, model.predict_proba(np.stack(rows)), atol=1e-3)


def test_ultralytics_equals_its_prediction(tmp_path: Path, images: list[Path]) -> None:
    """ultralytics is installed into an environment of its own, with what its export requires."""
    python = environments.create(
        tmp_path / "environment", "ultralytics", "onnxslim", with_ours=True
    )
    # The graph is written to the current folder.
    environ = os.environ | {"PYTHONPATH": str(ROOT), "YOLO_CONFIG_DIR": str(tmp_path)}
    command: list[Any] = [
        python,
        "-m",
        "tests.extended.ultralytics_model",
        images[0].parent,
        tmp_path,
    ]
    done = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    expected = np.load(tmp_path / "best.npy")
    folder = package(tmp_path / "best.onnx", tmp_path)
    assert artifact.read(folder).manifest.labels[7] == "thing 7"
    found = nine_images.classify(folder, images)
    np.testing.assert_allclose(found, expected, atol=1e-3)
    assert found.max() > 0.01
