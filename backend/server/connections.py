"""HTTP connections: their slots, their time-outs, and how they close."""

import asyncio
import math
from typing import Any, Final

from uvicorn.config import Config

from backend.api.errors import BodyTimeoutError, TooManyConnectionsError
from backend.server.request_stream import MIN_BODY_RATE, TOO_MANY, RequestStream, SharedState
from backend.server.tcp import acknowledged_bytes, discard_received, is_readable, shutdown_write

BODY_GRACE: Final = 10.0  # seconds that a body may be behind MIN_BODY_RATE

_SLOW_BODY: Final = (
    f"The body arrived at less than {MIN_BODY_RATE} bytes/s. Send it again over a faster network."
)
_DISCARD_SECONDS: Final = 30.0  # for the rest of a body after its response
_FIRST_REQUEST_SECONDS: Final = 1.0  # how long a new connection may stay silent while draining
_OVER_LIMIT_SECONDS: Final = 1.0  # and above the connection limit


class Connection(RequestStream):
    """Mixin for uvicorn's protocols that closes connections whose client is too slow."""

    client: tuple[str, int] | None
    connections: set[Any]
    server_state: Any

    def __init__(
        self,
        config: Config,
        server_state: SharedState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._unsent = (0, 0)  # bytes in the transport's buffer, bytes that the peer received
        self._unread_since = 0.0  # when either of them last showed progress

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take a slot, or be above the limit."""
        super().connection_made(transport)
        self._unread_since = now = self.loop.time()
        address = self.client[0] if self.client else ""
        self._is_over_limit = not self._shared.limits.admit(self, address, now)

    def connection_lost(self, exc: Exception | None) -> None:
        """Free the slot."""
        self._shared.limits.remove(self)
        super().connection_lost(exc)

    def timeout_keep_alive_handler(self) -> None:
        """Close an idle connection unless a request is arriving."""
        if not self._has_unread_data():
            super().timeout_keep_alive_handler()  # type: ignore[misc]

    def has_received_head(self) -> bool:
        """Return whether the head of the latest request is complete."""
        return self._head_started_at is None

    def is_last_request(self) -> bool:
        """Return whether no data follows the current request."""
        has_more = self._buffer or self._head_started_at is not None or self._body is not None
        return not (has_more or self._has_unread_data())

    def waiting_seconds(self, now: float) -> float | None:
        """Return how long the server has waited for the client; None while it works for it.

        For a body this is the time by which it is behind MIN_BODY_RATE.
        """
        if self._lingers_until is not None:
            return math.inf
        if self.transport.get_write_buffer_size():
            return now - self._unread_since
        if self._body is not None:
            is_waiting = self.flow.read_paused or (
                self._is_responding() and self.cycle.waiting_for_100_continue
            )
            return None if is_waiting else now - self._body_due_at
        if self._is_responding():
            return None
        return now - (self._idle_since if self._head_started_at is None else self._head_started_at)

    def evict(self) -> None:
        """Close the connection, with a response if a request has begun."""
        if self.transport.is_closing() or self.transport.get_write_buffer_size():
            self._shared.count_refusal("evicted")
            self.transport.abort()
            return
        is_idle = self._head_started_at is None and self._body is None
        if is_idle or self._lingers_until is not None:
            self._shared.count_refusal("evicted")
        else:
            self.refuse(TooManyConnectionsError(TOO_MANY))
        discard_received(self._descriptor())
        self.transport.close()

    def close_if_late(self, now: float) -> None:
        """Close the connection if the client has kept the server waiting for too long.

        Any bytes after a response (a bare line end, or the rest of a body that was answered early)
        cancel uvicorn's keep-alive timer, so such a connection would stay open forever.
        """
        if unsent := self.transport.get_write_buffer_size():
            self._abort_if_unread(unsent, now)
            return
        self._unread_since = now
        if self._lingers_until is not None:
            if now > self._lingers_until:
                self.transport.abort()
            return
        seconds = self.waiting_seconds(now)
        if seconds is None or self.transport.is_closing():
            return
        if self._is_over_limit and seconds > _OVER_LIMIT_SECONDS:
            self.refuse(TooManyConnectionsError(TOO_MANY))
        elif self._body is not None:
            if seconds > BODY_GRACE or self._is_discarding_too_long(now):
                self.refuse(BodyTimeoutError(_SLOW_BODY))
        elif seconds > self._shared.header_timeout and (
            self._head_started_at is not None or not self.timeout_keep_alive_task
        ):
            self.transport.close()

    def close_if_idle(self, now: float) -> None:
        """Close the connection if it is idle; called repeatedly while the server drains."""
        if self.transport.is_closing() or self.transport.get_write_buffer_size():
            return  # a slow reader has not received the whole response
        if self._lingers_until is None and (self._is_responding() or self._body is not None):
            return
        started_at = self._head_started_at
        if started_at is not None and now - started_at < _FIRST_REQUEST_SECONDS:
            return
        if not self._has_unread_data():
            shutdown_write(self._descriptor())
            self.transport.close()

    def disable_keep_alive(self) -> None:
        """Close the connection after the current response."""
        if self._is_responding():
            self.cycle.keep_alive = False

    def _abort_if_unread(self, unsent: int, now: float) -> None:
        """Abort the connection if the peer has not received anything for too long."""
        acknowledged = acknowledged_bytes(self._descriptor())
        if unsent < self._unsent[0] or acknowledged != self._unsent[1]:
            self._unread_since = now
        elif now - self._unread_since > self._shared.write_timeout:
            self._shared.count_refusal("write_timeout")
            self.transport.abort()
        self._unsent = unsent, acknowledged

    def _is_discarding_too_long(self, now: float) -> bool:
        """Return whether the rest of a body, after its response, takes too long."""
        return not self._is_responding() and (
            now - self._responded_at > _DISCARD_SECONDS
            or now - self._idle_since > self._shared.header_timeout
        )

    def _has_unread_data(self) -> bool:
        return is_readable(self._descriptor())

    def _descriptor(self) -> int:
        sock = self.transport.get_extra_info("socket")
        return -1 if sock is None else int(sock.fileno())
