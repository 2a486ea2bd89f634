"""The exported graph of a head on the shipped photo model gives the probabilities of serving."""

from io import BytesIO
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import onnxruntime as ort
from safetensors.numpy import save_file

from backend.api.model_export import export_model
from backend.inference.models import artifact
from backend.inference.models.artifact import Manifest
from backend.inference.models.head import read_head
from backend.inference.runtimes.onnx_runtime import OnnxRuntime
from calibration.apply import normalize, probabilities
from tests.conftest import ROOT
from training.package.packaging import make_probe


def test_probabilities_on_the_photo_model_are_the_same_to_five_digits(tmp_path: Path) -> None:
    backbone = artifact.read(ROOT / "models" / "photos")
    rng = np.random.default_rng(0)
    tensors = {"weight": 5 * rng.normal(size=(3, 1280)), "bias": rng.normal(size=3)}
    save_file({k: v.astype(np.float32) for k, v in tensors.items()}, tmp_path / artifact.HEAD)
    manifest = Manifest(
        name="taught",
        version="1",
        architecture=artifact.LINEAR_HEAD,
        backbone=artifact.Backbone(name="photos", sha256=backbone.network_sha256),
        labels=("a", "b", "c"),
        preprocess=backbone.manifest.preprocess,
        files={},
    )
    taught = artifact.write_manifest(tmp_path, manifest)
    rows = make_probe(backbone.manifest.preprocess)
    assert backbone.onnx is not None
    served = OnnxRuntime(backbone.onnx).features(rows)
    assert served is not None
    logits = read_head(taught).logits(normalize(served[1]))
    content = export_model(taught, backbone, softmax=True, temperature=True)
    with ZipFile(BytesIO(content)) as archive:
        session = ort.InferenceSession(archive.read(artifact.ONNX))
    (exported,) = session.run(None, {session.get_inputs()[0].name: rows})
    np.testing.assert_allclose(exported, probabilities(logits, "logits"), atol=1e-5)
