"""One HTTP connection: uvicorn's, with bounds on its head and a careful end."""

import asyncio
import weakref
from typing import Any, Final

import h11
import orjson
from ulid import ULID
from uvicorn.config import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from backend.api.errors import PROBLEM_TYPE, problem
from backend.api.middleware.draining import ACCEPTED, CONNECTION, Drain
from backend.server import sockets

_PATIENCE: Final = 1.0  # seconds for a request to begin on a new connection, while draining
_REFUSALS: Final = 256  # connections above the bound that are told so; others are just closed


class Shared(ServerState):
    """What all connections of one server share."""

    def __init__(self, drain: Drain, max_connections: int, header_timeout: float) -> None:
        super().__init__()
        self.drain = drain
        self.max_connections = max_connections
        self.header_timeout = header_timeout
        self.refusals: set[Refusal] = set()
        self.refused = 0  # since somebody last asked


class Connection(asyncio.Protocol):
    """Mixin for uvicorn's protocols: knows how far the request has come in.

    A parser's own class sets `_since`, when a head began that is not complete yet (at first: when
    the connection was made), and `_body`, whether a body is still coming in.
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
        server_state: Shared,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        state = {**app_state, CONNECTION: weakref.ref(self)}
        super().__init__(config, server_state, state, _loop)  # type: ignore[call-arg]
        self._shared = server_state
        self._since: float | None = None
        self._body = False
        self._heard = 0.0  # when the last bytes came

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take the connection, or refuse it where there are too many."""
        if len(self.connections) >= self._shared.max_connections:
            Refusal(transport, self._shared, self.loop)
            return
        super().connection_made(transport)
        self._since = self.loop.time()

    def data_received(self, data: bytes) -> None:
        """Note when bytes came, whatever they are."""
        self._heard = self.loop.time()
        super().data_received(data)

    def timeout_keep_alive_handler(self) -> None:
        """Close an idle connection, but not in the moment in which a request arrives."""
        if not self._readable():
            super().timeout_keep_alive_handler()  # type: ignore[misc]

    def has_asked(self) -> bool:
        """Whether no head is still to come in."""
        return self._since is None

    def is_last(self) -> bool:
        """Whether nothing follows the request that is being answered."""
        more = self._since is not None or self._body or getattr(self, "pipeline", None)
        return not (more or self._readable())

    def expire(self, now: float) -> None:
        """Close a connection whose head has taken too long, or that went silent in between.

        Any bytes after an answer end uvicorn's patience with an idle connection: a bare line end,
        or the rest of a body that was answered early.
        """
        if self._answering() or (self._since is None and self.timeout_keep_alive_task):
            return
        since = self._heard if self._since is None else self._since
        if now - since > self._shared.header_timeout:
            self.transport.close()

    def retire(self, now: float) -> None:
        """Close the connection if it is at rest; to be asked again until it has gone."""
        if self.transport.is_closing() or self._answering() or self._body:
            return
        if self.transport.get_write_buffer_size():
            return  # a slow reader has not got all of it yet
        if self._since is not None and now - self._since < _PATIENCE:
            return
        if not self._readable():
            sockets.end(self._descriptor())
            self.transport.close()

    def give_up(self) -> None:
        """Let the answer that is due be the last."""
        if self._answering():
            self.cycle.keep_alive = False

    def _answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _head_is_complete(self) -> None:
        self._since = None
        self.scope["state"][ACCEPTED] = not self._shared.drain.draining

    def _readable(self) -> bool:
        return sockets.readable(self._descriptor())

    def _descriptor(self) -> int:
        sock = self.transport.get_extra_info("socket")
        return -1 if sock is None else int(sock.fileno())


class H11Connection(Connection, H11Protocol):
    """With the parser that is always there."""

    def handle_events(self) -> None:
        """Take what has come in as far as it goes."""
        before = self.cycle
        super().handle_events()
        if self.cycle is not before:
            self._head_is_complete()
        self._body = self.conn.their_state is h11.SEND_BODY
        if not self.conn.trailing_data[0] or self._body:
            self._since = None
        elif self._since is None:
            self._since = self.loop.time()


try:
    from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
except ImportError:
    Preferred: type[Connection] = H11Connection
else:

    class HttptoolsConnection(Connection, HttpToolsProtocol):
        """With the fast parser."""

        def on_message_begin(self) -> None:
            """Note when the head began."""
            super().on_message_begin()
            if self._since is None:
                self._since = self.loop.time()

        def on_headers_complete(self) -> None:
            """Note that it is there."""
            self._head_is_complete()
            self._body = True
            super().on_headers_complete()

        def on_message_complete(self) -> None:
            """Note that the body is there too."""
            self._body = False
            super().on_message_complete()

    Preferred = HttptoolsConnection


class Refusal(asyncio.Protocol):
    """One connection too many: told so when it asks, or after a second of silence.

    It reads on until the client closes, since closing on unread bytes would lose the answer.
    """

    def __init__(
        self, transport: asyncio.Transport, shared: Shared, loop: asyncio.AbstractEventLoop
    ) -> None:
        self.since = loop.time()
        self._transport = transport
        self._shared = shared
        self._answered = False
        shared.refused += 1
        transport.set_protocol(self)
        if len(shared.refusals) >= _REFUSALS:
            transport.abort()
            return
        shared.refusals.add(self)
        self._timers = [loop.call_later(1, self._answer), loop.call_later(2, transport.close)]

    def data_received(self, data: bytes) -> None:
        """Answer."""
        self._answer()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget it."""
        if self in self._shared.refusals:
            self._shared.refusals.remove(self)
            for timer in self._timers:
                timer.cancel()

    def _answer(self) -> None:
        if self._answered or self._transport.is_closing():
            return
        self._answered = True
        request_id = str(ULID())
        detail = "The service has as many connections as it takes. Try again in a moment."
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
