"""Connections: their limit, the header timeout, and how they close."""

import http.client
import json
import signal
import socket
import time
from typing import Any

import pytest
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from backend.server.connections import Connection
from backend.server.protocols import DefaultConnection, H11Connection
from tests.server_thread import get_request, read_all, read_until, run_server

PROTOCOLS = sorted({DefaultConnection, H11Connection}, key=lambda protocol: protocol.__name__)


async def greet(scope: Scope, receive: Receive, send: Send) -> None:
    while scope["path"] != "/early" and (await receive()).get("more_body"):
        pass
    await PlainTextResponse(f"hello {scope['path']}")(scope, receive, send)


@pytest.fixture(params=PROTOCOLS)
def protocol(request: pytest.FixtureRequest) -> Any:
    return request.param


def test_connection_over_limit_gets_503_and_others_stay_open(protocol: type[Connection]) -> None:
    with run_server(greet, protocol, max_connections=3) as server:
        connections = [http.client.HTTPConnection("127.0.0.1", server.port) for _ in range(3)]
        for connection in connections:
            connection.request("GET", "/health")
            assert connection.getresponse().read() == b"hello /health"
        for _ in range(5):
            extra = http.client.HTTPConnection("127.0.0.1", server.port)
            extra.request("POST", "/classify", body=b"x" * 1_000_000)
            response = extra.getresponse()
            assert response.status == 503
            assert response.getheader("Retry-After") == "1"
            assert response.getheader("Connection") == "close"
            assert response.getheader("Content-Type") == "application/problem+json"
            problem = json.loads(response.read())
            assert problem["code"] == "too_many_connections"
            assert problem["request_id"] == response.getheader("X-Request-ID")
            extra.close()
        for connection in connections:
            connection.request("GET", "/health")
            assert connection.getresponse().read() == b"hello /health"
        connections[0].close()
        end = time.monotonic() + 5
        while b"hello" not in server.get("/again"):
            assert time.monotonic() < end
        for connection in connections:
            connection.close()


def test_silent_connection_over_limit_gets_503_and_is_closed() -> None:
    with (
        run_server(greet, max_connections=1) as server,
        server.connect(),
        server.connect() as silent,
    ):
        assert b"too_many_connections" in read_all(silent)


def test_incomplete_head_closes_connection_after_header_timeout(protocol: type[Connection]) -> None:
    with run_server(greet, protocol, header_timeout=0.5) as server:
        silent = server.connect()
        incomplete = server.connect(b"GET / HTTP/1.1\r\nHost: he")
        second = server.connect(get_request("/first"))
        read_until(second, b"hello /first")
        second.sendall(b"GET /second HTT")
        for connection in (silent, incomplete, second):
            assert read_all(connection) == b""


def test_slow_body_is_not_subject_to_header_timeout(protocol: type[Connection]) -> None:
    with run_server(greet, protocol, header_timeout=0.2) as server:
        head = (
            b"POST /slow HTTP/1.1\r\nHost: localhost\r\n"
            b"Connection: close\r\nContent-Length: 5\r\n\r\n"
        )
        connection = server.connect(head)
        for _ in range(5):
            time.sleep(0.4)
            connection.sendall(b"x")
        assert read_all(connection).endswith(b"hello /slow")


EARLY = b"POST /early HTTP/1.1\r\nHost: localhost\r\nContent-Length: 7\r\n\r\n"


@pytest.mark.parametrize(
    ("request_", "stray"),
    [(get_request("/first"), b"\r\n"), (get_request("/first"), b"\r"), (EARLY, b"x")],
)
def test_stray_bytes_after_response_do_not_keep_connection_open(
    protocol: type[Connection], request_: bytes, stray: bytes
) -> None:
    with run_server(greet, protocol, header_timeout=0.5) as server:
        connection = server.connect(request_)
        read_until(connection, b"hello")
        connection.sendall(stray)
        assert b"hello" not in read_all(connection)


def test_slow_body_after_early_response_keeps_connection_open(protocol: type[Connection]) -> None:
    with run_server(greet, protocol, header_timeout=1.5) as server:
        connection = server.connect(EARLY)
        read_until(connection, b"hello /early")
        for _ in range(7):
            time.sleep(0.4)
            connection.sendall(b"x")
        connection.sendall(get_request("/next", "Connection: close"))
        assert read_all(connection).endswith(b"hello /next")


def test_idle_connection_outlasts_header_timeout(protocol: type[Connection]) -> None:
    with run_server(greet, protocol, header_timeout=0.5) as server:
        connection = server.connect(get_request("/first"))
        read_until(connection, b"hello /first")
        time.sleep(1.5)  # longer than the header timeout, shorter than the keep-alive timeout
        connection.sendall(get_request("/next", "Connection: close"))
        assert read_all(connection).endswith(b"hello /next")


@pytest.mark.parametrize("sig", [signal.SIGTERM, signal.SIGINT])
def test_idle_connection_is_closed_on_shutdown(
    protocol: type[Connection], sig: signal.Signals
) -> None:
    with run_server(greet, protocol) as server:
        idle = server.connect(get_request())
        read_until(idle, b"hello")
        server.send_signal(sig)
        assert server.wait() < 5
        assert read_all(idle) == b""


def test_all_pipelined_requests_get_a_response_during_shutdown(protocol: type[Connection]) -> None:
    with run_server(greet, protocol) as server:
        connection = server.connect(b"".join(get_request(f"/{number}") for number in range(50)))
        server.send_signal()
        responses = read_all(connection)
        assert responses.count(b"HTTP/1.1 ") == 50
        assert responses.count(b"HTTP/1.1 200") + responses.count(b"HTTP/1.1 503") == 50


def test_connection_opened_while_listening_gets_503_after_listener_is_closed(
    protocol: type[Connection],
) -> None:
    with run_server(greet, protocol) as server:
        server.send_signal()
        time.sleep(0.8)
        connection = server.connect()
        time.sleep(0.5)  # the listener is closed now
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", server.port), timeout=5)
        connection.sendall(get_request("/late"))
        response = read_all(connection)
        assert response.startswith(b"HTTP/1.1 503")
        assert b'"draining"' in response
