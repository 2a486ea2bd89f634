"""The end of a server: what it finishes, what it refuses, and by when it has gone."""

import asyncio
import signal
import time

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import Receive, Scope, Send

from tests.server_thread import get, read, running


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Wait or answer much, as the path says."""
    request = Request(scope, receive)
    size = len(await request.body())
    kind, _, amount = scope["path"][1:].partition("/")
    if kind == "wait":
        await asyncio.sleep(float(amount))
    much = b"x" * int(amount) if kind == "much" else f"{kind} {size}".encode()
    await Response(much)(scope, receive, send)


def test_after_sigterm_it_listens_on_and_refuses_then_ends() -> None:
    with running(app) as service:
        service.end()
        for path in ("/ready", "/classify"):
            answer = service.ask(path)
            assert answer.startswith(b"HTTP/1.1 503")
            assert b'"draining"' in answer
            assert b"retry-after: 1\r\n" in answer
            assert b"connection: close\r\n" in answer
        for path in ("/", "/health", "/metrics"):
            assert service.ask(path).startswith(b"HTTP/1.1 200")
        assert service.wait() < 3


def test_after_ctrl_c_it_does_not_wait_for_new_clients() -> None:
    with running(app) as service:
        service.end(signal.SIGINT)
        assert service.wait() < 1


def test_what_is_in_flight_is_finished_and_the_connection_let_go() -> None:
    with running(app) as service:
        connection = service.connect(get("/wait/2"))
        time.sleep(0.2)
        service.end()
        answer = read(connection)
        assert answer.startswith(b"HTTP/1.1 200")
        assert b"connection: close\r\n" in answer
        assert service.wait() < 1


def test_a_body_that_is_half_there_is_waited_for() -> None:
    head = b"POST /half HTTP/1.1\r\nHost: here\r\nContent-Length: 10\r\n\r\n"
    with running(app) as service:
        connection = service.connect(head, b"12345")
        time.sleep(0.2)
        service.end()
        time.sleep(1.5)
        connection.sendall(b"67890")
        assert read(connection).endswith(b"half 10")


def test_an_upload_that_comes_too_late_is_read_and_refused() -> None:
    body = b"x" * 3_000_000
    head = f"POST /late HTTP/1.1\r\nHost: here\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    with running(app) as service:
        service.end()
        connection = service.connect(head, body)  # a reset would break this pipe
        assert read(connection).startswith(b"HTTP/1.1 503")


def test_a_client_that_asks_before_it_sends_is_refused_at_once() -> None:
    headers = b"Content-Length: 9\r\nExpect: 100-continue\r\n\r\n"
    with running(app) as service:
        service.end()
        connection = service.connect(b"POST /late HTTP/1.1\r\nHost: here\r\n", headers)
        assert read(connection).startswith(b"HTTP/1.1 503")
        assert service.wait() < 3


def test_a_slow_reader_gets_all_of_its_answer() -> None:
    with running(app) as service:
        connection = service.connect(get("/much/8000000"))
        time.sleep(0.2)
        service.end()
        received = 0
        for _ in range(6):
            received += len(connection.recv(100_000))
            time.sleep(0.2)
        assert received + len(read(connection)) > 8_000_000


def test_what_never_ends_is_refused_in_time() -> None:
    with running(app) as service:
        endless = service.connect(get("/wait/60"))
        stalled = service.connect(b"POST / HTTP/1.1\r\nHost: here\r\nContent-Length: 9\r\n\r\nhalf")
        deaf = service.connect(get("/much/50000000"))
        time.sleep(0.2)
        started = time.monotonic()
        service.end()
        for connection in (endless, stalled):
            answer = read(connection)
            assert answer.startswith(b"HTTP/1.1 503")
            assert b'"draining"' in answer
        service.wait()
        assert time.monotonic() - started < 8
        deaf.close()


def test_the_flag_is_up_even_while_the_loop_is_busy() -> None:
    seen = []

    async def busy(scope: Scope, receive: Receive, send: Send) -> None:
        for _ in range(2):
            time.sleep(0.3)  # noqa: ASYNC251  # the loop stands still
            seen.append(service.server.server_state.drain.draining)
        await PlainTextResponse("done")(scope, receive, send)

    with running(busy) as service:
        connection = service.connect(get("/busy"))
        time.sleep(0.45)
        service.end()
        assert read(connection).startswith(b"HTTP/1.1 200")
    assert seen == [False, True]
