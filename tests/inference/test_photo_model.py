"""The shipped photo model: its files, its labels, both runtimes, and known photographs."""

import csv
import re
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest

from backend.inference import runtimes
from backend.inference.decoder import Decoder
from backend.inference.images.image_reader import ImageReader
from backend.inference.models import artifact
from backend.inference.models.artifact import Artifact
from backend.inference.runtimes import Runtime
from backend.inference.types import Floats
from tests.conftest import ROOT

CATS = ("tabby cat", "tiger cat", "Egyptian Mau", "Persian cat", "Siamese cat")
MAX_BYTES = 25_000_000


@pytest.fixture(scope="module")
def model() -> Artifact:
    """The model folder; reading it verifies the checksum of every file."""
    return artifact.read(ROOT / "models" / "photos")


@pytest.fixture(scope="module")
def runtime(model: Artifact) -> Runtime:
    return runtimes.load(model, "onnx", threads=1)


def decode(model: Artifact, path: Path) -> Floats:
    return Decoder(model.manifest.preprocess, ImageReader()).decode(path.read_bytes()).rows


def test_folder_lists_every_file_and_stores_the_weights_once(model: Artifact) -> None:
    names = {path.name for path in model.folder.iterdir()} - {artifact.MANIFEST}
    assert names == set(model.manifest.files)
    assert sum((model.folder / name).stat().st_size for name in names) < MAX_BYTES


def test_labels_are_distinct_and_have_wordnet_ids(model: Artifact) -> None:
    labels, ids = model.manifest.labels, model.manifest.label_ids
    assert ids is not None
    assert len({label.lower() for label in labels}) == len(set(ids)) == len(labels) == 1000
    assert all(re.fullmatch(r"n\d{8}", each) for each in ids)
    assert dict(zip(ids, labels, strict=True))["n02124075"] == "Egyptian Mau"


def test_cat_is_a_cat_in_both_runtimes(model: Artifact, runtime: Runtime) -> None:
    rows = decode(model, ROOT / "frontend" / "examples" / "cat.jpg")
    logits = runtime(rows)
    assert model.manifest.labels[int(logits.argmax())] in CATS
    np.testing.assert_allclose(runtimes.load(model, "torch")(rows), logits, atol=1e-3)


def test_graph_loads_without_prism_and_computes_in_float32(
    model: Artifact, runtime: Runtime, tmp_path: Path
) -> None:
    options = ort.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
    session = ort.InferenceSession(str(model.folder / artifact.ONNX), options)
    assert b"Cast" not in (tmp_path / "optimized.onnx").read_bytes()
    rows = np.zeros((1, *model.manifest.preprocess.input_shape), dtype=np.float32)
    outputs = session.run(["output"], {session.get_inputs()[0].name: rows})
    np.testing.assert_allclose(outputs[0], runtime(rows), atol=1e-4)


def test_photographs_get_their_label_and_id(
    model: Artifact, runtime: Runtime, test_data: Path
) -> None:
    folder = test_data / "imagenet"
    rows = list(csv.DictReader((folder / "labels.csv").read_text().splitlines()))[::8]
    right = 0
    for row in rows:
        index = int(row["index"])
        assert model.manifest.label_ids is not None
        assert model.manifest.label_ids[index] == row["file"].partition("_")[0]
        logits = runtime(decode(model, folder / "samples" / row["file"]))
        right += int(logits.argmax()) == index
    assert len(rows) == 25
    assert right >= 20
