"""The bodies of all requests together: no more of them at a time than fit into the memory."""

from typing import Final

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from backend.api.middleware.draining import read_to_the_end
from backend.inference.errors import QueueFullError

_SMALL: Final = 16_384  # bytes that are not worth counting
_PAUSE: Final = 1.0  # s after which there may be room again


class Bodies:
    """ASGI middleware: bodies that are held at a time have to fit into `most` bytes.

    One alone may be larger. What does not fit is refused with 429 `queue_full`.
    """

    def __init__(self, app: ASGIApp, most: int) -> None:
        self._app = app
        self._most = most
        self._held = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and count its body as it comes in."""
        if scope["type"] != "http" or _is_small(Headers(scope=scope)):
            await self._app(scope, receive, send)
            return
        own = 0

        async def counted() -> Message:
            nonlocal own
            message = await receive()
            size = len(message.get("body", b""))
            if self._held > own and self._held + size > self._most:
                self._held -= own
                own = 0
                if message.get("more_body", False):
                    await read_to_the_end(receive)
                raise QueueFullError(
                    "More pictures are being sent than there is memory for. Try again later.",
                    retry_after=_PAUSE,
                )
            own += size
            self._held += size
            return message

        try:
            await self._app(scope, counted, send)
        finally:
            self._held -= own


def _is_small(headers: Headers) -> bool:
    announced = headers.get("content-length")
    if announced is None:
        return "transfer-encoding" not in headers
    return announced.isdecimal() and int(announced) <= _SMALL
