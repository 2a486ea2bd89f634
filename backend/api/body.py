"""Reading of request bodies, with limits on size and time, and of the images in them."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import closing
from typing import Final

from starlette.requests import ClientDisconnect, Request
from starlette.types import Message

from backend.api import errors, multipart
from backend.api.fields import fields_of
from backend.api.multipart import MAX_PARTS, FormParser, Upload
from backend.api.parameters import parse_integer
from backend.settings import Settings

# Key of a request's state that the server sets once the whole body has arrived.
BODY_RECEIVED: Final = "body_received"

FILE_FIELDS: Final = ("file", "image", "files")

_IMAGE_TYPES: Final = ("image/", "application/octet-stream")
_FORM_OVERHEAD_BYTES: Final = 100_000
_MAX_SINGLE_PARTS: Final = 100  # parts of a form with one image
_PARSE_CHUNK_BYTES: Final = 65_536  # parsed before other requests get their turn
# A client that is still sending rarely reads an early response and sees a broken pipe instead, so
# an oversized body is read and discarded up to this multiple of the limit.
_DISCARD_FACTOR: Final = 4


async def read_image(request: Request, max_bytes: int) -> Upload:
    """Read the image of a request: the form field `file` or `image`, or the raw body.

    An image above `max_bytes` is returned as `oversized`. Raises MissingFileError,
    TooManyFilesError, MalformedRequestError or UnsupportedMediaTypeError.
    """
    try:
        if is_form(request):
            return await _read_single_image_form(request, max_bytes)
        if is_raw_image(request):
            return Upload("file", None, await read_body(request, max_bytes))
    except errors.BodyTooLargeError:
        return Upload("file", oversized=True)
    raise errors.UnsupportedMediaTypeError(
        "Send the image as multipart/form-data in the field 'file', or as the raw body with an "
        "image/* Content-Type."
    )


async def read_images(request: Request, max_bytes: int, max_total_bytes: int) -> list[Upload]:
    """Read all images of a form, in order.

    Raises the same errors as `read_image`, and BodyTooLargeError above `max_total_bytes`.
    """
    if not is_form(request):
        raise errors.UnsupportedMediaTypeError(
            "Send the images as multipart/form-data, each in a field 'file'."
        )
    return _images(await read_form(request, max_total_bytes, max_bytes))


async def read_form(
    request: Request, max_total_bytes: int, max_part_bytes: int, max_parts: int = MAX_PARTS
) -> list[Upload]:
    """Parse a multipart form of at most `max_total_bytes` and `max_parts` into its parts.

    A part above `max_part_bytes` is marked `oversized`, and its data is dropped.
    """
    boundary = multipart.parse_boundary(_content_type(request))
    with closing(FormParser(boundary, max_part_bytes, max_parts)) as form:
        async for chunk in _read_chunks(request, max_total_bytes):
            form.write(chunk)
        return form.finish()


async def read_body(request: Request, max_bytes: int) -> bytes | bytearray:
    """Read a whole body of at most `max_bytes`.

    Raises BodyTooLargeError if more bytes arrive, or are announced by a client that waits for
    `100 Continue`; BodyTimeoutError if the body takes too long; ClientDisconnect;
    MalformedRequestError for an invalid Content-Length; and UnsupportedMediaTypeError for a
    compressed body.
    """
    chunks = _read_chunks(request, max_bytes)
    if BODY_RECEIVED in request.scope["state"]:
        return b"".join([chunk async for chunk in chunks])  # one chunk, which is not copied
    body = bytearray()  # a single block: many small ones would fragment the heap
    async for chunk in chunks:
        body += chunk
    return body  # a copy would need twice the memory


def is_form(request: Request) -> bool:
    """Return whether the body is a multipart form."""
    return _media_type(request) == "multipart/form-data"


def is_raw_image(request: Request) -> bool:
    """Return whether the Content-Type is that of an image or of unspecified binary data."""
    return _media_type(request).startswith(_IMAGE_TYPES)


async def _read_single_image_form(request: Request, max_bytes: int) -> Upload:
    boundary = multipart.parse_boundary(_content_type(request))
    body = bytes(await read_body(request, max_bytes + _FORM_OVERHEAD_BYTES))
    if part := multipart.parse_single_part(body, boundary, max_bytes):
        return part
    with closing(FormParser(boundary, max_bytes, _MAX_SINGLE_PARTS)) as form:
        for start in range(0, len(body), _PARSE_CHUNK_BYTES):
            form.write(body[start : start + _PARSE_CHUNK_BYTES])
            await asyncio.sleep(0)  # a crafted form can take seconds to parse
        return _single_image(_images(form.finish()))


def _single_image(images: list[Upload]) -> Upload:
    """Return the only image; raise TooManyFilesError if there are several."""
    # A browser sends an unused file input as an empty file without a name.
    used = [part for part in images if part.data or part.filename or part.oversized]
    if len(used) > 1:
        raise errors.TooManyFilesError(
            f"The form has {len(used)} files. Send one, or send all of them to /classify/batch."
        )
    return (used or images)[0]


def _images(parts: list[Upload]) -> list[Upload]:
    """Return the parts with images; raise MissingFileError if there are none."""
    images = [part for part in parts if part.name in FILE_FIELDS]
    if not images:
        raise errors.MissingFileError(
            "The form has no field 'file'. Send the image in a field 'file'."
        )
    return images


async def _read_chunks(request: Request, max_bytes: int) -> AsyncIterator[bytes]:
    """Yield the chunks of a body of at most `max_bytes`; raises the errors of `read_body`."""
    fields = fields_of(request.scope)
    if fields.get(b"content-encoding", b"identity").strip().lower() != b"identity":
        raise errors.UnsupportedMediaTypeError(
            "The body has a Content-Encoding. Send it uncompressed, without this header."
        )
    content_length = _content_length(fields)
    if content_length > max_bytes and (
        b"expect" in fields or content_length > _DISCARD_FACTOR * max_bytes
    ):
        raise _too_large_error(max_bytes)
    state = request.scope["state"]
    settings: Settings = state["settings"]
    received, has_more = 0, True
    deadline = asyncio.get_running_loop().time() + settings.body_timeout
    while has_more and received <= _DISCARD_FACTOR * max_bytes:
        if BODY_RECEIVED in state:
            message = await request.receive()  # does not wait
        else:
            message = await _receive_until(deadline, request, settings.body_timeout)
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        has_more = message.get("more_body", False)
        chunk: bytes = message.get("body", b"")
        received += len(chunk)
        if received <= max_bytes:
            yield chunk
    if received > max_bytes:
        raise _too_large_error(max_bytes)


async def _receive_until(deadline: float, request: Request, seconds: float) -> Message:
    """Return the next message; raise BodyTimeoutError at the deadline, `seconds` after the head."""
    try:
        async with asyncio.timeout_at(deadline):
            return await request.receive()
    except TimeoutError as error:
        raise errors.BodyTimeoutError(
            f"The request was incomplete after {seconds:g} s. Send it again, or send less at "
            "a time."
        ) from error


def _content_length(fields: Mapping[bytes, bytes]) -> int:
    try:
        length = parse_integer(fields.get(b"content-length", b"0").decode("latin-1"))
    except ValueError:
        length = -1
    if length < 0:
        raise errors.MalformedRequestError("The Content-Length is not a number.")
    return length


def _media_type(request: Request) -> str:
    return _content_type(request).partition(";")[0].strip().lower()


def _content_type(request: Request) -> str:
    return fields_of(request.scope).get(b"content-type", b"").decode("latin-1")


def _too_large_error(max_bytes: int) -> errors.BodyTooLargeError:
    return errors.BodyTooLargeError(
        f"The request is larger than {max_bytes:,} bytes. Send a smaller one."
    )
