"""The exported graph of a head on the shipped photo model gives the probabilities of serving."""

import asyncio
from collections.abc import Iterator
from functools import partial
from io import BytesIO
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import onnxruntime as ort
import pytest
from numpy.typing import NDArray
from safetensors.numpy import save_file

from backend.api.model_export import export_model
from backend.inference import runtimes
from backend.inference.classifier import Classifier
from backend.inference.head_classifier import HeadClassifier
from backend.inference.models import artifact
from backend.inference.models.artifact import Artifact, Manifest
from backend.inference.types import Floats
from calibration.apply import Calibration, normalize
from tests.conftest import ROOT
from tests.fake_models import CALIBRATION
from training.package.packaging import make_probe

TEMPERATURE = 2.5
LABELS = ("a", "b", "None of these")


@pytest.fixture(scope="module")
def backbone() -> Iterator[Classifier]:
    model = artifact.read(ROOT / "models" / "photos")
    classifier = Classifier(model, partial(runtimes.load, model))
    classifier.use_default_plan()
    yield classifier
    classifier.close()


@pytest.fixture(scope="module")
def photos() -> Artifact:
    return artifact.read(ROOT / "models" / "photos")


@pytest.fixture
def taught(tmp_path: Path, photos: Artifact) -> Artifact:
    """Return a model with the class of other images, a temperature and the feature distance."""
    rng = np.random.default_rng(0)
    tensors: dict[str, NDArray[np.floating]] = {
        "weight": 5 * rng.normal(size=(3, 1280)),
        "bias": rng.normal(size=3),
        "centers": normalize(rng.normal(size=(4, 1280)).astype(np.float32)),
        "origin": rng.uniform(size=1280) / 100,
    }
    save_file({k: v.astype(np.float32) for k, v in tensors.items()}, tmp_path / artifact.HEAD)
    change = {"temperature": TEMPERATURE, "ood_method": "feature_distance", "max_ood_score": 0.5}
    manifest = Manifest(
        name="taught",
        version="1",
        architecture=artifact.LINEAR_HEAD,
        backbone=artifact.Backbone(name="photos", sha256=photos.network_sha256),
        labels=LABELS,
        preprocess=photos.manifest.preprocess,
        calibration=Calibration.model_validate(CALIBRATION | change),
        files={},
    )
    return artifact.write_manifest(tmp_path, manifest)


@pytest.mark.parametrize("softmax", [False, True])
@pytest.mark.parametrize("temperature", [False, True])
def test_probabilities_on_the_photo_model_are_those_of_serving(
    taught: Artifact, photos: Artifact, backbone: Classifier, softmax: bool, temperature: bool
) -> None:
    rows = make_probe(photos.manifest.preprocess)
    served = asyncio.run(HeadClassifier(taught, backbone).classify_inputs(rows))
    content = export_model(taught, photos, softmax=softmax, temperature=temperature)
    with ZipFile(BytesIO(content)) as archive:
        session = ort.InferenceSession(archive.read(artifact.ONNX))
        assert tuple(archive.read("labels.txt").decode().splitlines()) == LABELS
    (exported,) = session.run(None, {session.get_inputs()[0].name: rows})
    # What the graph leaves out is added here.
    if not softmax:
        exported = soften(exported / (1 if temperature else TEMPERATURE))
    elif not temperature:
        exported = soften(np.log(exported) / TEMPERATURE)
    expected = np.stack([each.probabilities for each in served])
    np.testing.assert_allclose(exported, expected, atol=1e-5)


def soften(logits: Floats) -> Floats:
    positive = np.exp(logits - logits.max(axis=1, keepdims=True))
    probabilities: Floats = positive / positive.sum(axis=1, keepdims=True)
    return probabilities
