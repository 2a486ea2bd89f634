"""The asynchronous client; its calls, parsers and retry decisions are those of Client."""

import asyncio
import inspect
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest

from client import (
    BackendError,
    BackendUnreachable,
    Classification,
    Client,
    ClientError,
    HistoryFilters,
    InvalidResponse,
    ItemError,
    UnreadableFile,
)
from client.aio import AsyncClient
from client.aio_history import AsyncHistory
from client.history import History
from tests.client.fake_server import FakeResponse, serving
from tests.client.responses import BROKEN, BUSY, CLASSIFICATION, MODELS, batch, problem
from tests.conftest import free_port
from tests.images import encoded, seven

T = TypeVar("T")

SEVEN = encoded(seven())
OK = FakeResponse(json.dumps(CLASSIFICATION).encode())


def run(url: str, use: Callable[[AsyncClient], Awaitable[T]], **options: Any) -> T:
    async def call() -> T:
        async with AsyncClient(url, **options) as client:
            return await use(client)

    return asyncio.run(call())


def classify(url: str, **options: Any) -> Classification:
    return run(url, lambda client: client.classify(SEVEN, filename="x.png"), **options)


@pytest.mark.parametrize(("kind", "other"), [(Client, AsyncClient), (History, AsyncHistory)])
def test_methods_and_parameters_are_those_of_the_synchronous_client(
    kind: type, other: type
) -> None:
    def public(kind: type) -> dict[str, Any]:
        methods = inspect.getmembers(kind, inspect.isfunction)
        return {name: method for name, method in methods if not name.startswith("_")}

    methods = public(kind)
    assert set(public(other)) == set(methods)
    for name, method in public(other).items():
        expected = dict(inspect.signature(methods[name]).parameters)
        if name == "models":
            del expected["timeout"]  # asyncio.timeout does the same
        assert dict(inspect.signature(method).parameters) == expected, name


def test_history_is_listed_corrected_exported_and_deleted(backend_url: str) -> None:
    async def use(client: AsyncClient) -> None:
        while not (await client.classify(SEVEN, filename="first.png")).stored:
            pass  # the history starts after the models
        classified = await client.classify(SEVEN, filename="async.png")
        filters = HistoryFilters(search="async")
        assert (await client.history.get(classified.id)).prediction == "7"
        (stored,) = (await client.history.page(filters)).items
        assert stored.id == classified.id
        assert (await client.history.image(classified.id))[8:12] == b"WEBP"
        assert (await client.history.correct(classified.id, "1")).correction == "1"
        assert (await client.history.accuracy(filters)).corrected == 1
        exported = b"".join([chunk async for chunk in client.history.export(filters)])
        assert json.loads(exported)["id"] == classified.id
        assert (await client.history.storage()).images
        assert await client.history.clear(filters) == 1
        with pytest.raises(BackendError) as caught:
            await client.history.get(classified.id)
        assert caught.value.status == 404

    run(backend_url, use)


@pytest.mark.parametrize("name", ["ü 日本.png", 'a"b\\c.png', "two\r\nlines\x00.png", "\udcff", ""])
def test_backend_classifies_an_image_with_any_file_name(backend_url: str, name: str) -> None:
    async def use(client: AsyncClient) -> None:
        result = await client.classify(SEVEN, filename=name, top_k=3)
        assert (result.prediction, result.filename, len(result.top)) == ("7", name, 3)

    run(backend_url, use)


