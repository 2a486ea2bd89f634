"""The service's end as its clients meet it: what was accepted is answered, no more is taken."""

from collections.abc import Callable
from typing import Final, Protocol

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from backend.api.errors import answer
from backend.inference.errors import ClosedError

ACCEPTED: Final = "accepted"
CONNECTION: Final = "connection"

_STILL_ANSWERED: Final = ("/health", "/metrics", "/")


class Drain:
    """Whether the service is ending: begun once, by a signal handler, and never taken back."""

    draining = False

    def begin(self) -> None:
        """Take no new work from now on."""
        self.draining = True


class Line(Protocol):
    """The connection that a request came on."""

    def is_last(self) -> bool:
        """Whether nothing follows the request that is being answered."""


class Draining:
    """ASGI middleware: while the service ends, new work is refused and connections are let go.

    A server may say in the request's state whether it was `accepted`, its head having come in
    before the end began, and how to reach its `connection`. Without a word all is new work.
    """

    def __init__(self, app: ASGIApp, drain: Drain) -> None:
        self._app = app
        self._drain = drain

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_parting(message: Message) -> None:
            if self._drain.draining and message["type"] == "http.response.start":
                _part(scope, message)
            await send(message)

        if self._drain.draining and _is_new_work(scope):
            await _refuse(scope, receive, send_parting)
        else:
            await self._app(scope, receive, send_parting)


def _is_new_work(scope: Scope) -> bool:
    return scope["path"] not in _STILL_ANSWERED and not scope["state"].get(ACCEPTED, False)


def _part(scope: Scope, start: Message) -> None:
    """Send the client elsewhere for its next request, but not before all it sent is answered."""
    find: Callable[[], Line | None] = scope["state"].get(CONNECTION, lambda: None)
    connection = find()
    if connection is None or connection.is_last():
        MutableHeaders(scope=start)["Connection"] = "close"


async def _refuse(scope: Scope, receive: Receive, send: Send) -> None:
    response = answer(ClosedError(), scope["state"]["request_id"])
    if "expect" in Headers(scope=scope):
        response.headers["Connection"] = "close"  # the client holds its body back for this answer
    elif not await read_to_the_end(receive):
        return
    await response(scope, receive, send)


async def read_to_the_end(receive: Receive) -> bool:
    """Discard the body: a client cut off while it sends would not read its answer."""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return False
        if not message.get("more_body", False):
            return True
