"""Requests in the bytes of a connection.

The parser gets one request at a time: the head once it is complete and checked, then the bytes of
the body, and the next head only after the response. Until then nothing more is read, so that
pipelined requests neither fill the memory nor take the turns of other connections.
"""

import asyncio
import weakref
from typing import Any, Final

from uvicorn.config import Config
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.server import ServerState

from backend.api.body import BODY_RECEIVED
from backend.api.errors import (
    ERROR_TABLE,
    MalformedRequestError,
    RequestError,
    TooManyConnectionsError,
)
from backend.api.middleware.draining import ACCEPTED, CONNECTION, DrainState
from backend.server import heads
from backend.server.bodies import Body, LengthBody
from backend.server.connection_limits import ConnectionLimits
from backend.server.refusals import refusal, render_fields

MIN_BODY_RATE: Final = 500  # bytes a second, on average

TOO_MANY: Final = "The service has reached its connection limit. Try again in a moment."

_DEFERRED_BYTES: Final = 16_384  # smaller bodies are parsed at once with their head
_LINGER_SECONDS: Final = 5.0  # how long a refused client may go on sending
_AMBIGUOUS: Final = "The length of the body is ambiguous."


Received = bytes | bytearray | memoryview


class SharedState(ServerState):
    """State that all connections of one server share."""

    def __init__(
        self,
        drain_state: DrainState,
        limits: ConnectionLimits,
        header_timeout: float,
        write_timeout: float,
    ) -> None:
        super().__init__()
        self.drain_state = drain_state
        self.limits = limits
        self.header_timeout = header_timeout
        self.write_timeout = write_timeout
        self._rendered_headers: list[tuple[bytes, bytes]] | None = None
        self._default_lines = b""
        self.refusals: dict[str, int] = {}  # by error code, since the last log line

    def default_lines(self) -> bytes:
        """Return the lines of the default headers, which change every second."""
        if self._rendered_headers is not self.default_headers:
            self._rendered_headers = self.default_headers
            self._default_lines = render_fields(self.default_headers)
        return self._default_lines

    def count_refusal(self, code: str) -> None:
        """Count a refusal for the next log line."""
        self.refusals[code] = self.refusals.get(code, 0) + 1


class ReadFlow(FlowControl):
    """uvicorn's flow control, which resumes with the data that the connection holds back."""

    def __init__(self, connection: "RequestStream") -> None:
        super().__init__(connection.transport)
        self._connection = connection

    def resume_reading(self) -> None:
        """Parse the data held back, then read on."""
        if self.read_paused:
            self._connection.schedule_resume()

    def resume_writing(self) -> None:
        """Write on; parse on as well, which stops while responses are unsent."""
        super().resume_writing()
        self.resume_reading()


