"""What all protocols of other services have in common."""

import base64
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from httpx2 import Response
from starlette.testclient import TestClient

from backend.api.compat.calls import serialize
from backend.api.compat.inference_outputs import Answer
from backend.inference.types import ClassificationResult, Timings
from backend.keys import hash_key
from tests.api.routes.test_history import wait_until_open
from tests.fake_models import GRAY, GrayRuntime, gray, serve, wait_until_ready, write_model

HEALTH, PREDICT = "/aip/health", "/aip/predict"
GRAY_7 = base64.b64encode(gray(7)).decode()

# One route of each protocol that takes JSON, and a valid body.
JSON_ROUTES: dict[str, tuple[str, dict[str, Any]]] = {
    "vertex": (PREDICT, {"instances": [{"b64": GRAY_7}]}),
    "tensorflow-serving": ("/v1/models/gray:predict", {"instances": [{"b64": GRAY_7}]}),
    "tensorflow-serving columns": ("/v1/models/gray:predict", {"inputs": {"b64": GRAY_7}}),
    "tensorflow-serving classify": ("/v1/models/gray:classify", {"examples": [{"b64": GRAY_7}]}),
    "torchserve": ("/predictions/gray", {"data": GRAY_7}),
    "huggingface": ("/huggingface/gray", {"inputs": GRAY_7}),
}
MODEL_PATHS = [path for path, _ in JSON_ROUTES.values() if "gray" in path]


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    models = tmp_path_factory.mktemp("protocols") / "models"
    write_model(models, "gray", preprocess=GRAY, version="3")
    routes = {"aip_health_route": HEALTH, "aip_predict_route": PREDICT}
    with serve(models, GrayRuntime(), max_bytes=100_000, **routes) as client:
        yield client


def error_of(response: Response) -> tuple[int, str]:
    """Return the status and message of an error, which must have the protocol's shape."""
    assert response.headers["content-type"] == "application/json"
    assert "x-request-id" in response.headers
    body = response.json()
    path = response.request.url.path
    if path.startswith(("/predictions", "/ping")):
        assert set(body) == {"code", "type", "message"}
        assert body["code"] == response.status_code
        return body["code"], body["message"]
    assert set(body) == {"error"}
    if path.startswith("/aip"):
        assert set(body["error"]) == {"code", "message", "status"}
        assert body["error"]["code"] == response.status_code
        return response.status_code, body["error"]["message"]
    return response.status_code, body["error"]


def hostile_bodies(valid: dict[str, Any]) -> dict[str, bytes]:
    field = next(iter(valid))

    def with_value(text: str) -> bytes:
        return f'{{"{field}": {text}}}'.encode()

    deep = "[" * 2_000 + "]" * 2_000
    objects = '{"b64":' * 500 + "1" + "}" * 500
    return {
        "no JSON": b"{",
        "not UTF-8": b'{"\xff": 1}',
        "a list": b"[]",
        "a number": b"[1]",
        "no field": b"{}",
        "null": with_value("null"),
        "true": with_value("true"),
        "number": with_value("1e999"),
        "number that is not finite": with_value("NaN"),
        "empty list": with_value("[]"),
        "empty object": with_value("{}"),
        "list of nothing": with_value("[{}]"),
        "nested lists": with_value(deep),
        "nested objects": with_value(f"[{objects}]"),
        "no base64": with_value('[{"b64": "%%%"}]'),
        "no base64 string": with_value('"%%%"'),
        "short base64": with_value('[{"b64": "abc"}]'),
        "base64 of a list": with_value('[{"b64": [1, 2]}]'),
        "empty base64": with_value('[{"b64": ""}]'),
        "no image": with_value('[{"b64": "aGVsbG8="}]'),
        "address": with_value('[{"url": "http://localhost/x.png"}]'),
        "two fields": with_value('[{"b64": "aGVsbG8=", "x": 1}]'),
        "wrong shape": with_value("[[1, 2, 3]]"),
        "ragged": with_value("[[[1, 2], [3]]]"),
        "texts for numbers": with_value(json.dumps([[[["1"] * 8] * 8]])),
        "booleans for numbers": with_value(json.dumps([[[[True] * 8] * 8]])),
        "huge numbers": with_value(json.dumps([[[[10**400] * 8] * 8]])),
        "too large for float32": with_value(json.dumps([[[[1e300] * 8] * 8]])),
        "many images": with_value(json.dumps([{"b64": GRAY_7}] * 100_000)),
        "many texts": with_value(json.dumps(["aGVsbG8="] * 100_000)),
        "many inputs": with_value("[" + ",".join(["[1]"] * 99_000) + "]"),
        "images and inputs": with_value(json.dumps([GRAY_7, [[[0] * 8] * 8]])),
    }


HOSTILE = [
    pytest.param(path, body, id=f"{protocol}: {name}")
    for protocol, (path, valid) in JSON_ROUTES.items()
    for name, body in hostile_bodies(valid).items()
]


