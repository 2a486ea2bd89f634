"""Requests in the bytes of a connection: refused, upgraded, chunked and pipelined ones."""

import asyncio
import json
from typing import Any

import pytest

from backend.api.body import BODY_RECEIVED
from backend.server import heads
from backend.server.bodies import LengthBody
from backend.server.connections import Connection
from backend.server.heads import MAX_HEAD_BYTES, Head
from backend.server.protocols import DefaultConnection, H11Connection
from tests.server.fake_connection import (
    FakeServer,
    FakeTransport,
    RecordingApp,
    run_callbacks,
    wait_until,
)
from tests.server_thread import get_request, run_server

pytestmark = pytest.mark.anyio
PROTOCOLS = sorted({DefaultConnection, H11Connection}, key=lambda protocol: protocol.__name__)
POST = b"POST / HTTP/1.1\r\nHost: localhost\r\n"


@pytest.fixture(params=PROTOCOLS)
def protocol(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture
async def app() -> RecordingApp:
    return RecordingApp()


@pytest.fixture
async def server(protocol: type[Connection], app: RecordingApp) -> FakeServer:
    return FakeServer(protocol, app)


def problem_in(transport: FakeTransport) -> dict[str, Any]:
    """Return the only response, which must be a problem."""
    head, _, body = transport.written.partition(b"\r\n\r\n")
    headers = dict(line.split(b": ", 1) for line in head.split(b"\r\n")[1:])
    assert headers[b"content-type"] == b"application/problem+json"
    assert headers[b"connection"] == b"close"
    problem: dict[str, Any] = json.loads(body)
    assert head.startswith(f"HTTP/1.1 {problem['status']} ".encode())
    assert problem["request_id"] == headers[b"x-request-id"].decode()
    return problem


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"GET / HTTP/1.1\r\nX: " + b"y" * 2 * MAX_HEAD_BYTES, "head_too_large"),
        (b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 200 + b"\r\n", "head_too_large"),
        (b"GET /" + b"x" * 10_000, "target_too_long"),
        (b"GET / HTTP/1.1\r\n\r\n", "malformed_request"),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n", "malformed_request"),
        (b"GET / HTTP/2.0\r\nHost: localhost\r\n\r\n", "malformed_request"),
        (get_request("/", "X : y"), "malformed_request"),
        (get_request("/", "no colon"), "malformed_request"),
        (POST + b"Content-Length: 1\r\nContent-Length: 1\r\n\r\nx", "malformed_request"),
    ],
)
async def test_wrong_head_gets_a_problem_and_does_not_reach_the_application(
    server: FakeServer,
    app: RecordingApp,
    caplog: pytest.LogCaptureFixture,
    data: bytes,
    code: str,
) -> None:
    for start in ([], [get_request("/first")]):
        connection, transport = server.connect(*start)
        await run_callbacks()
        transport.written = b""
        connection.data_received(data)
        await run_callbacks()
        assert problem_in(transport)["code"] == code
        assert set(app.paths) <= {"/first"}
    warnings = [record for record in caplog.records if record.levelname != "INFO"]
    assert not warnings  # the server counts refusals in one line a second


async def test_wrong_pipelined_head_is_refused_after_the_response(
    server: FakeServer, app: RecordingApp
) -> None:
    app.gate.clear()
    _, transport = server.connect(get_request("/first") + b"GET /" + b"x" * 10_000)
    await run_callbacks()
    assert not transport.written
    app.gate.set()
    await run_callbacks()
    assert transport.written.index(b"hello") < transport.written.index(b"target_too_long")


async def test_wrong_chunk_gets_a_problem_and_ends_the_request(
    server: FakeServer, app: RecordingApp
) -> None:
    chunked = POST + b"Transfer-Encoding: chunked\r\n\r\n"
    for data in (b"xyz\r\n", b"1;" + b"x" * 1000, b"1\r\nxyz", b"0\r\n" + b"X: y\r\n" * 2000):
        connection, transport = server.connect(chunked + b"2\r\nab\r\n")
        await run_callbacks()
        connection.data_received(data)
        await run_callbacks()
        assert problem_in(transport)["code"] in ("malformed_request", "head_too_large")
        assert app.messages[-1] == "http.disconnect"


