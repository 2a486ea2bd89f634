"""Limit on the memory of all request bodies."""

import gc
import tracemalloc
from pathlib import Path

import pytest

from backend import app
from backend.api import body as body_module
from tests.api.asgi import DISCONNECT, body, run_service
from tests.fake_models import GRAY, GrayRuntime, gray, write_model
from tests.images import encoded, noise
from tests.inference.helpers import wait_until

IMAGE = encoded(noise(140, 100), "BMP") + bytes(5_000)  # 47 kB
HALF = len(IMAGE) // 2
CHUNKED = {"transfer_encoding": "chunked"}


@pytest.fixture
def gray_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of models, in a container with memory for 47 kB of request bodies."""
    monkeypatch.setattr(app, "memory_limit", lambda: 570_000)
    write_model(tmp_path / "gray-models", "gray", preprocess=GRAY)
    return tmp_path / "gray-models"


@pytest.mark.anyio
@pytest.mark.parametrize("query", ["", "top_k=1"])
@pytest.mark.parametrize("headers", [CHUNKED, {"content_length": str(len(IMAGE))}])
async def test_body_that_does_not_fit_gets_429(
    gray_models: Path, query: str, headers: dict[str, str]
) -> None:
    async with run_service(gray_models, GrayRuntime()) as service:
        first = service.post(body(IMAGE[:HALF], more=True), **headers)
        await wait_until(lambda: first.receive_calls == 2)
        second = service.post(body(IMAGE[:HALF], more=True), query=query, **headers)
        await wait_until(lambda: second.receive_calls == 2)
        second.send(body(IMAGE[HALF:]))
        status, response_headers, content = await second.response()
        assert (status, content["code"]) == (429, "queue_full")
        assert int(response_headers["retry-after"]) >= 1
        first.send(body(IMAGE[HALF:]))
        assert (await first.response())[0] == 200
        assert (await service.post(body(IMAGE), query=query, **headers).response())[0] == 200


@pytest.mark.anyio
@pytest.mark.parametrize("query", ["", "top_k=1"])
async def test_refused_body_is_freed_while_the_client_still_sends(
    gray_models: Path, query: str
) -> None:
    async with run_service(gray_models, GrayRuntime()) as service:
        first = service.post(body(IMAGE[:5_000], more=True), **CHUNKED)
        await wait_until(lambda: first.receive_calls == 2)
        gc.disable()
        tracemalloc.start()
        try:
            part = body(IMAGE[:20_000], more=True)
            second = service.post(part, query=query, **CHUNKED)
            await wait_until(lambda: second.receive_calls == 2)
            assert count_bytes_of_bodies() >= 20_000
            second.send(part)
            await wait_until(lambda: second.receive_calls == 3)
            assert count_bytes_of_bodies() < 10_000
        finally:
            tracemalloc.stop()
            gc.enable()
        assert not second.sent
        second.send(body(b""))
        assert (await second.response())[0] == 429


def count_bytes_of_bodies() -> int:
    """Return the bytes that backend/api/body.py has allocated since the start of tracemalloc."""
    traces = tracemalloc.take_snapshot().filter_traces(
        [tracemalloc.Filter(True, body_module.__file__)]
    )
    return sum(trace.size for trace in traces.traces)


@pytest.mark.anyio
async def test_disconnection_is_not_refused_when_memory_is_full(gray_models: Path) -> None:
    async with run_service(gray_models, GrayRuntime()) as service:
        first = service.post(body(IMAGE[:30_000], more=True), **CHUNKED)
        await wait_until(lambda: first.receive_calls == 2)
        second = service.post(body(IMAGE[:12_000], more=True), client="127.0.0.2", **CHUNKED)
        await wait_until(lambda: second.receive_calls == 2)
        first.send(DISCONNECT)
        assert (await first.response())[0] == 499


@pytest.mark.anyio
async def test_single_body_may_exceed_limit(gray_models: Path) -> None:
    large = gray(4) + bytes(90_000)
    async with run_service(gray_models, GrayRuntime()) as service:
        assert (await service.post(body(large), **CHUNKED).response())[0] == 200


@pytest.mark.anyio
async def test_disconnected_client_frees_memory(gray_models: Path) -> None:
    async with run_service(gray_models, GrayRuntime()) as service:
        first = service.post(body(IMAGE[:HALF], more=True), **CHUNKED)
        await wait_until(lambda: first.receive_calls == 2)
        first.send(DISCONNECT)
        await first.response()
        for _ in range(3):
            assert (await service.post(body(IMAGE), **CHUNKED).response())[0] == 200


@pytest.mark.anyio
async def test_small_images_are_accepted_when_memory_is_full(gray_models: Path) -> None:
    data = gray(4)
    async with run_service(gray_models, GrayRuntime()) as service:
        first = service.post(body(IMAGE, more=True), **CHUNKED)
        await wait_until(lambda: first.receive_calls == 2)
        second = service.post(body(data), content_length=str(len(data)))
        assert (await second.response())[2]["prediction"] == "4"


@pytest.mark.anyio
async def test_client_leaves_memory_for_the_bodies_of_another(gray_models: Path) -> None:
    """All bodies of one client fill three quarters of 47.5 kB."""
    async with run_service(gray_models, GrayRuntime()) as service:
        first = [service.post(body(bytes(17_000), more=True), **CHUNKED) for _ in range(3)]
        await wait_until(lambda: all(each.receive_calls == 2 for each in first))
        other = service.post(body(gray(4) + bytes(8_000)), client="127.0.0.2", **CHUNKED)
        assert (await other.response())[0] == 200
        first[2].send(body(b""))
        assert (await first[2].response())[0] == 429


@pytest.mark.anyio
@pytest.mark.parametrize("proxies", [0, 1])
async def test_clients_behind_a_proxy_have_their_own_share(gray_models: Path, proxies: int) -> None:
    async with run_service(gray_models, GrayRuntime(), trusted_proxies=proxies) as service:
        first = [
            service.post(body(bytes(17_000), more=True), x_forwarded_for="192.0.2.1", **CHUNKED)
            for _ in range(2)
        ]
        await wait_until(lambda: all(each.receive_calls == 2 for each in first))
        other = service.post(body(gray(4) + bytes(6_000)), x_forwarded_for="192.0.2.2", **CHUNKED)
        assert (await other.response())[0] == (200 if proxies else 429)
