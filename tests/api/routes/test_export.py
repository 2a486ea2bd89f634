"""GET /models/{name}/export."""

import re
import sys
from collections.abc import Iterator
from contextlib import chdir
from io import BytesIO
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from backend.app import create_app
from backend.inference import runtimes
from backend.inference.models import artifact
from backend.inference.models.artifact import Artifact
from backend.inference.runtimes.fake_runtime import FakeRuntime
from calibration.apply import Calibration
from tests.api.problems import problem
from tests.fake_models import LOCALHOST, settings_for, write_model
from tests.images import encoded
from tests.inference.heads import CENTERS, TENSORS, write_backbone, write_head

LABELS = ("red", "green, of all kinds")
IMAGE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (90, 120, 3), dtype=np.uint8))
SETS = [
    {"coverage": coverage, "min_confidence": 0, "min_probability": 0.1}
    for coverage in (0.9, 0.95, 0.99)
]
CALIBRATION = Calibration.model_validate(
    {
        "temperature": 2,
        "sets": SETS,
        "ood_method": "feature_distance",
        "max_ood_score": 0.5,
        "pictures": 20,
        "source": "cross-validation",
        "mean_set_size": {"0.9": 1, "0.95": 1, "0.99": 1},
    }
)


def load(model: Artifact, *_: object, **options: Any) -> runtimes.Runtime:
    if model.manifest.name == "photos":
        return runtimes.load(model, "onnx", **options)
    return FakeRuntime(len(model.manifest.labels))


@pytest.fixture
def models_dir(tmp_path: Path) -> Path:
    folder = tmp_path / "models"
    backbone = write_backbone(folder)
    write_model(folder)
    write_head(
        folder,
        backbone=backbone,
        tensors=TENSORS | CENTERS,
        labels=LABELS,
        calibration=CALIBRATION,
    )
    return folder


def serve(models_dir: Path, **settings: Any) -> TestClient:
    defaults = {"default_model": "fake", "models_open": True, "timeout": 60}
    app = create_app(settings_for(models_dir, **defaults | settings), load)
    return TestClient(app, LOCALHOST, raise_server_exceptions=False)


@pytest.fixture
def client(models_dir: Path) -> Iterator[TestClient]:
    with serve(models_dir) as client:
        yield client


def unpack(client: TestClient, folder: Path, query: str = "") -> Artifact:
    """Export the model into `folder` and read this as a model folder."""
    response = client.get(f"/models/colors/export{query}")
    assert response.status_code == 200, response.text
    assert response.headers["Content-Type"] == "application/zip"
    assert response.headers["Content-Disposition"] == 'attachment; filename="colors-3.zip"'
    with ZipFile(BytesIO(response.content)) as archive:
        assert sorted(archive.namelist()) == [
            "README.md",
            "labels.txt",
            "manifest.json",
            "model.onnx",
        ]
        archive.extractall(folder)
    return artifact.read(folder)


def run_example(folder: Path, capsys: pytest.CaptureFixture[str]) -> dict[str, float]:
    """Run the example in the exported card; return what it prints, by label."""
    IMAGE.save(folder / "image.jpg", "PNG")
    (code,) = re.findall(r"```python\n(.*?)```", (folder / "README.md").read_text(), re.DOTALL)
    with chdir(folder):
        exec(code, {})
    lines = [line.split(" ", 1) for line in capsys.readouterr().out.splitlines()]
    return {label: float(value) for value, label in lines}


def test_example_of_the_card_gives_the_probabilities_of_the_service(
    client: TestClient, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "unpacked"
    unpack(client, folder, "?softmax=true&temperature=true")
    file = {"file": encoded(IMAGE)}
    served = client.post("/classify?model=colors", files=file).json()["probabilities"]
    printed = run_example(folder, capsys)
    assert list(printed) == list(LABELS)
    assert list(printed.values()) == pytest.approx(served, abs=1e-4)


@pytest.mark.parametrize(
    "query", ["", "?softmax=true", "?temperature=true", "?softmax=true&temperature=true"]
)
def test_unpacked_zip_is_a_model_with_the_same_answers(
    client: TestClient, tmp_path: Path, query: str
) -> None:
    exported = unpack(client, tmp_path / "exported" / "colors", query)
    assert exported.manifest.labels == LABELS
    assert exported.manifest.output == ("probabilities" if "softmax" in query else "logits")
    file = {"file": encoded(IMAGE)}
    expected = client.post("/classify?model=colors", files=file).json()
    app = create_app(settings_for(exported.folder.parent), runtimes.load)
    with TestClient(app, LOCALHOST) as alone:
        answer = alone.post("/classify", files=file).json()
    assert answer["probabilities"] == pytest.approx(expected["probabilities"], abs=1e-5)
    assert answer["prediction_set"] == expected["prediction_set"]
    assert answer["in_distribution"] is None


def test_card_of_the_model_is_kept(client: TestClient, tmp_path: Path) -> None:
    card = (unpack(client, tmp_path / "colors").folder / artifact.CARD).read_text()
    assert card.startswith("# Colors\n")
    assert "float32 and shape (N, 3, 64, 64)" in card
    assert "one logit for each line of `labels.txt`" in card


def test_model_that_was_not_taught_is_refused(client: TestClient) -> None:
    problem(client.get("/models/photos/export"), 422, "not_taught")
    problem(client.get("/models/unknown/export"), 404, "unknown_model")
    problem(client.get("/models/colors/export?softmax=maybe"), 422, "invalid_parameter")


def test_filename_is_valid_for_any_version_of_the_operator(models_dir: Path) -> None:
    folder = models_dir / "colors"
    manifest = artifact.read_manifest(folder)
    artifact.write_manifest(folder, manifest.model_copy(update={"version": '3"é版\n'}))
    with serve(models_dir) as client:
        response = client.get("/models/colors/export?format=folder")
    assert response.status_code == 200
    assert response.headers["Content-Disposition"] == 'attachment; filename="colors-3----.zip"'


def test_export_requires_permission(models_dir: Path) -> None:
    with serve(models_dir, models_open=False) as client:
        problem(client.get("/models/colors/export"), 401, "api_key_missing")


def test_missing_package_is_reported(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    response = client.get("/models/colors/export")
    problem(response, 501, "not_installed")
    assert "requirements/serving.txt" in response.json()["detail"]


def test_folder_has_the_files_of_the_head(client: TestClient, models_dir: Path) -> None:
    response = client.get("/models/colors/export?format=folder")
    with ZipFile(BytesIO(response.content)) as archive:
        head = archive.read("head.safetensors")
        assert archive.read("manifest.json") == (models_dir / "colors/manifest.json").read_bytes()
    assert head == (models_dir / "colors" / "head.safetensors").read_bytes()
