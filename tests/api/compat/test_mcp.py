"""The MCP endpoint: what the service adds to the SDK. The SDK's client is tested in tests/e2e."""

import json
from base64 import b64encode
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from httpx2 import Response
from pydantic import ValidationError
from starlette.testclient import TestClient

from backend.inference.runtimes.fake_runtime import FakeRuntime
from backend.keys import hash_key
from backend.settings import Settings
from tests.api.asgi import DISCONNECT, AsgiRequest, AsgiService, body, run_service
from tests.fake_models import GRAY, GrayRuntime, gray, serve, write_model
from tests.images import encoded, seven
from tests.inference.helpers import wait_until

IMAGE = b64encode(encoded(seven())).decode()
HEADERS = {
    "Content-Type": "application/json",
    "Accept": "application/json",
    "Mcp-Protocol-Version": "2025-06-18",
}
MAX_BYTES = 100_000


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """A client of a service with a model that always predicts 7."""
    models_dir = tmp_path_factory.mktemp("mcp") / "models"
    write_model(models_dir)
    runtime = FakeRuntime(10, winner=lambda _: 7)
    with serve(models_dir, runtime, protocols="mcp", max_bytes=MAX_BYTES) as client:
        yield client


def message(method: str, **params: Any) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode()


def call(image: object, **arguments: Any) -> bytes:
    arguments["image"] = image
    return message("tools/call", name="classify_image", arguments=arguments)


def post(client: TestClient, content: bytes, **headers: str) -> Response:
    return client.post("/mcp", content=content, headers=HEADERS | headers)


def result(response: Response) -> dict[str, Any]:
    assert response.status_code == 200
    value: dict[str, Any] = response.json()["result"]
    return value


def refusal(response: Response, status: int, code: str) -> str:
    """Check that `response` is an error of JSON-RPC for the problem `code`; return its message."""
    error = response.json()
    assert (response.status_code, error["error"]["data"]["code"]) == (status, code)
    assert (error["jsonrpc"], error["id"]) == ("2.0", None)
    assert error["error"]["data"]["request_id"] == response.headers["x-request-id"]
    text: str = error["error"]["message"]
    return text


def test_endpoint_is_off_by_default(shared_client: TestClient) -> None:
    assert shared_client.post("/mcp", content=b"{}").status_code == 404


def test_service_without_the_sdk_does_not_start(monkeypatch: pytest.MonkeyPatch) -> None:
    def find(name: str) -> Any:
        return None if name == "mcp" else find_spec(name)

    monkeypatch.setattr("backend.settings.find_spec", find)
    with pytest.raises(ValidationError, match=r"pip install -r requirements/mcp\.txt"):
        Settings(protocols="mcp")
    assert Settings().enabled_protocols


@pytest.mark.parametrize(
    "image",
    [
        IMAGE,
        f"data:image/png;base64,{IMAGE}",
        "\n".join(IMAGE[start : start + 76] for start in range(0, len(IMAGE), 76)),
    ],
)
def test_image_is_classified(client: TestClient, image: str) -> None:
    found = result(post(client, call(image, top_k=2)))
    assert found["isError"] is False
    assert found["structuredContent"]["prediction"] == "7"
    assert len(found["structuredContent"]["top"]) == 2
    assert json.loads(found["content"][0]["text"]) == found["structuredContent"]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"image": None}, "image: Input should be a valid string."),
        ({"image": ""}, "image: String should have at least 1 character."),
        ({"image": [IMAGE]}, "image: Input should be a valid string."),
        ({"image": "AAAAA"}, "in base64"),
        ({"image": "\u0661AAA"}, "in base64"),
        ({"image": IMAGE, "top_k": "3"}, "top_k: Input should be a valid integer."),
        ({"image": IMAGE, "top_k": 0}, "top_k: "),
        ({"image": IMAGE, "model": "x" * 129}, "model: "),
        ({"image": b64encode(b"x" * (MAX_BYTES + 1)).decode()}, "larger than 100,000 bytes"),
    ],
)
def test_invalid_arguments_are_a_tool_error(
    client: TestClient, arguments: dict[str, Any], text: str
) -> None:
    params = {"name": "classify_image", "arguments": arguments}
    found = result(post(client, message("tools/call", **params)))
    assert found["isError"] is True
    assert text in found["content"][0]["text"]