async def test_data_after_a_refusal_is_dropped_until_the_client_closes(server: FakeServer) -> None:
    connection, transport = server.connect(b"GET / HTTP/2.0\r\n")
    response = transport.written
    for _ in range(10):
        connection.data_received(b"x" * 100_000)
        connection.data_received(get_request())
    await run_callbacks()
    assert transport.written == response
    assert not transport.is_paused
    assert not transport.is_closing()
    connection.close_if_late(asyncio.get_running_loop().time() + 6)
    assert transport.was_aborted


async def test_refusal_resumes_reading_so_that_the_client_can_finish(server: FakeServer) -> None:
    chunk = b"11170\r\n" + b"x" * 0x11170 + b"\r\n"  # above uvicorn's limit for reading
    _, transport = server.connect(
        POST + b"Transfer-Encoding: chunked\r\n\r\n" + chunk + b"1\r\nxyz"
    )
    await run_callbacks()
    assert problem_in(transport)["code"] == "malformed_request"
    assert not transport.is_paused


@pytest.mark.parametrize("size", [70_000, 30_000_000])
def test_client_that_is_still_sending_a_head_can_read_the_refusal(
    protocol: type[Connection], size: int
) -> None:
    with run_server(RecordingApp(), protocol) as server:
        connection = server.connect(b"GET / HTTP/1.1\r\nX: ", b"y" * size)
        connection.sendall(b"\r\n\r\n")
        assert b'"head_too_large"' in connection.recv(65_536)
        connection.close()


