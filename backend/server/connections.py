"""HTTP connections: uvicorn's protocols with limits and a graceful close."""

import asyncio
import os
import select
import socket
import weakref
from contextlib import suppress
from typing import Any, Final

import h11
import orjson
from ulid import ULID
from uvicorn.config import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from backend.api.errors import PROBLEM_TYPE, problem
from backend.api.middleware.draining import ACCEPTED, CONNECTION, DrainState

_FIRST_REQUEST_SECONDS: Final = 1.0  # how long a new connection may stay silent while draining
_MAX_REJECTED: Final = 256  # rejected connections that get a 503; further ones are aborted


class SharedState(ServerState):
    """State that all connections of one server share."""

    def __init__(
        self, drain_state: DrainState, max_connections: int, header_timeout: float
    ) -> None:
        super().__init__()
        self.drain_state = drain_state
        self.max_connections = max_connections
        self.header_timeout = header_timeout
        self.rejected: set[RejectedConnection] = set()
        self.rejected_count = 0  # since the last log line


class Connection(asyncio.Protocol):
    """Mixin for uvicorn's protocols that tracks how much of a request has arrived.

    The subclass for each parser sets `_head_started_at` (when the incomplete head began; for a new
    connection, when it was made; None once the head is complete) and `_is_receiving_body`.
    """

    transport: asyncio.Transport
    loop: asyncio.AbstractEventLoop
    cycle: Any
    scope: Any
    connections: set[Any]
    server_state: Any
    timeout_keep_alive_task: asyncio.TimerHandle | None

    def __init__(
        self,
        config: Config,
        server_state: SharedState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        state = {**app_state, CONNECTION: weakref.ref(self)}
        super().__init__(config, server_state, state, _loop)  # type: ignore[call-arg]
        self._shared = server_state
        self._head_started_at: float | None = None
        self._is_receiving_body = False
        self._last_data_at = 0.0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Accept the connection, or reject it above the limit."""
        if len(self.connections) >= self._shared.max_connections:
            RejectedConnection(transport, self._shared, self.loop)
            return
        super().connection_made(transport)
        self._head_started_at = self.loop.time()

    def data_received(self, data: bytes) -> None:
        """Record the time and parse the data."""
        self._last_data_at = self.loop.time()
        super().data_received(data)

    def timeout_keep_alive_handler(self) -> None:
        """Close an idle connection unless a request is arriving."""
        if not self._has_unread_data():
            super().timeout_keep_alive_handler()  # type: ignore[misc]

    def has_received_head(self) -> bool:
        """Return whether the head of the latest request is complete."""
        return self._head_started_at is None

    def is_last_request(self) -> bool:
        """Return whether no data follows the current request."""
        has_more = (
            self._head_started_at is not None
            or self._is_receiving_body
            or getattr(self, "pipeline", None)
        )
        return not (has_more or self._has_unread_data())

    def close_if_stalled(self, now: float) -> None:
        """Close the connection if a head takes too long or no data follows stray bytes.

        Any bytes after a response (a bare line end, or the rest of a body that was answered early)
        cancel uvicorn's keep-alive timer, so such a connection would stay open forever.
        """
        if self._is_responding() or (
            self._head_started_at is None and self.timeout_keep_alive_task
        ):
            return
        since = self._last_data_at if self._head_started_at is None else self._head_started_at
        if now - since > self._shared.header_timeout:
            self.transport.close()

    def close_if_idle(self, now: float) -> None:
        """Close the connection if it is idle; called repeatedly while the server drains."""
        if self.transport.is_closing() or self._is_responding() or self._is_receiving_body:
            return
        if self.transport.get_write_buffer_size():
            return  # a slow reader has not received the whole response
        started_at = self._head_started_at
        if started_at is not None and now - started_at < _FIRST_REQUEST_SECONDS:
            return
        if not self._has_unread_data():
            _shutdown_write(self._descriptor())
            self.transport.close()

    def disable_keep_alive(self) -> None:
        """Close the connection after the current response."""
        if self._is_responding():
            self.cycle.keep_alive = False

    def _is_responding(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _mark_head_complete(self) -> None:
        self._head_started_at = None
        self.scope["state"][ACCEPTED] = not self._shared.drain_state.is_draining

    def _has_unread_data(self) -> bool:
        return is_readable(self._descriptor())

    def _descriptor(self) -> int:
        sock = self.transport.get_extra_info("socket")
        return -1 if sock is None else int(sock.fileno())


class H11Connection(Connection, H11Protocol):
    """Connection with h11, the pure-Python parser."""

    def handle_events(self) -> None:
        """Process the received events."""
        previous_cycle = self.cycle
        super().handle_events()
        if self.cycle is not previous_cycle:
            self._mark_head_complete()
        self._is_receiving_body = self.conn.their_state is h11.SEND_BODY
        if not self.conn.trailing_data[0] or self._is_receiving_body:
            self._head_started_at = None
        elif self._head_started_at is None:
            self._head_started_at = self.loop.time()


try:
    from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
except ImportError:
    DefaultConnection: type[Connection] = H11Connection
else:

    class HttptoolsConnection(Connection, HttpToolsProtocol):
        """Connection with httptools, the C parser."""

        def on_message_begin(self) -> None:
            """Record when the head began."""
            super().on_message_begin()
            if self._head_started_at is None:
                self._head_started_at = self.loop.time()

        def on_headers_complete(self) -> None:
            """Record that the head is complete."""
            self._mark_head_complete()
            self._is_receiving_body = True
            super().on_headers_complete()

        def on_message_complete(self) -> None:
            """Record that the body is complete."""
            self._is_receiving_body = False
            super().on_message_complete()

    DefaultConnection = HttptoolsConnection


class RejectedConnection(asyncio.Protocol):
    """Connection above the limit: gets a 503 on its first bytes or after one second.

    It keeps reading until the client closes, because closing a socket with unread bytes would
    discard the response.
    """

    def __init__(
        self, transport: asyncio.Transport, shared: SharedState, loop: asyncio.AbstractEventLoop
    ) -> None:
        self._transport = transport
        self._shared = shared
        self._has_responded = False
        shared.rejected_count += 1
        transport.set_protocol(self)
        if len(shared.rejected) >= _MAX_REJECTED:
            transport.abort()
            return
        shared.rejected.add(self)
        self._timers = [loop.call_later(1, self._respond), loop.call_later(2, transport.close)]

    def data_received(self, data: bytes) -> None:
        """Send the 503 response."""
        self._respond()

    def connection_lost(self, exc: Exception | None) -> None:
        """Remove the connection from the shared state."""
        if self in self._shared.rejected:
            self._shared.rejected.remove(self)
            for timer in self._timers:
                timer.cancel()

    def _respond(self) -> None:
        if self._has_responded or self._transport.is_closing():
            return
        self._has_responded = True
        request_id = str(ULID())
        detail = "The service has reached its connection limit. Try again in a moment."
        body = orjson.dumps(problem(503, "too_many_connections", detail, request_id))
        headers = [
            *self._shared.default_headers,
            (b"content-type", PROBLEM_TYPE.encode()),
            (b"content-length", str(len(body)).encode()),
            (b"retry-after", b"1"),
            (b"connection", b"close"),
            (b"x-request-id", request_id.encode()),
        ]
        head = b"".join(b"%b: %b\r\n" % header for header in headers)
        self._transport.write(b"HTTP/1.1 503 Service Unavailable\r\n" + head + b"\r\n" + body)
        self._transport.write_eof()


def is_readable(descriptor: int) -> bool:
    """Return whether a socket has unread data, an end of stream or a connection to accept."""
    if descriptor < 0:
        return False
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(0))


def _shutdown_write(descriptor: int) -> None:
    """Send FIN to the peer at once; the transport's own close waits for a loop iteration."""
    with suppress(OSError), socket.socket(fileno=os.dup(descriptor)) as sock:
        sock.shutdown(socket.SHUT_WR)
