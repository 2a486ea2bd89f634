"""Security headers: what browsers must not do with a response.

The server adds `FIXED_HEADERS` to every response, also to those that no middleware sees.
"""

from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

DOCS_PATH: Final = "/docs"

FIXED_HEADERS: Final = [
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    ("referrer-policy", "no-referrer"),
    ("cross-origin-resource-policy", "same-origin"),
]

API_POLICY: Final = "default-src 'none'; frame-ancestors 'none'"
NO_STORE: Final = "no-store"

# Swagger UI sets style attributes and has images in data URLs.
_DOCS_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
_CSP: Final = b"content-security-policy"
_API_HEADER: Final = (_CSP, API_POLICY.encode())
_DOCS_HEADER: Final = (_CSP, _DOCS_POLICY.encode())
_CACHE_CONTROL: Final = b"cache-control"
_NO_STORE_HEADER: Final = (_CACHE_CONTROL, NO_STORE.encode())


class SecurityHeadersMiddleware:
    """ASGI middleware that adds Content-Security-Policy and, if it is missing, Cache-Control."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on and complete the headers of the response."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        policy = _DOCS_HEADER if scope["path"] == DOCS_PATH else _API_HEADER

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = [*message.get("headers", ()), policy]
                for name, _ in headers:
                    if name == _CACHE_CONTROL:
                        break
                else:
                    headers.append(_NO_STORE_HEADER)
                message["headers"] = headers
            await send(message)

        await self._app(scope, receive, send_with_headers)
