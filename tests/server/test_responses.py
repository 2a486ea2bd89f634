"""Responses in one write."""

from collections.abc import Callable

import pytest
from starlette.types import Message, Receive, Scope, Send

from backend.server.protocols import DefaultConnection
from tests.server.fake_connection import FakeServer, FakeTransport, run_callbacks
from tests.server_thread import get_request

pytest.importorskip("httptools")

pytestmark = pytest.mark.anyio


def start(*fields: tuple[bytes, bytes], status: int = 200) -> Message:
    return {"type": "http.response.start", "status": status, "headers": list(fields)}


def part(content: bytes, *, more: bool = False) -> Message:
    return {"type": "http.response.body", "body": content, "more_body": more}


async def respond(
    monkeypatch: pytest.MonkeyPatch, *messages: Message, request: bytes = get_request()
) -> tuple[list[bytes], FakeTransport]:
    """Return what an application that sends `messages` writes, and the transport."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        for message in messages:
            await send(message)

    written: list[bytes] = []
    write: Callable[[FakeTransport, bytes], None] = FakeTransport.write

    def record(transport: FakeTransport, data: bytes) -> None:
        written.append(data)
        write(transport, data)

    monkeypatch.setattr(FakeTransport, "write", record)
    _, transport = FakeServer(DefaultConnection, app).connect(request)
    await run_callbacks()
    return written, transport


LENGTH = (b"content-length", b"5")


async def test_head_and_body_are_one_write(monkeypatch: pytest.MonkeyPatch) -> None:
    written, transport = await respond(monkeypatch, start(LENGTH, (b"x", b"y")), part(b"hello"))
    assert len(written) == 1
    assert written[0].startswith(b"HTTP/1.1 200 OK\r\n")
    assert written[0].endswith(b"content-length: 5\r\nx: y\r\n\r\nhello")
    assert not transport.is_closing()


async def test_later_parts_of_body_follow(monkeypatch: pytest.MonkeyPatch) -> None:
    messages = start(LENGTH), part(b"hel", more=True), part(b"lo")
    written, _ = await respond(monkeypatch, *messages)
    assert [data[-3:] for data in written] == [b"hel", b"lo"]


async def test_head_of_a_stream_is_written_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    written, _ = await respond(monkeypatch, start(), part(b"a", more=True))
    assert written[0].endswith(b"transfer-encoding: chunked\r\n\r\n")
    assert written[1] == b"1\r\na\r\n"


async def test_connection_is_closed_if_the_client_asks_for_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    request = get_request("/", "Connection: close")
    written, transport = await respond(monkeypatch, start(LENGTH), part(b"hello"), request=request)
    assert written[0].count(b"connection: close\r\n") == 1
    assert transport.is_closing()


@pytest.mark.parametrize("value", [b"a\r\nx: y", b"a\nb", b"a\rb", b"a\0b"])
async def test_control_character_in_a_field_is_not_written(
    monkeypatch: pytest.MonkeyPatch, value: bytes
) -> None:
    written, _ = await respond(monkeypatch, start(LENGTH, (b"x", value)), part(b"hello"))
    assert b"".join(written).startswith(b"HTTP/1.1 500")
    assert value not in b"".join(written)


@pytest.mark.parametrize("content", [b"hell", b"hello!"])
async def test_body_of_another_length_is_not_written(
    monkeypatch: pytest.MonkeyPatch, content: bytes
) -> None:
    written, transport = await respond(monkeypatch, start(LENGTH), part(content))
    assert not written
    assert transport.is_closing()


async def test_connection_is_closed_if_the_application_asks_for_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fields = LENGTH, (b"connection", b"close")
    written, transport = await respond(monkeypatch, start(*fields), part(b"hello"))
    assert b"".join(written).count(b"connection: close\r\n") == 1
    assert transport.is_closing()
