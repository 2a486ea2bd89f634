"""The shortest way for the request that nearly all are: POST /classify without a query.

FastAPI's own way through routers and parameters costs as much as reading a small picture. The
route behind is the same, and so are its answers.
"""

from typing import Final

from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Receive, Scope, Send

from backend.api import errors
from backend.api.routes.classify import classify, router
from backend.inference.errors import PrismError

_PATHS: Final = ("/classify", "/classify/")
_ROUTE: Final = next(route for route in router.routes if getattr(route, "path", "") in _PATHS)


class Shortcut:
    """ASGI middleware that calls the route itself where nothing is left to be parsed."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a plain POST /classify, and pass everything else on."""
        if (
            scope["type"] != "http"
            or scope["path"] not in _PATHS
            or scope["method"] != "POST"
            or scope["query_string"]
        ):
            await self._app(scope, receive, send)
            return
        scope["route"] = _ROUTE  # as the router would, for those who count
        request = Request(scope, receive, send)
        try:
            state = request.state
            response = await classify(request, state.catalog, state.settings, state.history)
        except (PrismError, ClientDisconnect) as error:
            response = errors.answer(error, request.state.request_id)
        await response(scope, receive, send)
