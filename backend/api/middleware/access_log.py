"""Access log: an id, one log line and the metrics of every request.

The id is the client's own if it is well-formed, otherwise a new ULID. The log line leaves out the
query, which may contain a drawing. This code runs for every request, so it reads the headers once
and avoids allocations.
"""

import asyncio
import logging
import re
import time
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send
from ulid import ULID

from backend.api.errors import error_response
from backend.api.fields import fields_of
from backend.inference.errors import ClosedError
from backend.telemetry.logs import AccessRecord
from backend.telemetry.metrics import Metrics
from backend.telemetry.request_context import PROBES, RequestContext, current_request

log = logging.getLogger("prism.access")

_HEADER: Final = b"x-request-id"
_MAX_LOGGED_PATH: Final = 1024  # characters of a path in the log
_VALID_ID: Final = re.compile(rb"[A-Za-z0-9._:-]{1,128}")


class AccessLogMiddleware:
    """ASGI middleware that sets `request.state.request_id` and the X-Request-ID response header.

    Routes set `request.state.model_name` to the name of the model that handles the request.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, then log and count it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = fields_of(scope)
        client_id = headers.get(_HEADER, b"")
        raw_id = client_id if _VALID_ID.fullmatch(client_id) else str(ULID()).encode()
        request_id = raw_id.decode()
        trace_headers = headers.get(b"traceparent", b""), headers.get(b"x-cloud-trace-context", b"")
        # Never reset: each request runs in its own task and context, and unexpected errors are
        # logged outside of this middleware.
        current_request.set(RequestContext(request_id, trace_headers))
        state = scope["state"]
        state["request_id"] = request_id

        started = time.perf_counter()
        status = 0
        self._metrics.request_started()

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
            # The server cancels unfinished requests when it shuts down.
            await error_response(ClosedError(), request_id)(scope, receive, send_with_id)
        finally:
            seconds = time.perf_counter() - started
            status = status or 500
            method, model = scope["method"], state.get("model_name", "")
            route = getattr(scope.get("route"), "path_format", "")
            self._metrics.request_finished(method, route, model, status, seconds)
            path = scope["path"]
            level = logging.DEBUG if path in PROBES else logging.INFO
            if log.isEnabledFor(level):
                logged = path[:_MAX_LOGGED_PATH]
                values = method, logged, status, seconds, model, request_id
                log.handle(AccessRecord(log.name, level, *values))