def test_unknown_tool_is_an_error_that_lists_the_tools(client: TestClient) -> None:
    error = post(client, message("tools/call", name="delete_model")).json()["error"]
    assert "classify_image, list_models" in error["message"]


@pytest.mark.parametrize(
    ("content", "status", "code"),
    [
        (b"{", 400, "malformed_request"),
        (b"[" * 2_000, 413, "body_too_large"),
        (b'{"a":[' + b"1," * 2_000 + b"1]}", 413, "body_too_large"),
        (call(IMAGE, model="x" * 2_000_000), 413, "body_too_large"),
        (call("A" * 2_000_000), 413, "body_too_large"),
    ],
    ids=["not JSON", "nested", "many values", "large beside the image", "large image"],
)
def test_hostile_body_is_refused_before_the_sdk_parses_it(
    client: TestClient, content: bytes, status: int, code: str
) -> None:
    refusal(post(client, content), status, code)


@pytest.mark.parametrize("content", [b"[]", b"null", b"1", b'{"jsonrpc":"2.0"}', b'"text"'])
def test_json_that_is_no_message_is_a_client_error(client: TestClient, content: bytes) -> None:
    assert "JSON-RPC 2.0" in refusal(post(client, content), 400, "malformed_request")


def test_other_media_types_are_refused(client: TestClient) -> None:
    response = post(client, call(IMAGE), **{"Content-Type": "text/plain"})
    assert "application/json" in refusal(response, 415, "unsupported_media_type")


@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_there_are_no_sessions(client: TestClient, method: str) -> None:
    response = client.request(method, "/mcp", headers={"Accept": "text/event-stream"})
    refusal(response, 405, "method_not_allowed")
    assert response.headers["allow"] == "POST"
    assert "mcp-session-id" not in post(client, call(IMAGE)).headers


def test_page_of_another_website_is_refused(client: TestClient) -> None:
    refusal(post(client, call(IMAGE), Origin="https://evil.example"), 403, "cross_site")
    refusal(post(client, call(IMAGE), Host="evil.example"), 421, "host_not_allowed")


def test_key_needs_the_scope_classify_and_pays_from_its_quota(tmp_path: Path) -> None:
    write_model(tmp_path)
    keys = ",".join(
        f"{name}={hash_key(name.encode()).hex()};{options}"
        for name, options in (("reader", "scopes=history"), ("assistant", "requests=1"))
    )
    with serve(tmp_path, protocols="mcp", api_keys=keys) as client:
        refusal(post(client, call(IMAGE)), 401, "api_key_missing")
        reader, assistant = ({"X-API-Key": name} for name in ("reader", "assistant"))
        refusal(post(client, call(IMAGE), **reader), 403, "scope_missing")
        assert result(post(client, call(IMAGE), **assistant))["isError"] is False
        response = post(client, call(IMAGE), **assistant)
        refusal(response, 429, "quota_exceeded")
        assert int(response.headers["retry-after"]) > 0


@pytest.mark.anyio
@pytest.mark.parametrize("version", ["2025-06-18", "2026-07-28"])
async def test_image_of_a_disconnected_client_is_dropped(tmp_path: Path, version: str) -> None:
    write_model(tmp_path, "gray", preprocess=GRAY)
    runtime = GrayRuntime()
    meta = {
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
    }
    headers = {"mcp_protocol_version": version, "mcp_method": "tools/call"}

    def classify(service: AsgiService, digit: int) -> AsgiRequest:
        arguments = {"image": b64encode(gray(digit)).decode()}
        params = {"name": "classify_image", "arguments": arguments, "_meta": meta}
        return service.post(
            body(message("tools/call", **params)),
            path="/mcp",
            content_type="application/json",
            accept="application/json",
            mcp_name="classify_image",
            **headers,
        )

    async with run_service(
        tmp_path, runtime, timeout=3600, threads=1, protocols="mcp", measure=False
    ) as service:
        runtime.hold()
        first = classify(service, 1)
        await wait_until(lambda: runtime.batches == [[1]])
        disconnecting = classify(service, 2)
        await wait_until(lambda: disconnecting.receive_calls == 2)
        disconnecting.send(DISCONNECT)
        _, _, content = await disconnecting.response()
        assert content["result"]["isError"] is True
        runtime.release()
        _, _, content = await first.response()
        assert content["result"]["structuredContent"]["prediction"] == "1"
    assert 2 not in [digit for digits in runtime.batches for digit in digits]
