"""Refuses uploads that would exceed the memory of the container.

Streamlit writes an upload to a temporary file and then reads it into memory, where it stays until
the page has stored it elsewhere. Its own limit applies to each file, not to all sessions together.
"""

from collections.abc import Callable
from typing import Final

from starlette.exceptions import HTTPException
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from frontend.state.memory import RESERVE, free_memory

UPLOAD_PATH: Final = "/_stcore/upload_file/"
STATUS: Final = 507  # Insufficient Storage
DETAIL: Final = (
    "The server does not have enough memory for this file. "
    "Try again later, or choose a smaller file."
)
_CHECK_INTERVAL: Final = 1_000_000  # bytes of one upload between two checks


class UploadMemoryMiddleware:
    """Answers uploads with STATUS when they would leave less than RESERVE bytes free.

    An upload counts twice while it is received: as a temporary file and as the copy in memory. Only
    bytes that have arrived count, so that an upload which never sends its body takes nothing.
    """

    def __init__(self, app: ASGIApp, free: Callable[[], int] = free_memory) -> None:
        self._app = app
        self._free = free
        self._received = 0  # bytes of the unfinished uploads

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_upload = scope["type"] == "http" and scope["method"] == "PUT"
        if not is_upload or UPLOAD_PATH not in scope["path"]:
            await self._app(scope, receive, send)
            return
        if not self._has_room(2 * _content_length(scope)):
            await _discard(receive)
            await PlainTextResponse(DETAIL, STATUS)(scope, receive, send)
            return
        received = unchecked = 0

        async def counted_receive() -> Message:
            nonlocal received, unchecked
            message = await receive()
            size = len(message.get("body", b""))
            received += size
            unchecked += size
            self._received += size
            if unchecked >= _CHECK_INTERVAL:
                unchecked = 0
                if not self._has_room(0):
                    raise HTTPException(STATUS, DETAIL)
            return message

        try:
            await self._app(scope, counted_receive, send)
        finally:
            self._received -= received

    def _has_room(self, size: int) -> bool:
        return self._free() - self._received - size >= RESERVE


def _content_length(scope: Scope) -> int:
    text = dict(scope["headers"]).get(b"content-length", b"0")
    return int(text) if text.isdigit() else 0


async def _discard(receive: Receive) -> None:
    """Read the rest of the body: a browser that is still sending would not read the response."""
    more = True
    while more:
        message = await receive()
        more = message["type"] == "http.request" and message.get("more_body", False)
