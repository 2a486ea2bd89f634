"""Requests and pixels beyond the quota of an API key get 429, and responses say what is left."""

import base64
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from httpx2 import Response
from starlette.testclient import TestClient

from backend.api import quotas
from tests.api.problems import problem
from tests.fake_models import serve, write_model
from tests.images import encoded, noise, seven

SEVEN = encoded(seven())
LARGE = encoded(noise(1000, 600))  # 0.6 megapixels
ROWS = {"input": [[0] * 784] * 256}  # 0.2 megapixels


def entry(name: str, key: str, options: str = "") -> str:
    return f"{name}={hashlib.sha256(key.encode()).hexdigest()}{options}"


KEYS = ",".join(
    [
        entry("few", "old", ";requests=2"),
        entry("few", "new", ";requests=2"),
        entry("small", "small", ";megapixels=1"),
        entry("both", "both", ";requests=10;megapixels=5;scopes=history"),
        entry("free", "free"),
    ]
)


@pytest.fixture
def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    """A service at a standing clock, which tests move."""
    monkeypatch.setattr(quotas, "_now", lambda: clock[0])
    write_model(tmp_path)
    with serve(tmp_path, api_keys=KEYS) as client:
        yield client


clock = [1000.0]


def send(client: TestClient, key: str, path: str = "/classify", **body: Any) -> Response:
    return client.post(path, headers={"X-API-Key": key}, **body or {"files": {"file": SEVEN}})


def test_requests_beyond_the_quota_get_429_until_retry_after(client: TestClient) -> None:
    assert send(client, "old").headers["ratelimit"] == '"requests";r=1;t=30'
    assert send(client, "old").headers["ratelimit"] == '"requests";r=0;t=60'
    for path in ("/classify", "/classify?top_k=1", "/classify/batch", "/unknown"):
        refused = send(client, "old", path)
        body = problem(refused, 429, "quota_exceeded")
        assert "2 requests per minute" in body["detail"]
        assert refused.headers["retry-after"] == "30"
        assert refused.headers["ratelimit"] == '"requests";r=0;t=60'
        assert refused.headers["ratelimit-policy"] == '"requests";q=2;w=60'
    clock[0] += 30
    assert send(client, "old").status_code == 200
    assert send(client, "old").status_code == 429


def test_keys_of_a_client_share_the_quota_and_others_are_not_affected(client: TestClient) -> None:
    assert send(client, "old").status_code == send(client, "new").status_code == 200
    assert send(client, "old").status_code == send(client, "new").status_code == 429
    for _ in range(5):
        response = send(client, "free")
        assert response.status_code == 200
        assert "ratelimit" not in response.headers


def test_probes_and_refused_keys_cost_nothing(client: TestClient) -> None:
    for _ in range(5):
        assert client.get("/health", headers={"X-API-Key": "old"}).status_code == 200
        assert send(client, "wrong").status_code == 403
    assert send(client, "old").headers["ratelimit"] == '"requests";r=1;t=30'


def test_refusals_by_scope_count_as_requests(client: TestClient) -> None:
    refused = send(client, "both")
    problem(refused, 403, "scope_missing")
    assert refused.headers["ratelimit"] == '"requests";r=9;t=6, "megapixels";r=5;t=0'


@pytest.mark.parametrize("path", ["/classify", "/classify?top_k=1", "/predict"])
def test_images_beyond_the_quota_of_pixels_get_429(client: TestClient, path: str) -> None:
    accepted = send(client, "small", path, files={"file": LARGE})
    assert accepted.headers["ratelimit"] == '"megapixels";r=0;t=36'
    assert accepted.headers["ratelimit-policy"] == '"megapixels";q=1;w=60;qu="megapixels"'
    refused = send(client, "small", path, files={"file": LARGE})
    problem(refused, 429, "quota_exceeded")
    assert refused.headers["retry-after"] == "12"
    assert send(client, "small", path).status_code == 200  # a small image fits
    clock[0] += 13
    assert send(client, "small", path, files={"file": LARGE}).status_code == 200


def test_rows_of_pixels_are_counted(client: TestClient) -> None:
    statuses = [send(client, "small", "/predict", json=ROWS).status_code for _ in range(6)]
    assert statuses == [200] * 4 + [429] * 2


def test_pixels_of_a_drawing_are_counted(client: TestClient) -> None:
    drawing = {"drawing_data": "data:image/png;base64," + base64.b64encode(SEVEN).decode()}
    assert send(client, "small", "/predict_nn/", data=drawing).status_code == 200
    assert client.get("/models", headers={"X-API-Key": "small"}).headers["ratelimit"] != (
        '"megapixels";r=1;t=0'
    )


def test_only_the_images_of_a_batch_beyond_the_quota_fail(client: TestClient) -> None:
    files = [("file", LARGE), ("file", LARGE), ("file", SEVEN)]
    response = send(client, "small", "/classify/batch", files=files)
    assert response.status_code == 200
    first, second, third = (json.loads(line) for line in response.text.splitlines())
    assert (second["status"], second["code"]) == (429, "quota_exceeded")
    assert "prediction" in first
    assert "prediction" in third


@pytest.mark.parametrize("path", ["/classify", "/classify/batch", "/predict", "/predict_nn/"])
def test_without_pixels_left_the_body_is_not_read(client: TestClient, path: str) -> None:
    assert send(client, "small", files={"file": encoded(noise(1000, 1000))}).status_code == 200
    refused = send(client, "small", path, content=b"no image")
    problem(refused, 429, "quota_exceeded")
