"""Errors in the shape of the protocol of another service."""

from collections.abc import Sequence
from typing import Final

import orjson
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from backend.api.compat.protocol import Protocol
from backend.api.errors import PROBLEM_TYPE, error_response

_PROBLEM_HEADER: Final = (b"content-type", PROBLEM_TYPE.encode())


class ProtocolErrorsMiddleware:
    """ASGI middleware that turns problem+json below a protocol's paths into its error bodies.

    It is outside all middleware that sends errors, so that an invalid key or an unknown path is
    reported in the same shape as an invalid image.
    """

    def __init__(self, app: ASGIApp, protocols: Sequence[Protocol]) -> None:
        self._app = app
        self._protocols = protocols
        self._prefixes = tuple(path for each in protocols for path in each.paths)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and rewrite the response if it is a problem."""
        path: str = scope.get("path", "")
        protocol = None
        if path.startswith(self._prefixes):
            protocol = next((each for each in self._protocols if each.has_path(path)), None)
        if protocol is None:
            await self._app(scope, receive, send)
            return
        start: Message | None = None  # of a problem, which has a single body message
        is_started = False

        async def send_in_shape(message: Message) -> None:
            nonlocal start, is_started
            is_started = True
            if message["type"] == "http.response.start" and _PROBLEM_HEADER in message["headers"]:
                start = message
                return
            if start is not None:
                body = orjson.dumps(protocol.error_body(orjson.loads(message["body"])))
                replaced = {
                    b"content-type": b"application/json",
                    b"content-length": str(len(body)).encode(),
                }
                headers = [(name, replaced.get(name, value)) for name, value in start["headers"]]
                await send({**start, "headers": headers})
                start, message = None, {**message, "body": body}
            await send(message)

        try:
            await self._app(scope, receive, send_in_shape)
        except Exception as error:
            if not is_started:  # Starlette would send a problem outside of this middleware
                response = error_response(error, scope["state"]["request_id"])
                await response(scope, receive, send_in_shape)
            raise
