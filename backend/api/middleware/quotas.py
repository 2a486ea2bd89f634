"""Quotas of API keys: counts the requests and reports the remaining units."""

from collections.abc import Sequence

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from backend.api.clients import KEY_NAME
from backend.api.errors import QuotaExceededError, error_response
from backend.api.quotas import QUOTA, create_quotas
from backend.keys import ApiKey


class QuotaMiddleware:
    """ASGI middleware that refuses requests beyond the quota of their API key with 429.

    Responses to keys with a quota carry the headers RateLimit-Policy and RateLimit. The routes
    count the pixels.
    """

    def __init__(self, app: ASGIApp, keys: Sequence[ApiKey]) -> None:
        self._app = app
        self._quotas = create_quotas(keys)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it."""
        quota = None
        if scope["type"] == "http":
            quota = self._quotas.get(scope["state"].get(KEY_NAME, ""))
        if quota is None:
            await self._app(scope, receive, send)
            return
        scope["state"][QUOTA] = quota

        async def send_with_limits(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *quota.headers()]
            await send(message)

        try:
            quota.take_request()
        except QuotaExceededError as error:
            response = error_response(error, scope["state"]["request_id"])
            await response(scope, receive, send_with_limits)
            return
        await self._app(scope, receive, send_with_limits)
