"""Slow clients: their time-outs, and their slots, which others get at the connection limit."""

import asyncio
import math
import socket
import time
from contextlib import suppress
from typing import Any

import pytest

from backend.server import connections
from backend.server.connection_limits import ConnectionLimits
from backend.server.connections import BODY_GRACE, Connection
from backend.server.protocols import DefaultConnection, H11Connection
from backend.server.request_stream import MIN_BODY_RATE
from backend.server.tcp import (
    MAX_UNSENT_BYTES,
    acknowledged_bytes,
    borrow_socket,
    discard_received,
    limit_unsent_bytes,
)
from tests.server.fake_connection import FakeServer, RecordingApp, run_callbacks
from tests.server_thread import get_request, read_all, run_server

pytestmark = pytest.mark.anyio
PROTOCOLS = sorted({DefaultConnection, H11Connection}, key=lambda protocol: protocol.__name__)
POST = b"POST /slow HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\n"
EARLY = POST.replace(b"/slow", b"/early")


@pytest.fixture(params=PROTOCOLS)
def protocol(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture
async def app() -> RecordingApp:
    return RecordingApp()


@pytest.fixture
async def server(protocol: type[Connection], app: RecordingApp) -> FakeServer:
    return FakeServer(protocol, app)


def now() -> float:
    return asyncio.get_running_loop().time()


@pytest.mark.parametrize(
    "data", [b"", b"\r\n" * 100, b"GET / HTTP/1.1\r\nX: y", get_request()[:-1]]
)
async def test_incomplete_head_is_closed_although_data_arrives(
    server: FakeServer, data: bytes
) -> None:
    connection, transport = server.connect()
    connection.data_received(data)
    connection.close_if_late(now() + 9)
    assert not transport.is_closing()
    connection.close_if_late(now() + 11)
    assert transport.is_closing()


class Clock:
    """Replaces the time of the loop."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.seconds = now()
        monkeypatch.setattr(asyncio.get_running_loop(), "time", lambda: self.seconds)


async def test_slow_body_gets_408_and_ends_the_request(
    server: FakeServer, app: RecordingApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock(monkeypatch)
    connection, transport = server.connect(POST)
    for second in range(15):
        connection.data_received(b"x")
        connection.close_if_late(now())
        await run_callbacks()
        clock.seconds += 1
        assert (b"body_timeout" in transport.written) == (second > BODY_GRACE)
    assert transport.written.startswith(b"HTTP/1.1 408 ")
    assert app.messages[-1] == "http.disconnect"


async def test_body_at_the_minimum_rate_is_accepted(
    server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock(monkeypatch)
    connection, transport = server.connect(POST)
    for _ in range(100):
        connection.data_received(b"x" * MIN_BODY_RATE)
        clock.seconds += 1
        connection.close_if_late(now())
        await run_callbacks()
    assert not transport.written
    connection.close_if_late(now() + BODY_GRACE)
    assert transport.written.startswith(b"HTTP/1.1 408 ")


async def test_fast_start_gives_a_body_no_longer_grace(server: FakeServer) -> None:
    connection, transport = server.connect(POST + b"x" * 60_000)
    await run_callbacks()
    connection.close_if_late(now() + BODY_GRACE + 1)
    assert transport.written.startswith(b"HTTP/1.1 408 ")


async def test_body_that_the_application_does_not_read_yet_is_not_slow(
    server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock(monkeypatch)
    connection, transport = server.connect(POST)
    connection.data_received(b"x" * 70_000)
    clock.seconds += 60
    connection.close_if_late(now())
    assert not transport.written
    await run_callbacks()
    assert not transport.is_paused
    connection.close_if_late(now() + BODY_GRACE - 1)
    assert not transport.written


async def test_client_that_waits_for_100_continue_is_not_slow(protocol: type[Connection]) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await asyncio.sleep(3600)

    connection, transport = FakeServer(protocol, app).connect(
        POST[:-2] + b"Expect: 100-continue\r\n\r\n"
    )
    await run_callbacks()
    connection.close_if_late(now() + 60)
    assert not transport.written
    assert not transport.is_closing()


async def test_rest_of_a_body_after_the_response_is_limited_in_time(
    server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection, transport = server.connect(EARLY)
    await run_callbacks()
    response, clock = transport.written, Clock(monkeypatch)
    for _ in range(15):
        assert not transport.is_closing()
        connection.data_received(b"x" * 3000)
        clock.seconds += 2
        connection.close_if_late(now())
    assert transport.is_closing()
    assert transport.written == response


async def test_response_that_nobody_reads_is_cut_off(server: FakeServer) -> None:
    connection, transport = server.connect()
    transport.is_stalled = True
    connection.data_received(get_request())
    await run_callbacks()
    connection.close_if_late(now())
    connection.close_if_late(now() + 29)
    assert not transport.is_closing()
    connection.close_if_late(now() + 31)
    assert transport.was_aborted


async def test_closing_connection_that_nobody_reads_is_cut_off(server: FakeServer) -> None:
    connection, transport = server.connect()
    transport.is_stalled = True
    connection.data_received(get_request())
    await run_callbacks()
    transport.close()
    connection.close_if_late(now())
    connection.close_if_late(now() + 31)
    assert transport.was_aborted


@pytest.mark.parametrize("shows_progress_by", ["transport", "kernel"])
async def test_response_that_is_read_slowly_is_not_cut_off(
    server: FakeServer, monkeypatch: pytest.MonkeyPatch, shows_progress_by: str
) -> None:
    connection, transport = server.connect()
    transport.is_stalled = True
    connection.data_received(get_request())
    await run_callbacks()
    for step in range(10):
        if shows_progress_by == "transport":
            transport.unsent -= 1
        else:
            monkeypatch.setattr(connections, "acknowledged_bytes", lambda _, step=step: step)
        connection.close_if_late(now() + 25 * step)
    assert not transport.is_closing()
    connection.close_if_late(now() + 25 * step + 31)
    assert transport.was_aborted


async def test_slow_application_is_not_cut_off(server: FakeServer, app: RecordingApp) -> None:
    app.gate.clear()
    connection, transport = server.connect(get_request())
    await run_callbacks()
    connection.close_if_late(now() + 3600)
    assert connection.waiting_seconds(now()) is None
    assert not transport.is_closing()


@pytest.mark.parametrize("path", ["/health", "/ready"])
async def test_probe_above_the_limit_is_answered_and_closed(
    protocol: type[Connection], app: RecordingApp, path: str
) -> None:
    server = FakeServer(protocol, app, ConnectionLimits(1, 2))
    server.connect(get_request("/first"))
    connection, transport = server.connect()
    for byte in get_request(path):
        connection.data_received(bytes([byte]))
    await run_callbacks()
    assert transport.written.startswith(b"HTTP/1.1 200 ")
    assert transport.is_closing()
    connection.connection_lost(None)
    _, transport = server.connect(get_request("/models"))
    await run_callbacks()
    assert b'"too_many_connections"' in transport.written
    assert b"\r\nretry-after: 1\r\n" in transport.written


async def test_silent_connection_above_the_limit_is_refused(
    protocol: type[Connection], app: RecordingApp
) -> None:
    server = FakeServer(protocol, app, ConnectionLimits(1, 2))
    server.connect(get_request("/first"))
    connection, transport = server.connect()
    connection.close_if_late(now() + 1.1)
    assert b'"too_many_connections"' in transport.written


@pytest.mark.parametrize(
    ("data", "response"),
    [
        (b"", b"503"),
        (b"GET / HTTP/1.1\r\n", b"503"),
        (POST, b"503"),
        (get_request(), b"200"),
        (b"GET / HTTP/2.0\r\n", b"400"),
    ],
)
async def test_waiting_connection_is_replaced_with_a_response(
    protocol: type[Connection], app: RecordingApp, data: bytes, response: bytes
) -> None:
    server = FakeServer(protocol, app, ConnectionLimits(2, 2))
    victims = [server.connect(*([data] if data else []), address="10.0.0.1") for _ in range(2)]
    await run_callbacks()
    _, transport = server.connect(get_request("/other"), address="10.0.0.2")
    await run_callbacks()
    assert transport.written.startswith(b"HTTP/1.1 200 ")
    closed = [transport for _, transport in victims if transport.is_closing()]
    assert len(closed) == 1
    assert closed[0].written.startswith(b"HTTP/1.1 " + response)
    assert closed[0].written.count(b"\r\n\r\n") == 1


async def test_connection_with_an_unread_part_of_a_response_is_replaced(
    protocol: type[Connection], app: RecordingApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = FakeServer(protocol, app, ConnectionLimits(2, 2))
    victims = [server.connect(address="10.0.0.1") for _ in range(2)]
    for connection, transport in victims:
        transport.is_stalled = True
        transport.unsent = 1
        monkeypatch.setattr(transport, "write", lambda _, it=connection: it.pause_writing())
        connection.data_received(get_request())
    await run_callbacks()
    assert not any(connection.cycle.response_complete for connection, _ in victims)
    server.connect(get_request("/other"), address="10.0.0.2")
    assert [transport.was_aborted for _, transport in victims].count(True) == 1


def test_replaced_connection_is_not_reset_although_it_sent_data() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname(), timeout=10)
        accepted, _ = listener.accept()
        with client:
            client.sendall(b"x" * 1000)
            accepted.sendall(b"response")
            discard_received(accepted.fileno())
            accepted.close()
            assert read_all(client) == b"response"


async def test_replaced_connection_discards_what_arrived(
    server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    discarded: list[int] = []
    monkeypatch.setattr(connections, "discard_received", discarded.append)
    for data in (b"GET / HTTP/1.1\r\n", get_request()):
        connection, _ = server.connect(data)
        await run_callbacks()
        connection.evict()
    assert len(discarded) == 2


async def test_refused_connection_is_replaced_before_others(server: FakeServer) -> None:
    connection, _ = server.connect(b"GET / HTTP/2.0\r\n")
    assert connection.waiting_seconds(now()) == math.inf


async def test_working_connection_is_not_replaced(
    protocol: type[Connection], app: RecordingApp
) -> None:
    server = FakeServer(protocol, app, ConnectionLimits(2, 2))
    app.gate.clear()
    working = [server.connect(get_request("/work"), address="10.0.0.1") for _ in range(2)]
    await run_callbacks()
    _, transport = server.connect(get_request("/other"), address="10.0.0.2")
    assert b'"too_many_connections"' in transport.written
    app.gate.set()
    await run_callbacks()
    assert all(b"HTTP/1.1 200" in transport.written for _, transport in working)


async def test_closed_connection_frees_its_slot(
    protocol: type[Connection], app: RecordingApp
) -> None:
    server = FakeServer(protocol, app, ConnectionLimits(1, 2))
    for _ in range(3):
        connection, transport = server.connect(get_request())
        await run_callbacks()
        assert transport.written.startswith(b"HTTP/1.1 200 ")
        connection.connection_lost(None)


def test_server_cuts_off_clients_that_never_read(protocol: type[Connection]) -> None:
    app = RecordingApp()
    app.content = b"x" * 4_000_000
    with run_server(app, protocol, write_timeout=0.5) as server:
        connection = server.connect(get_request() * 10)
        time.sleep(3.5)
        received = 0
        with suppress(ConnectionError):
            received = len(read_all(connection))
        assert received < 40_000_000


@pytest.mark.skipif(not hasattr(socket, "TCP_NOTSENT_LOWAT"), reason="not offered by the system")
def test_server_limits_the_unsent_bytes_of_its_connections() -> None:
    with run_server(RecordingApp()) as server:
        (listener,) = (sock.fileno() for one in server.server.servers for sock in one.sockets)
        with borrow_socket(listener) as sock:
            limit = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT)
    assert limit == MAX_UNSENT_BYTES


def test_kernel_holds_few_unsent_bytes_and_shows_what_was_received() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        limit_unsent_bytes(listener.fileno())
        client = socket.socket()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(listener.getsockname())
        accepted, _ = listener.accept()
        accepted.setblocking(False)
        sent = 0
        with client, accepted:
            before = acknowledged_bytes(accepted.fileno())
            with suppress(BlockingIOError):
                while True:
                    sent += accepted.send(b"x" * 65_536)
            assert sent < 2 * MAX_UNSENT_BYTES
            client.recv(65_536)
            assert acknowledged_bytes(accepted.fileno()) > before
    assert acknowledged_bytes(-1) == 0
