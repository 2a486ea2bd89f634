"""POST /embed."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from backend.app import create_app
from backend.inference import runtimes
from backend.inference.models import artifact
from backend.inference.runtimes.fake_runtime import FakeRuntime
from tests.api.problems import problem
from tests.fake_models import LOCALHOST, settings_for, write_model
from tests.images import encoded
from tests.inference.heads import write_backbone

RED, GREEN = (encoded(Image.new("RGB", (64, 64), color)) for color in ("red", (0, 255, 0)))


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    folder = tmp_path_factory.mktemp("embed") / "models"
    write_backbone(folder)
    write_model(folder)  # `fake`, without features

    def load(model: artifact.Artifact, *_: object, **options: Any) -> runtimes.Runtime:
        if model.manifest.name == "photos":
            return runtimes.load(model, "onnx", **options)
        return FakeRuntime(len(model.manifest.labels))

    app = create_app(settings_for(folder, default_model="fake"), load)
    with TestClient(app, LOCALHOST, raise_server_exceptions=False) as client:
        yield client


def files(*contents: bytes) -> list[tuple[str, tuple[str, bytes]]]:
    return [("file", (f"{number}.png", content)) for number, content in enumerate(contents)]


def test_lines_have_unit_features_in_order_and_invalid_image_fails_alone(
    client: TestClient,
) -> None:
    response = client.post("/embed?model=photos", files=files(RED, b"no image", GREEN))
    assert response.headers["content-type"] == "application/x-ndjson"
    red, broken, green = (json.loads(line) for line in response.iter_lines())
    np.testing.assert_allclose(red["embedding"], (1, 0, 0), atol=1e-6)
    np.testing.assert_allclose(green["embedding"], (0, 1, 0), atol=1e-6)
    assert red["filename"] == "0.png"
    assert red["model"] == {"name": "photos", "version": "1"}
    assert set(red) == {"filename", "embedding", "model", "backbone"}
    assert (broken["filename"], broken["code"]) == ("1.png", "unsupported_image")


def test_backbone_is_identified_by_the_checksum_of_its_network(
    client: TestClient, tmp_path: Path
) -> None:
    model = artifact.read(write_backbone(tmp_path))
    (line,) = client.post("/embed", files=files(RED)).iter_lines()
    assert json.loads(line)["backbone"] == {"name": "photos", "sha256": model.network_sha256}


def test_model_must_be_one_that_has_features(client: TestClient) -> None:
    problem(client.post("/embed?model=fake", files=files(RED)), 422, "no_features")
    problem(client.post("/embed?model=other", files=files(RED)), 404, "unknown_model")
    problem(client.post("/embed", files={"cat": RED}), 400, "missing_file")


def test_document_describes_the_lines(client: TestClient) -> None:
    document = client.get("/openapi.json").json()
    response = document["paths"]["/embed"]["post"]["responses"]["200"]
    first, _ = response["content"]["application/x-ndjson"]["schema"]["anyOf"]
    assert first == {"$ref": "#/components/schemas/Embedding"}
    assert {"Embedding", "Backbone", "ModelRef"} <= document["components"]["schemas"].keys()