class RequestStream(asyncio.Protocol):
    """Mixin for uvicorn's protocols that feeds the parser.

    The subclass for each parser implements `_feed` and sets `_is_parsing_body`.
    """

    transport: asyncio.Transport
    loop: asyncio.AbstractEventLoop
    flow: FlowControl
    cycle: Any
    scope: Any
    timeout_keep_alive_task: asyncio.TimerHandle | None
    _unset_keepalive_if_required: Any

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
        self._is_over_limit = False
        # Received and not yet parsed; a memoryview only while the body has a Content-Length.
        self._buffer: Received = b""
        self._searched = 0  # bytes of the buffer without the end of the head
        self._head_started_at: float | None = None  # for a new connection, when it was made
        self._body: Body | None = None
        self._body_due_at = 0.0  # when the received bytes were due at MIN_BODY_RATE
        self._is_parsing_body = False
        self._idle_since = 0.0
        self._responded_at = 0.0
        self._lingers_until: float | None = None  # set once the client is refused
        self._arrived_while_draining = False
        self._is_resume_scheduled = False

    def _feed(self, data: Received) -> None:
        """Parse data of one request; raises MalformedRequestError."""
        raise NotImplementedError

    def _skip(self, data: Received, *, is_last: bool) -> None:
        """Parse data of a body that nobody reads, since its response is complete."""
        self._feed(data)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for the first request."""
        super().connection_made(transport)
        self.flow = ReadFlow(self)
        self._head_started_at = self.loop.time()

    def connection_lost(self, exc: Exception | None) -> None:
        """Drop the data held back."""
        self._buffer = b""
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse the data, or hold it back."""
        if self._lingers_until is not None:
            return
        self._unset_keepalive_if_required()
        self._idle_since = self.loop.time()
        self._arrived_while_draining = self._shared.drain_state.is_draining
        if self._buffer:
            if not isinstance(self._buffer, bytearray):
                self._buffer = bytearray(self._buffer)
            self._buffer += data
        else:
            self._buffer = data
        self._process()

    def on_response_complete(self) -> None:
        """Record the time."""
        self._idle_since = self._responded_at = self.loop.time()
        super().on_response_complete()  # type: ignore[misc]

    def send_400_response(self, _: str) -> None:
        """Refuse a request that h11 does not understand."""
        self.refuse(MalformedRequestError("The request is not valid HTTP/1.1."))

    def schedule_resume(self) -> None:
        """Parse and read on after other connections had their turn."""
        if not self._is_resume_scheduled:
            self._is_resume_scheduled = True
            self.loop.call_soon(self._resume)

    def refuse(self, error: RequestError) -> None:
        """Respond with an error and close the connection.

        Data that still arrives is discarded for some seconds, because closing a socket with unread
        data would discard the response.
        """
        self._shared.count_refusal(ERROR_TABLE[type(error)][1])
        self._unset_keepalive_if_required()
        self._buffer = b""
        is_responding = self._is_responding()
        if is_responding and not self.cycle.response_started:
            self.cycle.disconnected = True  # the application's response is dropped
            self.cycle.message_event.set()
        elif is_responding or self._body is not None:
            self.transport.close()  # the request has its response, or a part of it
            return
        self._body = self._head_started_at = None
        self._lingers_until = self.loop.time() + _LINGER_SECONDS
        self.transport.write(refusal(error, self._shared.default_headers))
        self.transport.write_eof()
        self.flow.read_paused = False
        self.transport.resume_reading()

    def _is_responding(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _resume(self) -> None:
        self._is_resume_scheduled = False
        if self.transport.is_closing() or self._lingers_until is not None:
            return
        self.flow.read_paused = False
        self._body_due_at = max(self._body_due_at, self.loop.time())  # the client had to wait
        self._process()
        if not (self.flow.read_paused or self.transport.is_closing()):
            self.transport.resume_reading()

    def _process(self) -> None:
        """Parse what is held back, as far as the current request allows it."""
        try:
            while self._buffer and not (self.flow.read_paused or self.transport.is_closing()):
                if self._body is not None:
                    if not self._parse_body(self._body):
                        break
                elif self._is_responding() or self.flow.write_paused:
                    self._unset_keepalive_if_required()
                    self.flow.pause_reading()  # until the response is written
                elif not self._parse_head() or self._is_body_deferred():
                    break
        except RequestError as error:
            self.refuse(error)

    def _parse_head(self) -> bool:
        """Parse the next head; return False if it is incomplete."""
        data = self._buffer
        assert not isinstance(data, memoryview)  # noqa: S101
        if data[0] in b"\r\n":
            self._buffer = data = data.lstrip(b"\r\n")
        now = self.loop.time()
        if self._head_started_at is None:
            self._head_started_at = now
        if not data:
            return False
        size = heads.find_end(data, self._searched)
        self._searched = 0 if size else len(data)
        if not size:
            return False
        head = heads.parse_head(data[:size])
        if self._is_over_limit and not head.is_probe:
            raise TooManyConnectionsError(TOO_MANY)
        self._unset_keepalive_if_required()
        is_length_body = isinstance(head.body, LengthBody)
        self._buffer = memoryview(data)[size:] if is_length_body else data[size:]
        previous_cycle = self.cycle
        self._feed(head.data)
        if self._lingers_until is not None:
            return False
        self._body, self._body_due_at = head.body, now
        self._head_started_at = None
        if self.cycle is previous_cycle or self._is_parsing_body != (head.body is not None):
            raise MalformedRequestError(_AMBIGUOUS)
        self.scope["state"][ACCEPTED] = not self._arrived_while_draining
        if self._is_over_limit:
            self.cycle.keep_alive = False
        return True

    def _is_body_deferred(self) -> bool:
        """Return whether to start the application before the body that has arrived is parsed.

        If it refuses the request, the body is discarded without being parsed.
        """
        is_deferred = isinstance(self._body, LengthBody) and len(self._buffer) > _DEFERRED_BYTES
        if is_deferred:
            self.schedule_resume()
        return is_deferred

    def _parse_body(self, body: Body) -> bool:
        """Parse more of the body; return False if a part of a line is missing."""
        data = self._buffer
        size = body.take(data)
        if not size:
            return False
        self._body_due_at = min(self.loop.time(), self._body_due_at + size / MIN_BODY_RATE)
        rest = data[size:]
        self._buffer = bytes(rest) if body.is_complete else rest
        part = data if size == len(data) else data[:size]
        if self.cycle.response_complete and isinstance(body, LengthBody):
            self._skip(part, is_last=body.is_complete)
        else:
            self._feed(part)
        if self._lingers_until is not None:
            return False
        if self._is_parsing_body == body.is_complete:
            raise MalformedRequestError(_AMBIGUOUS)
        if body.is_complete:
            self._body = None
            self.scope["state"][BODY_RECEIVED] = True
        elif self._buffer:  # many small chunks
            self.flow.pause_reading()
            self.schedule_resume()
        return True
