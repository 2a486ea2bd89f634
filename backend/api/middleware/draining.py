"""Draining during shutdown: new requests get 503, accepted requests finish."""

from collections.abc import Callable
from typing import Final, Protocol

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from backend.api.errors import error_response
from backend.inference.errors import ClosedError

# Keys of a request's state that the server sets.
ACCEPTED: Final = "accepted"
CONNECTION: Final = "connection"

_ALWAYS_SERVED: Final = ("/health", "/v2/health/live", "/metrics", "/")


class DrainState:
    """Whether the service is draining; set by a signal handler and never reset."""

    is_draining = False

    def start(self) -> None:
        """Refuse new requests from now on."""
        self.is_draining = True


class ClientConnection(Protocol):
    """The connection that carries a request."""

    def is_last_request(self) -> bool:
        """Return whether no data follows the current request."""


class DrainingMiddleware:
    """ASGI middleware that refuses new requests and closes connections during shutdown.

    The server sets `accepted` in the request's state (whether the request's head arrived before
    the shutdown) and `connection` (a weak reference to its ClientConnection). Without `accepted`
    a request counts as new.
    """

    def __init__(self, app: ASGIApp, state: DrainState) -> None:
        self._app = app
        self._state = state

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_and_close(message: Message) -> None:
            if self._state.is_draining and message["type"] == "http.response.start":
                _add_connection_close(scope, message)
            await send(message)

        if self._state.is_draining and _is_new_request(scope):
            await _refuse(scope, receive, send_and_close)
        else:
            await self._app(scope, receive, send_and_close)


def _is_new_request(scope: Scope) -> bool:
    return scope["path"] not in _ALWAYS_SERVED and not scope["state"].get(ACCEPTED, False)


def _add_connection_close(scope: Scope, start: Message) -> None:
    """Ask the client to reconnect elsewhere, unless it has pipelined further requests."""
    get_connection: Callable[[], ClientConnection | None]
    get_connection = scope["state"].get(CONNECTION, lambda: None)
    connection = get_connection()
    if connection is None or connection.is_last_request():
        MutableHeaders(scope=start)["Connection"] = "close"


async def _refuse(scope: Scope, receive: Receive, send: Send) -> None:
    response = error_response(ClosedError(), scope["state"]["request_id"])
    if "expect" in Headers(scope=scope):
        response.headers["Connection"] = "close"  # the client waits for this before its body
    elif not await discard_body(receive):
        return
    await response(scope, receive, send)


async def discard_body(receive: Receive) -> bool:
    """Read the rest of a body and return whether the client is still connected.

    A client that is cut off while it sends would not read the response.
    """
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return False
        if not message.get("more_body", False):
            return True
