"""The protocol of Vertex AI, as a custom container."""

import base64
from collections.abc import Iterator
from typing import Any

import pytest
from starlette.testclient import TestClient

from backend.inference.errors import ModelNotReadyError
from tests.fake_models import GRAY, GrayRuntime, gray, serve, wait_until_ready, write_model

HEALTH = "/v1/endpoints/1/deployedModels/2"
PREDICT = f"{HEALTH}:predict"


def b64(digit: int) -> str:
    return base64.b64encode(gray(digit)).decode()


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    models = tmp_path_factory.mktemp("vertex") / "models"
    write_model(models, "gray", preprocess=GRAY)
    write_model(models, "other", preprocess=GRAY, labels=tuple("abcdefghij"))
    routes = {"aip_health_route": HEALTH, "aip_predict_route": PREDICT}
    with serve(models, GrayRuntime(), default_model="gray", **routes) as client:
        wait_until_ready(client)
        yield client


def predict(client: TestClient, instances: list[Any], query: str = "", **parameters: Any) -> Any:
    body = {"instances": instances, "parameters": parameters}
    response = client.post(PREDICT + query, json=body)
    assert response.status_code == 200, response.text
    assert set(response.json()) == {"predictions"}
    return response.json()["predictions"]


@pytest.mark.parametrize(
    "instance",
    [
        {"b64": b64(4)},
        {"image_bytes": {"b64": b64(4)}},
        {"content": b64(4), "mimeType": "image/png"},
        b64(4),
        f"data:image/png;base64,{b64(4)}",
        [[[80 / 255] * 8] * 8],
        [80 / 255] * 64,
        {"input": [[[80 / 255] * 8] * 8]},
    ],
)
def test_each_form_of_an_instance_is_classified(client: TestClient, instance: Any) -> None:
    (prediction,) = predict(client, [instance])
    assert set(prediction) == {"ids", "displayNames", "confidences"}
    assert (prediction["ids"][0], prediction["displayNames"][0]) == ("4", "4")
    assert sum(prediction["confidences"]) == pytest.approx(1, abs=1e-6)


def test_predictions_are_in_the_order_of_the_instances(client: TestClient) -> None:
    digits = [number % 10 for number in range(40)]
    predictions = predict(client, [{"b64": b64(digit)} for digit in digits], maxPredictions=1)
    assert [each["displayNames"] for each in predictions] == [[str(digit)] for digit in digits]


def test_parameters_limit_the_labels(client: TestClient) -> None:
    (prediction,) = predict(client, [b64(4)], maxPredictions=3.0)  # as the SDK sends integers
    assert len(prediction["ids"]) == 3
    (prediction,) = predict(client, [b64(4)], confidenceThreshold=0.5)
    assert prediction["displayNames"] == ["4"]
    (prediction,) = predict(client, [b64(4)], confidenceThreshold=1)
    assert prediction == {"ids": [], "displayNames": [], "confidences": []}


def test_query_names_the_model(client: TestClient) -> None:
    assert predict(client, [b64(4)], "?model=other")[0]["displayNames"][0] == "e"


@pytest.mark.parametrize(
    ("parameters", "name"),
    [
        ([], "parameters"),
        ({"maxPredictions": 0}, "maxPredictions"),
        ({"maxPredictions": 1.5}, "maxPredictions"),
        ({"maxPredictions": "3"}, "maxPredictions"),
        ({"maxPredictions": 1e300}, "maxPredictions"),
        ({"confidenceThreshold": 2}, "confidenceThreshold"),
        ({"confidenceThreshold": True}, "confidenceThreshold"),
    ],
)
def test_invalid_parameter_is_named(client: TestClient, parameters: Any, name: str) -> None:
    response = client.post(PREDICT, json={"instances": [b64(4)], "parameters": parameters})
    error = response.json()["error"]
    assert (error["code"], error["status"]) == (400, "INVALID_ARGUMENT")
    assert name in error["message"]


@pytest.mark.parametrize("bad", ["aGVsbG8=", "?", {"b64": 1}])
def test_one_bad_instance_fails_the_request_and_is_named(client: TestClient, bad: Any) -> None:
    response = client.post(PREDICT, json={"instances": [b64(4), bad, b64(5)]})
    assert response.status_code in (400, 415)
    assert response.json()["error"]["message"].startswith("instances[1]: ")


def test_health_is_that_of_the_default_model(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert client.get(HEALTH).status_code == 200

    def fail(_: object) -> None:
        raise ModelNotReadyError("The model gray is still loading.")

    monkeypatch.setattr("backend.catalog.Catalog.require_ready", fail)
    response = client.get(HEALTH)
    assert (response.status_code, response.json()["error"]["status"]) == (503, "UNAVAILABLE")


def test_predict_route_may_be_that_of_the_tutorials(tmp_path_factory: Any) -> None:
    models = tmp_path_factory.mktemp("vertex") / "models"
    write_model(models, "gray", preprocess=GRAY)
    routes = {"aip_health_route": "/health", "aip_predict_route": "/predict"}
    with serve(models, GrayRuntime(), **routes) as client:
        wait_until_ready(client)
        assert client.get("/health").json() == {"status": "ready"}
        response = client.post("/predict", json={"instances": [b64(4)]})
        assert response.json()["predictions"][0]["displayNames"][0] == "4"