def test_backend_answers_all_kinds_of_calls(backend_url: str, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(SEVEN)
    (tmp_path / "b.png").write_bytes(b"not an image")

    async def use(client: AsyncClient) -> None:
        items = [("a.png", SEVEN), ("b.png", b"not an image"), ("c.png", SEVEN)]
        results = [result async for result in client.classify_batch(items)]
        assert [type(result) for result in results] == [Classification, ItemError, Classification]
        found = {path.name: one async for path, one in client.classify_folder(tmp_path)}
        assert isinstance(found["a.png"], Classification)
        assert isinstance(found["b.png"], BackendError)
        assert await client.ready()
        assert (await client.models()).get("mnist-cnn") == (await client.model("mnist-cnn")).info
        assert (await client.info()).name
        with pytest.raises(BackendError) as caught:
            await client.versions("mnist-cnn")
        assert caught.value.code
        many = [client.classify(SEVEN, filename="x.png") for _ in range(20)]
        assert {result.prediction for result in await asyncio.gather(*many)} == {"7"}

    run(backend_url, use)


def test_query_key_and_image_are_sent() -> None:
    async def use(client: AsyncClient) -> None:
        await client.classify(SEVEN, filename="x.png", model="a model", store=False)

    with serving(OK) as (url, received):
        run(url, use, api_key="secret")
    assert received[0].path == "/classify?model=a+model&store=false"
    assert received[0].headers["X-API-Key"] == "secret"
    assert SEVEN in received[0].body


def test_errors_are_those_of_client() -> None:
    with pytest.raises(BackendUnreachable) as unreachable:
        classify(f"http://127.0.0.1:{free_port()}")
    assert not unreachable.value.timed_out
    with serving(FakeResponse(delay=1)) as (url, _), pytest.raises(BackendUnreachable) as late:
        classify(url, read_timeout=0.1)
    assert late.value.timed_out
    with serving(FakeResponse(b"<html>")) as (url, _), pytest.raises(InvalidResponse):
        classify(url)
    with serving(problem(429, Retry_After="7")) as (url, _), pytest.raises(BackendError) as busy:
        classify(url)
    assert (busy.value.status, busy.value.retry_after, busy.value.detail) == (429, 7, "Why.")
    redirect = FakeResponse(status=302, headers={"Location": "https://elsewhere.example/"})
    with serving(redirect) as (url, _), pytest.raises(BackendError, match="elsewhere"):
        classify(url)
    with pytest.raises(BackendUnreachable):
        classify("http://\N{SNOWMAN}.invalid")
    with pytest.raises(ValueError, match="http://"):
        AsyncClient("localhost:8000")


def test_ready_returns_false_on_503() -> None:
    with serving(FakeResponse(b'{"status": 503}', 503)) as (url, _):
        assert run(url, lambda client: client.ready()) is False


def test_truncated_batch_yields_the_results_that_arrived() -> None:
    async def use(client: AsyncClient) -> None:
        results = client.classify_batch([("a", SEVEN), ("b", SEVEN)])
        assert (await anext(results)).filename == "a"
        with pytest.raises(InvalidResponse):
            await anext(results)

    with serving(batch(CLASSIFICATION)) as (url, _):
        run(url, use)


def test_line_separators_of_unicode_do_not_end_a_line() -> None:
    line = json.dumps(CLASSIFICATION | {"prediction": "a\u2028b\x85c"}, ensure_ascii=False)

    async def use(client: AsyncClient) -> list[Classification | ItemError]:
        return [result async for result in client.classify_batch([("a", SEVEN)])]

    with serving(FakeResponse(line.encode())) as (url, _):
        (result,) = run(url, use)
    assert isinstance(result, Classification)
    assert result.prediction == "a\u2028b\x85c"


def test_request_is_sent_again_after_retry_after(monkeypatch: pytest.MonkeyPatch) -> None:
    response = problem(503, Retry_After="7")
    waits: list[float] = []

    async def recover(seconds: float) -> None:
        waits.append(seconds)
        response.status, response.body = 200, OK.body

    monkeypatch.setattr("client.aio_session.asyncio.sleep", recover)
    with serving(response) as (url, received):
        assert classify(url, max_attempts=2).prediction == "7"
    assert (waits, len(received)) == ([7.0], 2)


def test_files_are_classified_in_order_and_a_busy_backend_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [tmp_path / f"{number}.png" for number in range(3)]
    for path in paths[:2]:
        path.write_bytes(b"image")
    response = batch(BUSY, BROKEN)

    def recover(error: ClientError, seconds: float) -> None:
        response.body = batch(CLASSIFICATION).body

    async def do_not_wait(_: float) -> None:
        pass

    monkeypatch.setattr("client.aio.asyncio.sleep", do_not_wait)

    async def use(client: AsyncClient) -> list[tuple[Path, Classification | ClientError]]:
        return [found async for found in client.classify_files(paths, on_wait=recover)]

    with serving(response, models=MODELS) as (url, received):
        found = run(url, use)
    assert [path for path, _ in found] == paths
    kinds = [type(result) for _, result in found]
    assert kinds == [Classification, BackendError, UnreadableFile]
    assert len(received) == 2
