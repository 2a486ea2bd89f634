"""The REST protocol of TensorFlow Serving."""

import base64
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient

from tests.fake_models import GRAY, GrayRuntime, gray, serve, wait_until_ready, write_model

MODEL = "/v1/models/gray"


def b64(digit: int) -> dict[str, str]:
    return {"b64": base64.b64encode(gray(digit)).decode()}


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    models = tmp_path_factory.mktemp("tensorflow") / "models"
    write_model(models, "gray", preprocess=GRAY, version="3")
    with serve(models, GrayRuntime()) as client:
        wait_until_ready(client)
        yield client


def best(rows: list[list[float]]) -> list[int]:
    assert {len(row) for row in rows} == {10}
    assert np.sum(rows, axis=1) == pytest.approx(1, abs=1e-5)
    return [int(np.argmax(row)) for row in rows]


@pytest.mark.parametrize("path", [MODEL, f"{MODEL}/versions/3"])
def test_status_names_the_version(client: TestClient, path: str) -> None:
    (status,) = client.get(path).json()["model_version_status"]
    assert (status["version"], status["state"]) == ("3", "AVAILABLE")
    assert status["status"] == {"error_code": "OK", "error_message": ""}


def test_metadata_describes_the_signature(client: TestClient) -> None:
    found = client.get(f"{MODEL}/metadata").json()
    assert found["model_spec"] == {"name": "gray", "signature_name": "", "version": "3"}
    signature = found["metadata"]["signature_def"]["signature_def"]["serving_default"]
    assert signature["inputs"]["image"]["dtype"] == "DT_STRING"
    sizes = [each["size"] for each in signature["outputs"]["probabilities"]["tensor_shape"]["dim"]]
    assert sizes == ["-1", "10"]


@pytest.mark.parametrize("path", [MODEL, f"{MODEL}/versions/3"])
@pytest.mark.parametrize(
    ("field", "value", "output"),
    [
        ("instances", [b64(4), b64(9)], "predictions"),
        ("instances", [{"image_bytes": b64(4)}, {"image_bytes": b64(9)}], "predictions"),
        ("instances", [[[[80 / 255] * 8] * 8], [[[180 / 255] * 8] * 8]], "predictions"),
        ("inputs", [b64(4), b64(9)], "outputs"),
        ("inputs", {"image": [b64(4), b64(9)]}, "outputs"),
        ("inputs", {"image": [[[[80 / 255] * 8] * 8], [[[180 / 255] * 8] * 8]]}, "outputs"),
    ],
)
def test_rows_and_columns_are_classified(
    client: TestClient, path: str, field: str, value: Any, output: str
) -> None:
    body = {"signature_name": "serving_default", field: value}
    response = client.post(f"{path}:predict", json=body)
    assert set(response.json()) == {output}
    assert best(response.json()[output]) == [4, 9]


def test_single_image_is_a_column_of_one(client: TestClient) -> None:
    response = client.post(f"{MODEL}:predict", json={"inputs": b64(4)})
    assert best(response.json()["outputs"]) == [4]


def test_classify_returns_labels(client: TestClient) -> None:
    body = {"examples": [{"image": b64(4)}, {"image": b64(9)}]}
    results = client.post(f"{MODEL}:classify", json=body).json()["results"]
    assert [result[0][0] for result in results] == ["4", "9"]
    assert [len(result) for result in results] == [10, 10]


@pytest.mark.parametrize(
    "body",
    [
        {"instances": [b64(4)], "inputs": [b64(4)]},
        {"signature_name": "train", "instances": [b64(4)]},
        {"signature_name": ["x"], "instances": [b64(4)]},
        {"inputs": {"image": [b64(4)], "size": [1]}},
    ],
)
def test_ambiguous_body_is_refused(client: TestClient, body: dict[str, Any]) -> None:
    response = client.post(f"{MODEL}:predict", json=body)
    assert response.status_code == 400
    assert set(response.json()) == {"error"}


def test_unknown_version_is_not_found(client: TestClient) -> None:
    response = client.post(f"{MODEL}/versions/4:predict", json={"instances": [b64(4)]})
    assert response.status_code == 404
