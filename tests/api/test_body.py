"""Limits on request bodies, with and without a Content-Length."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.requests import Request
from starlette.testclient import TestClient
from starlette.types import Message

from backend.api.body import read_body
from backend.api.errors import BodyTooLargeError
from backend.settings import Settings
from tests.api.asgi import DISCONNECT, body, run_service
from tests.api.problems import KEYS, problem
from tests.fake_models import GRAY, GrayRuntime, gray, write_model
from tests.images import encoded, seven
from tests.inference.helpers import wait_until

RAW = {"Content-Type": "image/png"}
SEVEN = encoded(seven())


@pytest.fixture
def gray_models(tmp_path: Path) -> Path:
    write_model(tmp_path / "gray-models", "gray", preprocess=GRAY)
    return tmp_path / "gray-models"


def chunks(count: int) -> Iterator[bytes]:
    for _ in range(count):
        yield bytes(10_000)


def test_body_without_length_is_limited(client: TestClient) -> None:
    problem(client.post("/classify", content=chunks(11), headers=RAW), 413, "image_too_large")


def test_oversized_body_is_read_only_in_part() -> None:
    received = 0

    async def receive() -> Message:
        nonlocal received
        received += 10
        return body(bytes(10), more=received < 10_000)

    state = {"settings": Settings()}
    request = Request({"type": "http", "method": "POST", "headers": [], "state": state}, receive)
    with pytest.raises(BodyTooLargeError):
        asyncio.run(read_body(request, 100))
    assert 100 < received < 1_000  # read further, so that the client reads the response


def test_invalid_content_length_gets_400(client: TestClient) -> None:
    headers = RAW | {"Content-Length": "many"}
    response = client.post("/classify", content=encoded(seven()), headers=headers)
    problem(response, 400, "malformed_request")


def test_oversized_body_with_expect_100_continue_gets_413_at_once(
    client: TestClient,
) -> None:
    headers = RAW | {"Expect": "100-continue", "Content-Length": "200000"}
    response = client.post("/classify", content=b"", headers=headers)
    problem(response, 413, "image_too_large")


@pytest.mark.anyio
async def test_body_in_chunks_is_joined(gray_models: Path) -> None:
    async with run_service(gray_models, GrayRuntime()) as service:
        data = gray(4)
        upload = service.post(body(data[:1], more=True))
        await wait_until(lambda: upload.receive_calls == 2)
        upload.send(body(data[1:40], more=True))
        upload.send(body(data[40:]))
        assert (await upload.response())[2]["prediction"] == "4"


@pytest.mark.anyio
@pytest.mark.parametrize("path", ["/classify", "/classify/batch", "/predict", "/predict_nn/"])
@pytest.mark.parametrize("sent", [(), (body(b"--x\r\n", more=True),)])
async def test_incomplete_body_gets_408_and_closes_connection(
    models_dir: Path, path: str, sent: tuple[Message, ...]
) -> None:
    form = "multipart/form-data; boundary=x"
    async with run_service(models_dir, GrayRuntime(), body_timeout=0.05) as service:
        status, headers, content = await service.post(
            *sent, path=path, content_type=form
        ).response()
    assert (status, content["code"]) == (408, "body_timeout")
    assert set(content) == KEYS
    assert headers["connection"] == "close"


@pytest.mark.anyio
@pytest.mark.parametrize("query", ["", "top_k=1"])
async def test_disconnect_during_body_skips_classification(gray_models: Path, query: str) -> None:
    runtime = GrayRuntime()
    async with run_service(gray_models, runtime) as service:
        runtime.batches.clear()
        upload = service.post(body(gray(1)[:40], more=True), DISCONNECT, query=query)
        assert (await upload.response())[0] == 499
        assert runtime.batches == []


@pytest.mark.anyio
@pytest.mark.parametrize("query", ["", "top_k=1"])
async def test_full_queue_returns_429_before_body_is_read(gray_models: Path, query: str) -> None:
    runtime = GrayRuntime()
    async with run_service(gray_models, runtime, queue_size=1, timeout=3600) as service:
        runtime.hold()
        first = service.post(body(gray(1)))
        await wait_until(lambda: runtime.batches == [[1]])
        rejected = service.post(query=query)
        status, headers, content = await rejected.response()
        assert (status, content["code"]) == (429, "queue_full")
        assert int(headers["retry-after"]) >= 1
        assert rejected.receive_calls == 0
        runtime.release()
        assert (await first.response())[0] == 200


@pytest.mark.parametrize("length", ["+5", "1_0", " ", "-1", "9" * 5000, "5, 5"])
@pytest.mark.parametrize("path", ["/classify", "/classify/batch", "/predict", "/predict_nn/"])
def test_content_length_is_a_plain_number(
    shared_client: TestClient, path: str, length: str
) -> None:
    headers = {"Content-Type": "multipart/form-data; boundary=x", "Content-Length": length}
    problem(shared_client.post(path, content=b"", headers=headers), 400, "malformed_request")


@pytest.mark.parametrize("encoding", ["gzip", "GZIP", "deflate, br", "", "zstd", "identity, gzip"])
@pytest.mark.parametrize("path", ["/classify", "/classify/batch", "/predict", "/predict_nn/"])
def test_compressed_body_is_refused(shared_client: TestClient, path: str, encoding: str) -> None:
    headers = {"Content-Encoding": encoding}
    response = shared_client.post(path, files={"file": SEVEN}, headers=headers)
    detail = problem(response, 415, "unsupported_media_type")["detail"]
    assert "Content-Encoding" in detail


def test_identity_encoding_is_accepted(shared_client: TestClient) -> None:
    headers = {"Content-Encoding": "Identity"}
    assert (
        shared_client.post("/classify", files={"file": SEVEN}, headers=headers).status_code == 200
    )


@pytest.mark.parametrize("path", ["/classify", "/classify?top_k=1", "/predict"])
@pytest.mark.parametrize(
    "parts",
    [
        [("file", ("a.png", SEVEN)), ("file", ("b.png", SEVEN))],
        [("file", ("a.png", SEVEN)), ("image", ("b.png", SEVEN))],
        [("files", ("a.png", SEVEN)), ("file", ("b.png", b"")), ("text", ("", b"x"))],
        [("file", ("a.png", SEVEN)), ("file", ("b.png", bytes(100_000)))],
        [("file", ("a.png", bytes(100_001))), ("file", ("b.png", SEVEN))],
    ],
)
def test_second_file_is_refused(shared_client: TestClient, path: str, parts: list[Any]) -> None:
    detail = problem(shared_client.post(path, files=parts), 400, "too_many_files")["detail"]
    assert "2 files" in detail
    assert "/classify/batch" in detail


@pytest.mark.parametrize("path", ["/classify", "/predict", "/predict_nn/"])
def test_form_with_many_parts_is_refused(shared_client: TestClient, path: str) -> None:
    parts = [("text", ("", b"x"))] * 100 + [("file", ("a.png", SEVEN))]
    detail = problem(shared_client.post(path, files=parts), 400, "malformed_request")["detail"]
    assert "100 parts" in detail


@pytest.mark.parametrize("unused", ["before", "after"])
def test_unused_file_input_of_a_browser_is_ignored(shared_client: TestClient, unused: str) -> None:
    used = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.png"\r\n\r\n%b\r\n'
    empty = b'--x\r\nContent-Disposition: form-data; name="image"; filename=""\r\n\r\n\r\n'
    parts = [empty, used % SEVEN] if unused == "before" else [used % SEVEN, empty]
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    response = shared_client.post(
        "/classify", content=b"".join(parts) + b"--x--\r\n", headers=headers
    )
    assert response.json()["filename"] == "a.png"


@pytest.mark.anyio
async def test_body_that_no_route_needs_is_not_read(models_dir: Path) -> None:
    async with run_service(models_dir, GrayRuntime()) as service:
        for method in ("GET", "POST", "DELETE", "PATCH", "BREW"):
            for path in ("/nowhere", "/health", "/models", "/history", "/history/", "/classify/x"):
                request = service.post(body(bytes(10), more=True), path=path, method=method)
                assert (await request.response())[0] in {200, 401, 404, 405, 307}
                assert request.receive_calls == 0
