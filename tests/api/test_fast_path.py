"""The fast path returns the same responses as the router."""

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
from tests.fake_models import LOCALHOST, FailingRuntime, serve, settings_for
from tests.images import encoded, seven

SEVEN = encoded(seven())
FORM = {"Content-Type": "multipart/form-data; boundary=x"}
QUERIES = ["", "?any=query"]  # a query disables the fast path

REQUESTS: dict[str, dict[str, Any]] = {
    "form": {"files": {"file": ("seven.png", SEVEN)}},
    "other field": {"files": {"image": ("seven.png", SEVEN)}},
    "nameless file": {"files": {"file": SEVEN}},
    "raw": {"content": SEVEN, "headers": {"Content-Type": "image/png"}},
    "broken image": {"files": {"file": ("x.png", SEVEN[:100])}},
    "no image": {"files": {"file": ("x.png", b"hello")}},
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


def comparable(response: Response) -> tuple[int, dict[str, str], dict[str, Any]]:
    """Return status, headers and body without IDs and timings."""
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


def post_both(client: TestClient, path: str = "/classify", **request: Any) -> list[Response]:
    return [client.post(path + query, **request) for query in QUERIES]


@pytest.mark.parametrize("path", ["/classify", "/classify/"])
@pytest.mark.parametrize("name", REQUESTS)
def test_fast_path_and_router_return_same_response(
    client: TestClient, name: str, path: str
) -> None:
    fast, routed = (comparable(response) for response in post_both(client, path, **REQUESTS[name]))
    assert fast == routed


def test_only_request_without_query_takes_fast_path(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    queries: list[str] = []

    async def recording_classify(request: Request, *args: Any) -> Any:
        queries.append(request.url.query)
        return await classify(request, *args)

    monkeypatch.setattr(fast_path, "classify", recording_classify)
    assert [response.status_code for response in post_both(client, **REQUESTS["form"])] == [
        200,
        200,
    ]
    assert queries == [""]


def test_both_paths_return_request_id_of_client(client: TestClient) -> None:
    headers = {"X-Request-ID": "mine"}
    for response in post_both(client, headers=headers):
        assert response.headers["x-request-id"] == response.json()["request_id"] == "mine"


@pytest.mark.parametrize("query", QUERIES)
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH"])
def test_other_method_gets_405(client: TestClient, method: str, query: str) -> None:
    response = client.request(method, "/classify" + query)
    problem(response, 405, "method_not_allowed")
    assert response.headers["allow"] == "POST"


@pytest.mark.parametrize("path", ["/classify/x", "/Classify"])
def test_similar_path_gets_404(client: TestClient, path: str) -> None:
    problem(client.post(path, files={"file": SEVEN}), 404, "not_found")


@pytest.fixture
def loading(models_dir: Path) -> Iterator[TestClient]:
    """A client of a service whose model does not finish loading."""
    gate = threading.Event()

    def load(_: Artifact, *__: object, **___: object) -> Runtime:
        gate.wait()
        return FakeRuntime(10)

    with TestClient(
        create_app(settings_for(models_dir, timeout=0.05), load), base_url=LOCALHOST
    ) as client:
        yield client
        gate.set()


def test_both_paths_return_503_while_model_loads(loading: TestClient) -> None:
    fast, routed = post_both(loading, **REQUESTS["form"])
    problem(fast, 503, "not_ready")
    assert fast.headers["retry-after"] == "1"
    assert comparable(fast) == comparable(routed)


def test_both_paths_return_500_for_unexpected_error(
    models_dir: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with serve(models_dir, FailingRuntime("secret")) as client:
        fast, routed = post_both(client, **REQUESTS["form"])
    request_id = problem(fast, 500, "internal_error")["request_id"]
    assert "secret" not in fast.text
    assert request_id in caplog.text
    assert comparable(fast) == comparable(routed)
