"""The shortest way answers as the way through the router does, whatever is sent."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from httpx2 import Response
from starlette.requests import Request
from starlette.testclient import TestClient

from backend.api import fast_path
from backend.api.routes.classify import classify
from backend.app import create_app
from backend.inference.models.artifact import Artifact
from backend.inference.runtimes import Runtime
from backend.inference.runtimes.fake_runtime import FakeRuntime
from tests.api.problems import problem
from tests.fake_models import FailingRuntime, serve, settings_for
from tests.images import encoded, seven

SEVEN = encoded(seven())
FORM = {"Content-Type": "multipart/form-data; boundary=x"}
WAYS = ["", "?any=query"]  # the second goes through the router

REQUESTS: dict[str, dict[str, Any]] = {
    "form": {"files": {"file": ("seven.png", SEVEN)}},
    "other field": {"files": {"image": ("seven.png", SEVEN)}},
    "nameless file": {"files": {"file": SEVEN}},
    "raw": {"content": SEVEN, "headers": {"Content-Type": "image/png"}},
    "broken picture": {"files": {"file": ("x.png", SEVEN[:100])}},
    "no picture": {"files": {"file": ("x.png", b"hello")}},
    "empty file": {"files": {"file": ("x.png", b"")}},
    "too large": {"files": {"file": ("x.png", bytes(200_000))}},
    "missing file": {"files": {"cat": ("x.png", SEVEN)}},
    "wrong type": {"content": SEVEN, "headers": {"Content-Type": "application/json"}},
    "no body": {},
    "malformed form": {"content": b"--x\r\nno", "headers": FORM},
    "no boundary": {"content": b"", "headers": {"Content-Type": "multipart/form-data"}},
    "bad length": {"content": SEVEN, "headers": {"Content-Length": "many"}},
    "bad time": {"content": SEVEN, "headers": {"X-Request-Timeout": "soon"}},
}


def shape(response: Response) -> tuple[int, dict[str, str], dict[str, Any]]:
    """What has to be the same: all but the ids and the time that it took."""
    body = response.json()
    for name in ("id", "request_id"):
        if name in body:
            assert body.pop(name)
    if "timings_ms" in body:
        body["timings_ms"] = sorted(body["timings_ms"])
    headers = {name: value for name, value in response.headers.items() if name != "x-request-id"}
    headers.pop("content-length")
    assert response.headers["x-request-id"]
    return response.status_code, headers, body


def both(client: TestClient, path: str = "/classify", **request: Any) -> list[Response]:
    return [client.post(path + query, **request) for query in WAYS]


@pytest.mark.parametrize("path", ["/classify", "/classify/"])
@pytest.mark.parametrize("name", REQUESTS)
def test_both_ways_answer_the_same(client: TestClient, name: str, path: str) -> None:
    short, long = (shape(answer) for answer in both(client, path, **REQUESTS[name]))
    assert short == long


def test_only_one_of_them_is_the_router(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else this file would compare the router with itself."""
    taken: list[str] = []

    async def counted(request: Request, *given: Any) -> Any:
        taken.append(request.url.query)
        return await classify(request, *given)

    monkeypatch.setattr(fast_path, "classify", counted)
    assert [answer.status_code for answer in both(client, **REQUESTS["form"])] == [200, 200]
    assert taken == [""]


def test_both_ways_keep_the_clients_own_id(client: TestClient) -> None:
    headers = {"X-Request-ID": "mine"}
    for answer in both(client, headers=headers):
        assert answer.headers["x-request-id"] == answer.json()["request_id"] == "mine"


@pytest.mark.parametrize("query", WAYS)
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH"])
def test_another_method_is_405(client: TestClient, method: str, query: str) -> None:
    answer = client.request(method, "/classify" + query)
    problem(answer, 405, "method_not_allowed")
    assert answer.headers["allow"] == "POST"


@pytest.mark.parametrize("path", ["/classify/x", "/Classify"])
def test_a_path_that_only_looks_alike_is_not_taken(client: TestClient, path: str) -> None:
    problem(client.post(path, files={"file": SEVEN}), 404, "not_found")


@pytest.fixture
def loading(models_dir: Path) -> Iterator[TestClient]:
    """A client of a service whose model never ends to load."""
    gate = threading.Event()

    def load(_: Artifact, *__: object, **___: object) -> Runtime:
        gate.wait()
        return FakeRuntime(10)

    with TestClient(create_app(settings_for(models_dir, timeout=0.05), load)) as client:
        yield client
        gate.set()


def test_a_model_that_is_not_ready_is_told_alike(loading: TestClient) -> None:
    short, long = both(loading, **REQUESTS["form"])
    problem(short, 503, "not_ready")
    assert short.headers["retry-after"] == "1"
    assert shape(short) == shape(long)


def test_an_unforeseen_failure_is_told_alike(
    models_dir: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with serve(models_dir, FailingRuntime("secret")) as client:
        short, long = both(client, **REQUESTS["form"])
    identity = problem(short, 500, "internal_error")["request_id"]
    assert "secret" not in short.text
    assert identity in caplog.text
    assert shape(short) == shape(long)
