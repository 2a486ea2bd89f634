"""Versions of a taught model through the protocols of other services."""

import base64
from collections.abc import Iterator

import numpy as np
import pytest
from starlette.testclient import TestClient

from tests.api.routes.test_registry import RED, serve
from tests.fake_models import write_model
from tests.inference.heads import write_backbone
from tests.registry.heads import form, manifest

TEXT = base64.b64encode(RED).decode()


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    folder = tmp_path_factory.mktemp("taught") / "models"
    write_backbone(folder)
    write_model(folder)
    with serve(folder, aip_predict_route="/aip") as client:
        for labels in (["red", "green"], ["rouge", "vert"]):
            parts = form(manifest(folder, labels=labels))
            assert client.put("/models/colors", files=parts).status_code == 201
        yield client


VERSIONS = pytest.mark.parametrize(
    ("version", "label"), [("1", "red"), ("2", "rouge"), ("latest", "rouge")]
)


@VERSIONS
def test_version_of_tensorflow_serving_is_that_of_the_registry(
    client: TestClient, version: str, label: str
) -> None:
    path = f"/v1/models/colors/versions/{version}"
    results = client.post(f"{path}:classify", json={"examples": [{"b64": TEXT}]}).json()["results"]
    assert results[0][0][0] == label
    rows = client.post(f"{path}:predict", json={"instances": [{"b64": TEXT}]}).json()["predictions"]
    assert int(np.argmax(rows[0])) == 0
    (status,) = client.get(path).json()["model_version_status"]
    assert status["state"] == "AVAILABLE"


@VERSIONS
def test_version_of_torchserve_is_that_of_the_registry(
    client: TestClient, version: str, label: str
) -> None:
    found = client.post(f"/predictions/colors/{version}", content=RED).json()
    assert next(iter(found)) == label


@VERSIONS
def test_name_contains_the_version_elsewhere(client: TestClient, version: str, label: str) -> None:
    found = client.post(f"/huggingface/colors@{version}", content=RED).json()
    assert found[0]["label"] == label
    body = {"instances": [TEXT]}
    predictions = client.post(f"/aip?model=colors@{version}", json=body).json()["predictions"]
    assert predictions[0]["displayNames"][0] == label


@pytest.mark.parametrize(
    "path",
    ["/v1/models/colors/versions/3:predict", "/predictions/colors/3", "/huggingface/colors@3"],
)
def test_unknown_version_is_not_found(client: TestClient, path: str) -> None:
    response = client.post(path, content=RED)
    assert response.status_code == 404
    assert "colors@2" in response.text
