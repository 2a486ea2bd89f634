"""Connections without sockets: a test decides when data arrives and what time it is."""

import asyncio
from collections.abc import Callable
from typing import Any

import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send

from backend.api.middleware.draining import DrainState
from backend.server.connection_limits import ConnectionLimits
from backend.server.connections import Connection
from backend.server.request_stream import SharedState


class FakeTransport(asyncio.Transport):
    """A transport that records what is written; the peer reads nothing if `is_stalled`."""

    def __init__(self, address: str = "127.0.0.1") -> None:
        super().__init__({"peername": (address, 1)})
        self.written = b""
        self.unsent = 0
        self.is_stalled = False
        self.is_paused = False
        self.was_aborted = False
        self._is_closing = False

    def write(self, data: bytes) -> None:  # type: ignore[override]
        if self.is_stalled:
            self.unsent += len(data)
        else:
            self.written += data

    def write_eof(self) -> None:
        """Do nothing."""

    def get_write_buffer_size(self) -> int:
        return self.unsent

    def pause_reading(self) -> None:
        self.is_paused = True

    def resume_reading(self) -> None:
        self.is_paused = False

    def close(self) -> None:
        self._is_closing = True

    def abort(self) -> None:
        self.was_aborted = self._is_closing = True

    def is_closing(self) -> bool:
        return self._is_closing


class RecordingApp:
    """An application that records its requests and responds once `gate` is set."""

    def __init__(self) -> None:
        self.paths: list[str] = []
        self.scopes: list[Scope] = []
        self.bodies: list[bytes] = []
        self.messages: list[str] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.content = b"hello"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.paths.append(scope["path"])
        self.scopes.append(scope)
        body, has_more = b"", scope["path"] != "/early"
        while has_more:
            message = await receive()
            self.messages.append(message["type"])
            body += message.get("body", b"")
            has_more = message.get("more_body", False)
        self.bodies.append(body)
        await self.gate.wait()
        length = str(len(self.content)).encode()
        headers = [(b"content-length", length)]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": self.content})


class FakeServer:
    """Makes connections of one protocol that share their limits."""

    def __init__(
        self,
        protocol: type[Connection],
        app: ASGIApp,
        limits: ConnectionLimits | None = None,
    ) -> None:
        config = uvicorn.Config(app, http=protocol, lifespan="off", log_config=None)
        limits = limits or ConnectionLimits(1000, 256)
        self.shared = SharedState(DrainState(), limits, 10, 30)
        self._create: Callable[[], Any] = lambda: protocol(config, self.shared, {})

    def connect(self, *chunks: bytes, address: str = "127.0.0.1") -> tuple[Any, FakeTransport]:
        """Return a new connection that has received `chunks`, and its transport."""
        connection, transport = self._create(), FakeTransport(address)
        connection.connection_made(transport)
        for chunk in chunks:
            connection.data_received(chunk)
        return connection, transport


async def run_callbacks(rounds: int = 30) -> None:
    """Let the tasks and callbacks of the loop run."""
    for _ in range(rounds):
        await asyncio.sleep(0)


async def wait_until(condition: Callable[[], bool]) -> None:
    """Let the callbacks of the loop run until `condition()` holds."""
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0)