@pytest.mark.parametrize(("path", "body"), HOSTILE)
def test_hostile_body_is_an_error_of_the_client(client: TestClient, path: str, body: bytes) -> None:
    status, message = error_of(client.post(path, content=body))
    assert status in (400, 413, 415)
    assert message.endswith(".")
    assert len(message) < 400


@pytest.mark.parametrize(("path", "body"), JSON_ROUTES.values(), ids=JSON_ROUTES)
def test_valid_body_is_classified(client: TestClient, path: str, body: dict[str, Any]) -> None:
    assert client.post(path, json=body).status_code == 200


@pytest.mark.parametrize("path", ["/v2/health/live", "/v2/health/ready", "/ping", HEALTH])
def test_probe_may_send_head(client: TestClient, path: str) -> None:
    wait_until_ready(client)
    assert client.head(path).status_code == 200


@pytest.mark.anyio
async def test_response_with_many_labels_is_made_in_a_thread() -> None:
    labels = tuple(map(str, range(1_000)))
    scores = np.zeros(len(labels), np.float32)
    result = ClassificationResult(labels, scores, np.arange(len(labels)), Timings(0, 0, 0))
    manifest: Any = None
    answers = [Answer(result, manifest)] * 20
    assert await serialize(answers[:1], threading.get_ident) == threading.get_ident()
    assert await serialize(answers, threading.get_ident) != threading.get_ident()


@pytest.mark.parametrize("path", MODEL_PATHS)
def test_unknown_model_is_not_found(client: TestClient, path: str) -> None:
    status, message = error_of(client.post(path.replace("gray", "cats"), content=b"x"))
    assert status == 404
    assert "gray" in message


@pytest.mark.parametrize(
    ("path", "method", "status"),
    [
        ("/v1/models/gray:explode", "POST", 405),
        ("/v1/models/gray:predict", "GET", 404),
        ("/predictions", "POST", 404),
        ("/predictions/gray", "GET", 405),
        ("/huggingface/gray/x", "POST", 404),
        (PREDICT, "GET", 405),
    ],
)
def test_unknown_route_has_the_shape_of_the_protocol(
    client: TestClient, path: str, method: str, status: int
) -> None:
    assert error_of(client.request(method, path))[0] == status


@pytest.mark.parametrize(("path", "body"), JSON_ROUTES.values(), ids=JSON_ROUTES)
def test_too_large_body_is_refused(client: TestClient, path: str, body: dict[str, Any]) -> None:
    content = json.dumps(body).encode() + b" " * 1_300_000
    assert error_of(client.post(path, content=content))[0] == 413


@pytest.mark.parametrize(("path", "body"), JSON_ROUTES.values(), ids=JSON_ROUTES)
def test_deadline_header_is_checked(client: TestClient, path: str, body: dict[str, Any]) -> None:
    headers = {"X-Request-Timeout": "soon"}
    assert error_of(client.post(path, json=body, headers=headers))[0] == 422


def test_keys_and_scopes_apply(tmp_path: Path) -> None:
    write_model(tmp_path, "gray", preprocess=GRAY)
    secret, reader = "s" * 40, "r" * 40
    keys = (
        f"{hash_key(secret.encode()).hex()},reader={hash_key(reader.encode()).hex()};scopes=history"
    )
    with serve(tmp_path, GrayRuntime(), api_keys=keys, aip_predict_route=PREDICT) as client:
        for path, body in JSON_ROUTES.values():
            assert error_of(client.post(path, json=body))[0] == 401
            for key, status in ((reader, 403), (secret, 200)):
                headers = {"Authorization": f"Bearer {key}"}
                response = client.post(path, json=body, headers=headers)
                assert response.status_code == status
        wait_until_ready(client)
        assert client.get("/ping").json() == {"status": "Healthy"}


def test_classifications_are_stored_unless_the_client_says_no(tmp_path: Path) -> None:
    write_model(tmp_path, "gray", preprocess=GRAY)
    with serve(
        tmp_path, GrayRuntime(), history=True, history_open=True, aip_predict_route=PREDICT
    ) as client:
        wait_until_open(client)
        for path, body in JSON_ROUTES.values():
            client.post(path, json=body)
            client.post(path, json=body, params={"store": "false"})
        found = client.get("/history").json()["answers"]
        assert len(found) == len(JSON_ROUTES)
        assert {each["prediction"] for each in found} == {"7"}


def test_no_protocol_is_served_without_the_setting(tmp_path: Path) -> None:
    write_model(tmp_path, "gray", preprocess=GRAY)
    with serve(tmp_path, GrayRuntime(), protocols="", aip_predict_route=PREDICT) as client:
        for path, body in JSON_ROUTES.values():
            response = client.post(path, json=body)
            assert response.status_code == 404
            assert response.headers["content-type"] == "application/problem+json"


def test_unexpected_error_has_the_shape_of_the_protocol(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("secret")

    write_model(tmp_path, "gray", preprocess=GRAY)
    monkeypatch.setattr("backend.api.compat.calls.Call.read", fail)
    with serve(tmp_path, GrayRuntime()) as client:
        status, message = error_of(client.post("/predictions/gray", content=b"x"))
        assert status == 500
        assert "secret" not in message
