"""An id for every request: the client's own where it sends a sane one, else a new ULID.

One log line a request, without the query: a drawing may be in it. It wraps every request, so it
reads the headers once and builds nothing that nobody asked for.
"""

import asyncio
import logging
import re
import time
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send
from ulid import ULID

from backend.api.errors import answer
from backend.inference.errors import ClosedError
from backend.telemetry.logs import Access
from backend.telemetry.metrics import Metrics
from backend.telemetry.request import PROBES, Request, current

log = logging.getLogger("prism.access")

_HEADER: Final = b"x-request-id"
_LONGEST: Final = 1024  # characters of a path in the log
_SANE: Final = re.compile(rb"[A-Za-z0-9._:-]{1,128}")


class RequestId:
    """ASGI middleware: `request.state.request_id`, and the header in every response.

    A route that knows which served model answers puts its name into `request.state.model_name`.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on with its id."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        given = headers.get(_HEADER, b"")
        raw_id = given if _SANE.fullmatch(given) else str(ULID()).encode()
        request_id = raw_id.decode()
        traced = headers.get(b"traceparent", b""), headers.get(b"x-cloud-trace-context", b"")
        # Never taken back: each request has a task, so a context, of its own, and an unforeseen
        # failure is logged further out.
        current.set(Request(request_id, traced))
        state = scope.setdefault("state", {})
        state["request_id"] = request_id

        started = time.perf_counter()
        status = 0
        self._metrics.began()

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), (_HEADER, raw_id)]
            await send(message)

        try:
            await self._app(scope, receive, send_with_id)
        except asyncio.CancelledError:
            if status:
                raise
            # The server gave the request up because it ends: say so, in the shape of all failures.
            await answer(ClosedError(), request_id)(scope, receive, send_with_id)
        finally:
            seconds = time.perf_counter() - started
            status = status or 500
            method, model = scope["method"], state.get("model_name", "")
            route = getattr(scope.get("route"), "path_format", "")
            self._metrics.ended(method, route, model, status, seconds)
            path = scope["path"]
            level = logging.DEBUG if path in PROBES else logging.INFO
            if log.isEnabledFor(level):
                log.handle(_record(level, Access(method, path[:_LONGEST], status, seconds, model)))


def _record(level: int, access: Access) -> logging.LogRecord:
    """The line of a request, made without the search for who called."""
    request = current.get()
    record = logging.LogRecord(
        log.name,
        level,
        __file__,
        0,
        "%s %r %d %.1f ms %s",
        (
            access.method,
            access.path,
            access.status,
            access.seconds * 1e3,
            request.id if request else "",
        ),
        None,
    )
    record.access = access
    return record
