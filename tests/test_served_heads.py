"""Taught models in PRISM_MODELS_DIR are served together with their backbone."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from starlette.testclient import TestClient

from backend.app import create_app
from backend.inference import runtimes
from backend.inference.models.artifact import Artifact
from tests.fake_models import CALIBRATION, LOCALHOST, settings_for
from tests.images import encoded
from tests.inference.heads import write_backbone, write_head
from tests.inference.helpers import TIMEOUT

RED = encoded(Image.new("RGB", (64, 64), "red"))
UNKNOWN = {"name": "photos", "sha256": "0" * 64}


@contextmanager
def serve(models_dir: Path, **settings: Any) -> Iterator[TestClient]:
    def load(model: Artifact, *_: object, **options: Any) -> runtimes.Runtime:
        return runtimes.load(model, "onnx", **options)

    app = create_app(settings_for(models_dir, **settings), load)
    with TestClient(app, LOCALHOST, raise_server_exceptions=False) as client:
        yield client


def started(client: TestClient, name: str) -> dict[str, Any]:
    """Return a model once its start is finished."""
    end = time.monotonic() + TIMEOUT
    while True:
        model: dict[str, Any] = client.get(f"/models/{name}").json()
        if model["state"] != "loading":
            return model
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.fixture
def models_dir(tmp_path: Path) -> Path:
    folder = tmp_path / "models"
    backbone = write_backbone(folder)
    write_head(folder, backbone=backbone, calibration=CALIBRATION)
    return folder


def test_head_classifies_embeds_and_explains(models_dir: Path) -> None:
    with serve(models_dir, default_model="photos") as client:
        model = started(client, "colors")
        assert (model["state"], model["loaded"], model["architecture"]) == (
            "ready", False, "linear-head",
        )  # fmt: skip
        files = {"file": RED}
        found = client.post("/classify?model=colors&explain=true", files=files).json()
        assert (found["prediction"], found["in_distribution"]) == ("red", True)
        assert found["model"] == {"name": "colors", "version": "3"}
        assert found["explanation"]["label"] == "red"
        (line,) = client.post("/classify/batch?model=colors", files=files).iter_lines()
        assert json.loads(line)["prediction"] == "red"
        (line,) = client.post("/embed?model=colors", files=files).iter_lines()
        assert json.loads(line)["backbone"]["name"] == "photos"
        model = client.get("/models/colors").json()
        assert model["backbone"] == json.loads(line)["backbone"]
        assert model["loaded"]
        assert (model["runtime"], model["card"]) == ("onnx", "# Colors")
        assert client.post("/classify", files=files).json()["model"]["name"] == "photos"


@pytest.mark.parametrize("preload", [True, False])
def test_default_model_may_be_a_head(models_dir: Path, preload: bool) -> None:
    with serve(models_dir, default_model="colors", preload=preload) as client:
        assert started(client, "colors")["state"] == "ready"
        assert client.get("/ready").status_code == 200
        assert client.post("/classify", files={"file": RED}).json()["model"]["name"] == "colors"


def test_head_may_be_one_of_the_models_of_auto(models_dir: Path) -> None:
    with serve(models_dir, auto_models="colors,photos", default_model="auto") as client:
        blue = encoded(Image.new("RGB", (64, 64), "blue"))
        names = []
        for image in (RED, blue):
            response = client.post("/classify", files={"file": image})
            names.append(response.json()["model"]["name"])
        assert names == ["colors", "photos"]


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        (
            {"backbone_of": UNKNOWN | {"name": "missing"}},
            "bad: the backbone missing is not served; serve it, too, for example with missing in "
            "PRISM_MODELS",
        ),
        ({"backbone_of": UNKNOWN}, "bad: the model was taught with other weights"),
        ({"backbone_of": UNKNOWN | {"name": "colors"}}, "bad: the backbone colors is a taught"),
        ({"backbone_of": UNKNOWN | {"name": "bad"}}, "bad: the backbone bad is a taught"),
        ({"preprocess": {"kind": "image"}}, "bad: preprocess differs"),
    ],
)
def test_head_without_its_backbone_fails_alone(
    models_dir: Path, fields: dict[str, Any], reason: str
) -> None:
    write_head(models_dir, "bad", backbone=models_dir / "photos", **fields)
    with serve(models_dir, default_model="photos") as client:
        model = started(client, "bad")
        assert model["state"] == "failed"
        assert model["error"].startswith(reason)
        response = client.post("/classify?model=bad", files={"file": RED})
        assert (response.status_code, response.json()["code"]) == (503, "not_ready")
        assert started(client, "colors")["state"] == "ready"
        assert client.get("/ready").status_code == 200
