"""Fast path for POST /classify without a query, which nearly all requests are.

FastAPI's routing, dependencies and parameters cost as much as decoding a small image. The fast path
checks the same scope and calls the same route function, so the responses are identical.
"""

from typing import Final

from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Receive, Scope, Send

from backend.api.errors import error_response
from backend.api.routes.classify import classify, router
from backend.api.scopes import check_scope
from backend.inference.errors import PrismError

_PATHS: Final = ("/classify", "/classify/")
_ROUTE: Final = next(route for route in router.routes if getattr(route, "path", "") in _PATHS)


class FastPathMiddleware:
    """ASGI middleware that calls the route of a POST /classify without a query directly."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a plain POST /classify, and pass every other request on."""
        if (
            scope["type"] != "http"
            or scope["path"] not in _PATHS
            or scope["method"] != "POST"
            or scope["query_string"]
        ):
            await self._app(scope, receive, send)
            return
        scope["route"] = _ROUTE  # as the router does, for the metrics and the log
        request = Request(scope, receive, send)
        try:
            check_scope(scope, "classify")
            state = scope["state"]
            response = await classify(request, state["catalog"], state["settings"])
        except (PrismError, ClientDisconnect) as error:
            response = error_response(error, scope["state"]["request_id"])
        await response(scope, receive, send)
