"""Bytes are counted as they arrive, also where nobody announced how many will come."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.requests import Request
from starlette.testclient import TestClient
from starlette.types import Message

from backend.api import body as limits
from backend.api.errors import BodyTooLargeError
from backend.settings import Settings
from tests.api.asgi import GONE, body, running
from tests.api.problems import KEYS, problem
from tests.fake_models import GRAY, GrayRuntime, gray, write_model
from tests.inference.work import until
from tests.images import encoded, seven

RAW = {"Content-Type": "image/png"}


@pytest.fixture
def gray_models(tmp_path: Path) -> Path:
    write_model(tmp_path / "gray-models", "gray", preprocess=GRAY)
    return tmp_path / "gray-models"


def pieces(count: int) -> Iterator[bytes]:
    for _ in range(count):
        yield bytes(10_000)


def test_a_stream_without_a_length_is_stopped_at_the_limit(client: TestClient) -> None:
    problem(client.post("/classify", content=pieces(11), headers=RAW), 413, "image_too_large")


def test_a_stream_far_beyond_the_limit_is_not_read_to_its_end() -> None:
    received = 0

    async def receive() -> Message:
        nonlocal received
        received += 10
        return body(bytes(10), more=received < 10_000)

    state = {"settings": Settings()}
    request = Request({"type": "http", "method": "POST", "headers": [], "state": state}, receive)
    with pytest.raises(BodyTooLargeError):
        asyncio.run(limits.read(request, 100))
    assert 100 < received < 1_000  # so that the client still reads the answer, and no more


def test_a_length_that_is_no_number_is_malformed(client: TestClient) -> None:
    headers = RAW | {"Content-Length": "many"}
    response = client.post("/classify", content=encoded(seven()), headers=headers)
    problem(response, 400, "malformed_request")


def test_a_client_that_waits_for_100_continue_is_refused_before_it_sends(
    client: TestClient,
) -> None:
    headers = RAW | {"Expect": "100-continue", "Content-Length": "200000"}
    response = client.post("/classify", content=b"", headers=headers)
    problem(response, 413, "image_too_large")


@pytest.mark.anyio
async def test_a_body_that_comes_in_pieces_is_put_together(gray_models: Path) -> None:
    async with running(gray_models, GrayRuntime()) as service:
        data = gray(4)
        caller = service.post(body(data[:1], more=True))
        await until(lambda: caller.asked == 2)
        caller.say(body(data[1:40], more=True))
        caller.say(body(data[40:]))
        assert (await caller.answer())[2]["prediction"] == "4"


@pytest.mark.anyio
@pytest.mark.parametrize("path", ["/classify", "/classify/batch", "/predict", "/predict_nn/"])
@pytest.mark.parametrize("sent", [(), (body(b"--x\r\n", more=True),)])
async def test_a_body_that_does_not_arrive_is_408_and_closes_the_connection(
    models_dir: Path, path: str, sent: tuple[Message, ...]
) -> None:
    form = "multipart/form-data; boundary=x"
    async with running(models_dir, GrayRuntime(), body_timeout=0.05) as service:
        status, headers, answer = await service.post(*sent, path=path, content_type=form).answer()
    assert (status, answer["code"]) == (408, "body_timeout")
    assert set(answer) == KEYS
    assert headers["connection"] == "close"


@pytest.mark.anyio
@pytest.mark.parametrize("query", ["", "top_k=1"])
async def test_a_client_that_leaves_in_the_middle_of_its_body_costs_nothing(
    gray_models: Path, query: str
) -> None:
    runtime = GrayRuntime()
    async with running(gray_models, runtime) as service:
        runtime.batches.clear()
        caller = service.post(body(gray(1)[:40], more=True), GONE, query=query)
        assert (await caller.answer())[0] == 499
        assert runtime.batches == []


@pytest.mark.anyio
@pytest.mark.parametrize("query", ["", "top_k=1"])
async def test_overload_is_told_before_the_body_is_read(gray_models: Path, query: str) -> None:
    runtime = GrayRuntime()
    async with running(gray_models, runtime, queue_size=1, timeout=3600) as service:
        runtime.hold()
        first = service.post(body(gray(1)))
        await until(lambda: runtime.batches == [[1]])
        refused = service.post(query=query)
        status, headers, answer = await refused.answer()
        assert (status, answer["code"]) == (429, "queue_full")
        assert int(headers["retry-after"]) >= 1
        assert refused.asked == 0
        runtime.release()
        assert (await first.answer())[0] == 200