async def test_parser_gets_no_part_of_an_incomplete_head(
    server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection, _ = server.connect()
    monkeypatch.setattr(connection, "_feed", lambda data: pytest.fail("fed"))
    for byte in get_request("/", "X: y")[:-1]:
        connection.data_received(bytes([byte]))


@pytest.mark.parametrize("upgrade", ["h2c", "websocket", "TLS/1.0", "unknown"])
@pytest.mark.parametrize("step", [1000, 1])
async def test_upgrade_is_ignored_and_the_body_is_received(
    server: FakeServer, app: RecordingApp, upgrade: str, step: int
) -> None:
    data = (
        POST + b"Connection: Upgrade, HTTP2-Settings\r\nContent-Length: 5\r\n"
        b"HTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABkAAQBAAAAAAUAAEAA\r\n"
        b"Upgrade: " + upgrade.encode() + b"\r\nUser-Agent: Java-http-client/21\r\n\r\nhello"
    )
    connection, transport = server.connect()
    for start in range(0, len(data), step):
        connection.data_received(data[start : start + step])
    await run_callbacks()
    connection.data_received(get_request("/next"))
    await run_callbacks()
    assert app.bodies == [b"hello", b""]
    assert transport.written.count(b"HTTP/1.1 200") == 2


@pytest.mark.parametrize("step", [1, 5, 1000])
async def test_pipelined_requests_are_separated(
    server: FakeServer, app: RecordingApp, step: int
) -> None:
    chunked = b"5;a=b\r\nhello\r\n1\r\n!\r\n0\r\nX-Trailer: y\r\n\r\n"
    requests = (
        POST + b"Content-Length: 5\r\n\r\nfirst",
        b"\r\n" + POST + b"Transfer-Encoding: chunked\r\n\r\n" + chunked,
        POST + b"Content-Length: 0\r\n\r\n",
        POST + b"Transfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * 600 + b"0\r\n\r\n",
        get_request("/last"),
    )
    data = b"".join(requests)
    connection, transport = server.connect()
    for start in range(0, len(data), step):
        connection.data_received(data[start : start + step])
        await wait_until(lambda: not transport.is_paused)
    await run_callbacks(100)
    assert app.bodies == [b"first", b"hello!", b"", b"x" * 600, b""]
    assert app.paths[-1] == "/last"
    assert transport.written.count(b"HTTP/1.1 200") == 5


@pytest.mark.parametrize("length", [0, 3, 12])
async def test_request_whose_length_the_parser_reads_differently_is_refused(
    server: FakeServer, app: RecordingApp, monkeypatch: pytest.MonkeyPatch, length: int
) -> None:
    data = POST + b"Content-Length: 5\r\n\r\n"
    head = Head(data, LengthBody(length) if length else None, is_probe=False)
    monkeypatch.setattr(heads, "parse_head", lambda _: head)
    app.gate.clear()
    connection, transport = server.connect(data)
    connection.data_received(b"helloGET ")
    await run_callbacks()
    assert problem_in(transport)["code"] == "malformed_request"
    assert len(app.paths) <= 1


async def test_trailers_are_not_headers(server: FakeServer, app: RecordingApp) -> None:
    server.connect(
        POST + b"Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\nAuthorization: key\r\n\r\n"
    )
    await run_callbacks()
    assert [name for name, _ in app.scopes[0]["headers"]] == [b"host", b"transfer-encoding"]


async def test_next_request_waits_for_the_response_and_reading_stops(
    server: FakeServer, app: RecordingApp
) -> None:
    app.gate.clear()
    _, transport = server.connect(get_request("/1") * 1000)
    await run_callbacks()
    assert len(app.paths) == 1
    assert transport.is_paused
    app.gate.set()
    await wait_until(lambda: len(app.paths) == 1000)
    await run_callbacks()
    assert not transport.is_paused


async def test_next_request_waits_while_the_client_does_not_read(
    server: FakeServer, app: RecordingApp
) -> None:
    connection, transport = server.connect()
    transport.is_stalled = True
    connection.pause_writing()  # as the transport does above its limit
    connection.data_received(get_request() * 2)
    await run_callbacks()
    assert not app.paths
    assert transport.is_paused
    assert not connection.timeout_keep_alive_task
    connection.resume_writing()
    await run_callbacks()
    assert len(app.paths) == 2


async def test_connection_with_an_unread_response_and_another_request_is_not_idle(
    server: FakeServer, app: RecordingApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection, transport = server.connect()

    def write(data: bytes) -> None:
        if b"hello" in data:
            connection.pause_writing()  # as the transport does above its limit

    monkeypatch.setattr(transport, "write", write)
    connection.data_received(get_request() * 2)
    await run_callbacks()
    assert len(app.paths) == 1
    assert not connection.timeout_keep_alive_task  # it would close the connection
    connection.resume_writing()
    await run_callbacks()
    assert len(app.paths) == 2


async def test_pipelining_connection_does_not_delay_others(
    server: FakeServer, app: RecordingApp
) -> None:
    server.connect(get_request("/many") * 1000)
    server.connect(get_request("/other"))
    await run_callbacks(100)
    assert app.paths.index("/other") <= 2
    assert app.paths.count("/many") > 5


async def test_small_chunks_do_not_delay_others(server: FakeServer, app: RecordingApp) -> None:
    _, transport = server.connect(POST + b"Transfer-Encoding: chunked\r\n\r\n")
    connection, transport = server.connect(POST + b"Transfer-Encoding: chunked\r\n\r\n")
    await run_callbacks()
    connection.data_received(b"1\r\nx\r\n" * 10_000)
    assert transport.is_paused
    server.connect(get_request("/other"))
    await run_callbacks(3)
    assert "/other" in app.paths
    assert transport.is_paused


async def test_pipelined_requests_that_arrived_before_the_shutdown_are_accepted(
    server: FakeServer, app: RecordingApp
) -> None:
    app.gate.clear()
    connection, _ = server.connect(get_request("/1") + get_request("/2"))
    await run_callbacks()
    server.shared.drain_state.start()
    app.gate.set()
    await run_callbacks()
    connection.data_received(get_request("/3"))
    await run_callbacks()
    assert [scope["state"]["accepted"] for scope in app.scopes] == [True, True, False]


async def test_body_of_a_refused_request_is_not_parsed(
    protocol: type[Connection], app: RecordingApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection, transport = FakeServer(protocol, app).connect()
    fed: list[int] = []
    feed = connection._feed

    def record(data: bytes) -> None:
        fed.append(len(data))
        feed(data)

    monkeypatch.setattr(connection, "_feed", record)
    head = b"POST /early HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\n"
    connection.data_received(head + b"x" * 60_000)
    await run_callbacks()
    assert transport.written.count(b"HTTP/1.1 200") == 1
    connection.data_received(b"x" * 40_000 + get_request("/next"))
    await run_callbacks()
    assert app.paths == ["/early", "/next"]
    assert transport.written.count(b"HTTP/1.1 200") == 2
    if protocol is not H11Connection:
        assert sum(fed) < 1_000


async def test_whole_body_is_marked_as_received(server: FakeServer, app: RecordingApp) -> None:
    app.gate.clear()
    head = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\n"
    connection, _ = server.connect(head, b"hel")
    assert BODY_RECEIVED not in connection.scope["state"]
    connection.data_received(b"lo")
    assert BODY_RECEIVED in connection.scope["state"]
    app.gate.set()
    await run_callbacks()
    assert app.bodies == [b"hello"]
