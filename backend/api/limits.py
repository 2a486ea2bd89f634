"""Bodies within bounds: bytes are counted as they arrive."""

from collections.abc import AsyncIterator
from typing import Final

from starlette.requests import Request

from backend.api.errors import BodyTooLargeError, MalformedRequestError

# A client that is still sending rarely reads an early answer and sees a broken pipe instead, so
# what is too much is read on and thrown away, up to this multiple of the limit.
_DISCARD: Final = 4


async def chunks(request: Request, limit: int) -> AsyncIterator[bytes]:
    """Yield the body piece by piece.

    Raises BodyTooLargeError once more than `limit` bytes have come (or are announced by a client
    that waits for `100 Continue`), MalformedRequestError for a Content-Length that is no number.
    """
    announced = request.headers.get("content-length", "0")
    if not announced.isdecimal():
        raise MalformedRequestError("The Content-Length is not a number.")
    if int(announced) > limit and (
        "expect" in request.headers or int(announced) > _DISCARD * limit
    ):
        raise _too_large(limit)
    received = 0
    async for chunk in request.stream():
        received += len(chunk)
        if received <= limit:
            yield chunk
        elif received > _DISCARD * limit:
            break
    if received > limit:
        raise _too_large(limit)


async def read(request: Request, limit: int) -> bytes:
    """Read a whole body of at most `limit` bytes."""
    return b"".join([chunk async for chunk in chunks(request, limit)])


def _too_large(limit: int) -> BodyTooLargeError:
    return BodyTooLargeError(f"The request is larger than {limit:,} bytes. Send a smaller one.")
