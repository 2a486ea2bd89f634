"""Limit on the memory that all request bodies use together."""

import asyncio
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from traceback import clear_frames
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from backend.api.clients import client_of
from backend.api.fields import fields_of
from backend.api.middleware.draining import discard_body
from backend.api.parameters import parse_integer
from backend.inference.admission import CLIENT_FACTOR
from backend.inference.errors import QueueFullError

_UNCOUNTED_BYTES: Final = 16_384  # smaller bodies are not counted
_RETRY_AFTER: Final = 1.0  # seconds
_DISCARD_SECONDS: Final = 30.0  # for the rest of a refused body


class BodyMemoryMiddleware:
    """ASGI middleware that limits the bodies in memory to `max_bytes` in total.

    A client may hold CLIENT_FACTOR times as many bytes as are free, so that others can always send
    some. A single body may be larger. A body that does not fit is refused with 429 `queue_full`.
    """

    def __init__(self, app: ASGIApp, max_bytes: int, trusted_proxies: int = 0) -> None:
        self._app = app
        self._max_bytes = max_bytes
        self._trusted_proxies = trusted_proxies
        self._used = 0
        self._held: Counter[str] = Counter()  # bytes by client

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on and count the bytes of its body as they arrive."""
        if scope["type"] != "http" or _is_small(fields_of(scope)):
            await self._app(scope, receive, send)
            return
        client = ""  # known once the application reads the body
        size = 0
        incomplete: QueueFullError | None = None  # the refusal, while the client still sends

        async def counting_receive() -> Message:
            nonlocal client, size, incomplete
            client = client or client_of(scope, self._trusted_proxies)
            message = await receive()
            chunk_size = len(message.get("body", b""))
            if chunk_size and self._used > size and not self._fits(client, chunk_size):
                self._add(client, -size)
                size = 0
                error = QueueFullError(
                    "Too many images are being uploaded at the same time. Try again later.",
                    retry_after=_RETRY_AFTER,
                )
                incomplete = error if message.get("more_body", False) else None
                raise error
            size += chunk_size
            self._add(client, chunk_size)
            return message

        async def send_after_body(message: Message) -> None:
            nonlocal incomplete
            if incomplete is not None:
                # The traceback refers to the received part, which may be large and is not counted.
                clear_frames(incomplete.__traceback__)
                incomplete = None
                with suppress(TimeoutError):
                    async with asyncio.timeout(_DISCARD_SECONDS):
                        await discard_body(receive)
            await send(message)

        try:
            await self._app(scope, counting_receive, send_after_body)
        finally:
            if size:
                self._add(client, -size)

    def _fits(self, client: str, size: int) -> bool:
        free = self._max_bytes - self._used - size
        return free >= 0 and self._held[client] + size <= CLIENT_FACTOR * free

    def _add(self, client: str, size: int) -> None:
        self._used += size
        self._held[client] += size
        if not self._held[client]:
            del self._held[client]


def _is_small(fields: Mapping[bytes, bytes]) -> bool:
    length = fields.get(b"content-length")
    if length is None:
        return b"transfer-encoding" not in fields
    try:
        return parse_integer(length.decode("latin-1")) <= _UNCOUNTED_BYTES
    except ValueError:
        return False
