"""Request IDs and the access log."""

import asyncio
from typing import Any

import orjson
import pytest
from starlette.testclient import TestClient
from starlette.types import Message, Receive, Scope, Send

from backend.api.middleware.access_log import AccessLogMiddleware
from backend.telemetry.metrics import Metrics


@pytest.mark.parametrize("path", ["/", "/nowhere", "/classify", "/metrics", "/docs", "/models/x"])
def test_response_contains_request_id_once(client: TestClient, path: str) -> None:
    response = client.get(path, headers={"X-Request-ID": "mine"})
    assert response.headers.get_list("x-request-id") == ["mine"]


def test_response_to_unexpected_error_contains_request_id(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("backend.api.routes.models.model_info", lambda _: 1 / 0)
    response = client.get("/models", headers={"X-Request-ID": "mine"})
    assert response.headers.get_list("x-request-id") == ["mine"]
    assert response.json()["request_id"] == "mine"


@pytest.mark.parametrize("request_id", ["", "a b", "x" * 129, 'x"', "x\u00e9", "<x>", "a/b", "a,b"])
def test_malformed_request_id_is_replaced(client: TestClient, request_id: str) -> None:
    response = client.get("/health", headers=[(b"X-Request-ID", request_id.encode())])
    assert len(response.headers["x-request-id"]) == 26


def test_generated_request_ids_differ(client: TestClient) -> None:
    first, second = (client.get("/health").headers["x-request-id"] for _ in range(2))
    assert first != second


def test_request_cancelled_by_server_gets_503() -> None:
    async def cancelled(scope: Scope, receive: Receive, send: Send) -> None:
        raise asyncio.CancelledError

    scope = {"type": "http", "method": "POST", "path": "/classify", "headers": []}
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Any:
        return {"type": "http.request"}

    asyncio.run(AccessLogMiddleware(cancelled, Metrics())(scope, receive, send))
    start, body = sent
    assert start["status"] == 503
    problem = orjson.loads(body["body"])
    assert problem["code"] == "draining"
    assert (b"x-request-id", problem["request_id"].encode()) in start["headers"]


def test_long_path_is_truncated_in_log(
    client: TestClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "prism.access")
    client.get("/" + "x" * 20_000)
    (line,) = [record.getMessage() for record in caplog.records if record.name == "prism.access"]
    assert len(line) < 1200
