"""Bodies within bounds: bytes are counted as they arrive, and the time that they take."""

import asyncio
from collections.abc import AsyncIterator
from typing import Final

from starlette.requests import ClientDisconnect, Request

from backend.api.errors import BodyTimeoutError, BodyTooLargeError, MalformedRequestError
from backend.settings import Settings

# A client that is still sending rarely reads an early answer and sees a broken pipe instead, so
# what is too much is read on and thrown away, up to this multiple of the limit.
_DISCARD: Final = 4


async def chunks(request: Request, limit: int) -> AsyncIterator[bytes]:
    """Yield the body piece by piece.

    Raises BodyTooLargeError once more than `limit` bytes have come (or are announced by a client
    that waits for `100 Continue`), BodyTimeoutError where they take too long, ClientDisconnect
    where they never come, MalformedRequestError for a Content-Length that is no number.
    """
    announced = request.headers.get("content-length", "0")
    if not announced.isdecimal():
        raise MalformedRequestError("The Content-Length is not a number.")
    if int(announced) > limit and (
        "expect" in request.headers or int(announced) > _DISCARD * limit
    ):
        raise _too_large(limit)
    settings: Settings = request.state.settings
    received, more = 0, True
    deadline = asyncio.get_running_loop().time() + settings.body_timeout
    while more and received <= _DISCARD * limit:
        try:
            async with asyncio.timeout_at(deadline):
                message = await request.receive()
        except TimeoutError as error:
            raise BodyTimeoutError(
                f"The request was not complete after {settings.body_timeout:g} s. Send it again, "
                "or send a smaller picture."
            ) from error
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        more = message.get("more_body", False)
        chunk: bytes = message.get("body", b"")
        received += len(chunk)
        if received <= limit:
            yield chunk
    if received > limit:
        raise _too_large(limit)


async def read(request: Request, limit: int) -> bytes:
    """Read a whole body of at most `limit` bytes."""
    whole = bytearray()  # one block, which goes back whole: many small ones would linger
    async for chunk in chunks(request, limit):
        whole += chunk
    return bytes(whole)


def _too_large(limit: int) -> BodyTooLargeError:
    return BodyTooLargeError(f"The request is larger than {limit:,} bytes. Send a smaller one.")
