"""Uploads and the memory of the container."""

import asyncio
from collections.abc import Iterator

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.testclient import TestClient
from starlette.types import Message

from frontend.server.upload_memory import DETAIL, UPLOAD_PATH, UploadMemoryMiddleware
from frontend.state.memory import RESERVE

PATH = f"{UPLOAD_PATH}session/file"
MEGABYTE = bytes(1_000_000)


async def receive_upload(request: Request) -> Response:
    return PlainTextResponse(str(len(await request.body())))


def app(free: int) -> Starlette:
    """Return an application with `free` bytes above the reserve."""
    return Starlette(
        routes=[Route("/{path:path}", receive_upload, methods=["PUT", "POST"])],
        middleware=[Middleware(UploadMemoryMiddleware, free=lambda: RESERVE + free)],
    )


def test_upload_that_fits_twice_is_accepted() -> None:
    response = TestClient(app(2_000_000)).put(PATH, content=MEGABYTE)
    assert (response.status_code, response.text) == (200, "1000000")


def test_upload_that_does_not_fit_twice_is_refused() -> None:
    response = TestClient(app(1_999_999)).put(PATH, content=MEGABYTE)
    assert (response.status_code, response.text) == (507, DETAIL)


def test_upload_without_a_declared_size_is_refused_when_it_exceeds_the_memory() -> None:
    def chunks() -> Iterator[bytes]:
        for _ in range(10):
            yield MEGABYTE

    response = TestClient(app(5_500_000)).put(PATH, content=chunks())
    assert (response.status_code, response.text) == (507, DETAIL)


def test_other_requests_are_not_limited() -> None:
    client = TestClient(app(0))
    assert client.post(PATH, content=MEGABYTE).status_code == 200
    assert client.put("/other", content=MEGABYTE).status_code == 200


@pytest.mark.parametrize("finished", [False, True])
def test_uploads_at_the_same_time_share_the_memory(finished: bool) -> None:
    """The bytes of an upload count until it ends."""
    asgi = app(3_500_000)

    async def send_two() -> int:
        released = asyncio.Event()
        first: asyncio.Queue[Message] = asyncio.Queue()
        first.put_nowait({"type": "http.request", "body": 2 * MEGABYTE, "more_body": True})

        async def ignore(_: Message) -> None:
            released.set()

        task = asyncio.create_task(asgi(scope(), first.get, ignore))
        for _ in range(20):  # until the chunk is received
            await asyncio.sleep(0)
        if finished:
            first.put_nowait({"type": "http.request", "body": b"", "more_body": False})
            await released.wait()
            await task
        status = await put(2 * MEGABYTE[: len(MEGABYTE) // 2])
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return status

    async def put(content: bytes) -> int:
        sent: list[Message] = []

        async def receive() -> Message:
            return {"type": "http.request", "body": content, "more_body": False}

        async def send(message: Message) -> None:
            sent.append(message)

        await asgi(scope(len(content)), receive, send)
        return int(sent[0]["status"])

    def scope(length: int = 0) -> dict[str, object]:
        return {
            "type": "http",
            "method": "PUT",
            "path": PATH,
            "query_string": b"",
            "headers": [(b"content-length", str(length).encode())],
        }

    assert asyncio.run(send_two()) == (200 if finished else 507)
