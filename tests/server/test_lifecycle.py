"""Graceful shutdown: what the server finishes, what it refuses, and how long it takes."""

import asyncio
import signal
import time

import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import Receive, Scope, Send

from backend.server import lifecycle
from tests.server_thread import get_request, read_all, run_server


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Respond after a delay (/wait/SECONDS) or with a large body (/large/BYTES)."""
    request = Request(scope, receive)
    size = len(await request.body())
    kind, _, amount = scope["path"][1:].partition("/")
    if kind == "wait":
        await asyncio.sleep(float(amount))
    content = b"x" * int(amount) if kind == "large" else f"{kind} {size}".encode()
    await Response(content)(scope, receive, send)


def test_after_sigterm_server_refuses_requests_then_stops() -> None:
    with run_server(app) as server:
        server.send_signal()
        for path in ("/ready", "/classify"):
            response = server.get(path)
            assert response.startswith(b"HTTP/1.1 503")
            assert b'"draining"' in response
            assert b"retry-after: 1\r\n" in response
            assert b"connection: close\r\n" in response
        for path in ("/", "/health", "/metrics"):
            assert server.get(path).startswith(b"HTTP/1.1 200")
        assert server.wait() < 6


def test_after_ctrl_c_server_stops_listening_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lifecycle, "LISTEN_UNTIL", 6.0)  # after SIGTERM it would take this long
    with run_server(app) as server:
        server.send_signal(signal.SIGINT)
        assert server.wait() < 5


def test_request_in_flight_finishes_and_connection_is_closed() -> None:
    with run_server(app) as server:
        connection = server.connect(get_request("/wait/2"))
        time.sleep(0.2)
        server.send_signal()
        response = read_all(connection)
        assert response.startswith(b"HTTP/1.1 200")
        assert b"connection: close\r\n" in response
        assert server.wait() < 4


def test_incomplete_body_is_waited_for() -> None:
    head = b"POST /half HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n"
    with run_server(app) as server:
        connection = server.connect(head, b"12345")
        time.sleep(0.2)
        server.send_signal()
        time.sleep(1.5)
        connection.sendall(b"67890")
        assert read_all(connection).endswith(b"half 10")


def test_upload_after_sigterm_is_read_and_gets_503() -> None:
    body = b"x" * 3_000_000
    head = f"POST /late HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    with run_server(app) as server:
        server.send_signal()
        connection = server.connect(head, body)  # a connection reset would raise BrokenPipeError
        assert read_all(connection).startswith(b"HTTP/1.1 503")


def test_expect_100_continue_after_sigterm_gets_503_without_body() -> None:
    headers = b"Content-Length: 9\r\nExpect: 100-continue\r\n\r\n"
    with run_server(app) as server:
        server.send_signal()
        connection = server.connect(b"POST /late HTTP/1.1\r\nHost: localhost\r\n", headers)
        assert read_all(connection).startswith(b"HTTP/1.1 503")
        assert server.wait() < 6


def test_slow_reader_receives_whole_response() -> None:
    with run_server(app) as server:
        connection = server.connect(get_request("/large/8000000"))
        time.sleep(0.2)
        server.send_signal()
        received = 0
        for _ in range(6):
            received += len(connection.recv(100_000))
            time.sleep(0.2)
        assert received + len(read_all(connection)) > 8_000_000


def test_unfinished_requests_get_503_within_time_limit() -> None:
    with run_server(app) as server:
        endless = server.connect(get_request("/wait/60"))
        stalled = server.connect(
            b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nhalf"
        )
        not_reading = server.connect(get_request("/large/50000000"))
        time.sleep(0.2)
        started = time.monotonic()
        server.send_signal()
        for connection in (endless, stalled):
            response = read_all(connection)
            assert response.startswith(b"HTTP/1.1 503")
            assert b'"draining"' in response
        server.wait()
        assert time.monotonic() - started < 8
        not_reading.close()


def test_draining_starts_while_event_loop_is_blocked() -> None:
    states = []

    async def busy(scope: Scope, receive: Receive, send: Send) -> None:
        for _ in range(2):
            time.sleep(0.3)  # noqa: ASYNC251  # blocks the event loop
            states.append(server.server.server_state.drain_state.is_draining)
        await PlainTextResponse("done")(scope, receive, send)

    with run_server(busy) as server:
        connection = server.connect(get_request("/busy"))
        time.sleep(0.45)
        server.send_signal()
        assert read_all(connection).startswith(b"HTTP/1.1 200")
    assert states == [False, True]
