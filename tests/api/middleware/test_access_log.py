"""Every request has an id, in the answer and in the log, however it ends."""

import asyncio
from typing import Any

import orjson
import pytest
from starlette.testclient import TestClient
from starlette.types import Message, Receive, Scope, Send

from backend.api.middleware.access_log import RequestId
from backend.telemetry.metrics import Metrics


@pytest.mark.parametrize("path", ["/", "/nowhere", "/classify", "/metrics", "/docs", "/models/x"])
def test_every_answer_carries_one_id(client: TestClient, path: str) -> None:
    response = client.get(path, headers={"X-Request-ID": "mine"})
    assert response.headers.get_list("x-request-id") == ["mine"]


def test_the_answer_to_an_unforeseen_failure_carries_it_too(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("backend.api.routes.models.model_info", lambda _: 1 / 0)
    response = client.get("/models", headers={"X-Request-ID": "mine"})
    assert response.headers.get_list("x-request-id") == ["mine"]
    assert response.json()["request_id"] == "mine"


@pytest.mark.parametrize("odd", ["", "a b", "x" * 129, 'x"', "x\u00e9", "<x>", "a/b", "a,b"])
def test_an_id_that_could_do_harm_is_replaced(client: TestClient, odd: str) -> None:
    response = client.get("/health", headers=[(b"X-Request-ID", odd.encode())])
    assert len(response.headers["x-request-id"]) == 26


def test_two_clients_that_send_none_have_two_ids(client: TestClient) -> None:
    first, second = (client.get("/health").headers["x-request-id"] for _ in range(2))
    assert first != second


def asked(path: str = "/classify") -> Scope:
    return {"type": "http", "method": "POST", "path": path, "headers": []}


def test_a_request_that_the_server_gives_up_is_told_so() -> None:
    async def cancelled(scope: Scope, receive: Receive, send: Send) -> None:
        raise asyncio.CancelledError

    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Any:
        return {"type": "http.request"}

    asyncio.run(RequestId(cancelled, Metrics())(asked(), receive, send))
    start, body = sent
    assert start["status"] == 503
    problem = orjson.loads(body["body"])
    assert problem["code"] == "draining"
    assert (b"x-request-id", problem["request_id"].encode()) in start["headers"]


def test_a_long_path_does_not_fill_the_log(
    client: TestClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "prism.access")
    client.get("/" + "x" * 20_000)
    (line,) = [record.getMessage() for record in caplog.records if record.name == "prism.access"]
    assert len(line) < 1200
