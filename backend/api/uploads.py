"""The body of a request -> the pictures and fields in it."""

import asyncio
from contextlib import closing
from typing import Final

from starlette.requests import Request

from backend.api import body as limits
from backend.api import multipart
from backend.api.errors import BodyTooLargeError, MissingFileError, UnsupportedMediaTypeError
from backend.api.multipart import Form, Upload

FILE_FIELDS: Final = ("file", "image", "files")
_RAW_TYPES: Final = ("image/", "application/octet-stream")
_FORM_OVERHEAD: Final = 100_000
_PIECE: Final = 65_536  # bytes of a form that are parsed at a time


async def read_one(request: Request, max_bytes: int) -> Upload:
    """Read the one picture of a request: the field `file` or `image`, or the raw body.

    Raises MissingFileError, MalformedRequestError or UnsupportedMediaTypeError; a picture beyond
    `max_bytes` comes back as `oversized`.
    """
    try:
        if is_form(request):
            return await _read_form_of_one(request, max_bytes)
        if is_picture(request):
            return Upload("file", None, await limits.read(request, max_bytes))
    except BodyTooLargeError:
        return Upload("file", oversized=True)
    raise UnsupportedMediaTypeError(
        "Send the picture as multipart/form-data in the field 'file', or as the raw body with "
        "an image/* Content-Type."
    )


async def read_many(request: Request, max_bytes: int, max_total: int) -> list[Upload]:
    """Read every picture of a form, in order.

    Raises what `read_one` does, and BodyTooLargeError beyond `max_total` bytes.
    """
    if not is_form(request):
        raise UnsupportedMediaTypeError(
            "Send the pictures as multipart/form-data, each in a field 'file'."
        )
    parts = await read_form(request, max_total, max_bytes)
    first_file(parts)
    return [part for part in parts if part.name in FILE_FIELDS]


async def read_form(request: Request, max_total: int, max_part: int) -> list[Upload]:
    """Parse a multipart form of at most `max_total` bytes into its parts.

    A part beyond `max_part` bytes is marked `oversized` and dropped as it arrives.
    """
    form = Form(multipart.boundary(request.headers.get("content-type", "")), max_part)
    with closing(form):
        async for chunk in limits.chunks(request, max_total):
            form.write(chunk)
        return form.finish()


def is_form(request: Request) -> bool:
    """Whether the body is a multipart form."""
    return _media_type(request) == "multipart/form-data"


def is_picture(request: Request) -> bool:
    """Whether the body claims to be a picture, or does not say what it is."""
    return _media_type(request).startswith(_RAW_TYPES)


def first_file(parts: list[Upload]) -> Upload:
    """Return the first part that holds a picture; raises MissingFileError where none does."""
    files = [part for part in parts if part.name in FILE_FIELDS]
    # A browser sends an unused input as a nameless, empty file.
    for part in sorted(files, key=lambda part: not part.data and not part.filename):
        return part
    raise MissingFileError("The form has no field 'file'. Send the picture in a field 'file'.")


async def _read_form_of_one(request: Request, max_bytes: int) -> Upload:
    boundary = multipart.boundary(request.headers.get("content-type", ""))
    body = await limits.read(request, max_bytes + _FORM_OVERHEAD)
    if only := multipart.only_part(body, boundary, max_bytes):
        return only
    with closing(Form(boundary, max_bytes)) as form:
        for start in range(0, len(body), _PIECE):
            form.write(body[start : start + _PIECE])
            await asyncio.sleep(0)  # a form may be made to take seconds: others have their turn
        return first_file(form.finish())


def _media_type(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()
