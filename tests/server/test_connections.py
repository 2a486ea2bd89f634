"""Bounds on connections: how many, how long a head may take, and how they end."""

import http.client
import json
import signal
import socket
import time
from typing import Any

import pytest
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from backend.server.connections import Connection, H11Connection, Preferred
from tests.server_thread import get, read, read_until, running

PROTOCOLS = sorted({Preferred, H11Connection}, key=lambda one: one.__name__)


async def greet(scope: Scope, receive: Receive, send: Send) -> None:
    while scope["path"] != "/early" and (await receive()).get("more_body"):
        pass
    await PlainTextResponse(f"hello {scope['path']}")(scope, receive, send)


@pytest.fixture(params=PROTOCOLS)
def protocol(request: pytest.FixtureRequest) -> Any:
    return request.param


def test_one_connection_too_many_is_told_so_and_harms_no_other(protocol: type[Connection]) -> None:
    with running(greet, protocol, max_connections=3) as service:
        kept = [http.client.HTTPConnection("127.0.0.1", service.port) for _ in range(3)]
        for connection in kept:
            connection.request("GET", "/health")
            assert connection.getresponse().read() == b"hello /health"
        for _ in range(5):
            one_more = http.client.HTTPConnection("127.0.0.1", service.port)
            one_more.request("POST", "/classify", body=b"x" * 1_000_000)
            response = one_more.getresponse()
            assert response.status == 503
            assert response.getheader("Retry-After") == "1"
            assert response.getheader("Connection") == "close"
            assert response.getheader("Content-Type") == "application/problem+json"
            problem = json.loads(response.read())
            assert problem["code"] == "too_many_connections"
            assert problem["request_id"] == response.getheader("X-Request-ID")
            one_more.close()
        for connection in kept:
            connection.request("GET", "/health")
            assert connection.getresponse().read() == b"hello /health"
        kept[0].close()
        end = time.monotonic() + 5
        while b"hello" not in service.ask("/again"):
            assert time.monotonic() < end
        for connection in kept:
            connection.close()


def test_one_connection_too_many_that_says_nothing_is_answered_and_closed() -> None:
    with (
        running(greet, max_connections=1) as service,
        service.connect(),
        service.connect() as silent,
    ):
        assert b"too_many_connections" in read(silent)


def test_a_head_that_never_ends_is_cut_off(protocol: type[Connection]) -> None:
    with running(greet, protocol, header_timeout=0.5) as service:
        silent = service.connect()
        begun = service.connect(b"GET / HTTP/1.1\r\nHost: he")
        second = service.connect(get("/first"))
        read_until(second, b"hello /first")
        second.sendall(b"GET /second HTT")
        for connection in (silent, begun, second):
            assert read(connection) == b""


def test_a_slow_body_is_not_a_slow_head(protocol: type[Connection]) -> None:
    with running(greet, protocol, header_timeout=0.2) as service:
        head = (
            b"POST /slow HTTP/1.1\r\nHost: here\r\nConnection: close\r\nContent-Length: 5\r\n\r\n"
        )
        connection = service.connect(head)
        for _ in range(5):
            time.sleep(0.4)
            connection.sendall(b"x")
        assert read(connection).endswith(b"hello /slow")


EARLY = b"POST /early HTTP/1.1\r\nHost: here\r\nContent-Length: 7\r\n\r\n"


@pytest.mark.parametrize(
    ("request_", "more"), [(get("/first"), b"\r\n"), (get("/first"), b"\r"), (EARLY, b"x")]
)
def test_bytes_after_an_answer_do_not_keep_a_connection(
    protocol: type[Connection], request_: bytes, more: bytes
) -> None:
    with running(greet, protocol, header_timeout=0.5) as service:
        connection = service.connect(request_)
        read_until(connection, b"hello")
        connection.sendall(more)
        assert b"hello" not in read(connection)  # it ends


def test_the_body_of_a_request_answered_early_may_come_slowly(protocol: type[Connection]) -> None:
    with running(greet, protocol, header_timeout=1.5) as service:
        connection = service.connect(EARLY)
        read_until(connection, b"hello /early")
        for _ in range(7):
            time.sleep(0.4)
            connection.sendall(b"x")
        connection.sendall(get("/next", "Connection: close"))
        assert read(connection).endswith(b"hello /next")


def test_an_idle_connection_outlasts_the_time_of_a_head(protocol: type[Connection]) -> None:
    with running(greet, protocol, header_timeout=0.5) as service:
        connection = service.connect(get("/first"))
        read_until(connection, b"hello /first")
        time.sleep(1.5)  # longer than a head may take, not longer than a connection may idle
        connection.sendall(get("/next", "Connection: close"))
        assert read(connection).endswith(b"hello /next")


@pytest.mark.parametrize("sig", [signal.SIGTERM, signal.SIGINT])
def test_an_idle_connection_is_closed_at_the_end(
    protocol: type[Connection], sig: signal.Signals
) -> None:
    with running(greet, protocol) as service:
        idle = service.connect(get())
        read_until(idle, b"hello")
        service.end(sig)
        assert service.wait() < 2
        assert read(idle) == b""


def test_what_is_pipelined_is_answered_to_the_last(protocol: type[Connection]) -> None:
    with running(greet, protocol) as service:
        connection = service.connect(b"".join(get(f"/{number}") for number in range(50)))
        service.end()
        answers = read(connection)
        assert answers.count(b"HTTP/1.1 ") == 50
        assert answers.count(b"HTTP/1.1 200") + answers.count(b"HTTP/1.1 503") == 50


def test_a_connection_made_before_the_end_may_still_ask(protocol: type[Connection]) -> None:
    with running(greet, protocol) as service:
        service.end()
        time.sleep(0.8)
        connection = service.connect()
        time.sleep(0.5)  # nobody listens any more
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", service.port), timeout=5)
        connection.sendall(get("/late"))
        answer = read(connection)
        assert answer.startswith(b"HTTP/1.1 503")
        assert b'"draining"' in answer
