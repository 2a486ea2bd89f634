"""An id for every request: the client's own where it sends a sane one, else a new ULID.

One log line a request, without the query: a drawing may be in it.
"""

import asyncio
import logging
import re
import time
from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from ulid import ULID

from backend.api.errors import describe, respond
from backend.inference.errors import ClosedError

log = logging.getLogger("prism.access")

HEADER: Final = "X-Request-ID"
_ENDING: Final = ClosedError("The service is shutting down. Send the request again.")
_PROBES: Final = ("/health", "/ready")
_SANE: Final = re.compile(r"[A-Za-z0-9._:-]{1,128}")


class RequestId:
    """ASGI middleware: `request.state.request_id`, and the header in every response."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on with its id."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = Headers(scope=scope).get(HEADER, "")
        request_id = given if _SANE.fullmatch(given) else str(ULID())
        scope.setdefault("state", {})["request_id"] = request_id

        started = time.perf_counter()
        status = 0

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)[HEADER] = request_id
            await send(message)

        try:
            await self._app(scope, receive, send_with_id)
        except asyncio.CancelledError:
            if status:
                raise
            # The server gave the request up because it ends: say so, in the shape of all failures.
            await respond(describe(_ENDING, request_id))(scope, receive, send_with_id)
        finally:
            level = logging.DEBUG if scope["path"] in _PROBES else logging.INFO
            spent = (time.perf_counter() - started) * 1e3
            log.log(
                level,
                "%s %r %d %.1f ms %s",
                scope["method"],
                scope["path"],
                status or 500,
                spent,
                request_id,
            )
