"""The body of a request -> the pictures and fields in it, in memory only.

A file's name is echoed in the answer and used for nothing else.
"""

import re
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import unquote

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import Request

from backend.api import limits
from backend.api.errors import (
    BodyTooLargeError,
    MalformedRequestError,
    MissingFileError,
    UnsupportedMediaTypeError,
)
from backend.inference.errors import ImageTooLargeError

FILE_FIELDS: Final = ("file", "image", "files")
_RAW_TYPES: Final = ("image/", "application/octet-stream")
_EXTENDED_NAME: Final = re.compile(rb"(?i)filename\*\s*=\s*utf-8'[^']*'([!-:<-~]+)")  # RFC 5987
_FORM_OVERHEAD: Final = 100_000
_MAX_PARTS: Final = 10_000
_MAX_HEADER: Final = 8_000


@dataclass(slots=True)
class Upload:
    """One part of a form, or a raw body. `oversized` parts keep no bytes."""

    name: str
    filename: str | None = None
    data: bytearray = field(default_factory=bytearray)
    oversized: bool = False

    def content(self, max_bytes: int) -> bytes:
        """The bytes; raises ImageTooLargeError where there were more than `max_bytes`."""
        if self.oversized:
            raise ImageTooLargeError(
                f"The file is larger than {max_bytes:,} bytes. Scale the picture down and send "
                "it again."
            )
        return bytes(self.data)


async def read_one(request: Request, max_bytes: int) -> Upload:
    """Read the one picture of a request: the field `file` or `image`, or the raw body.

    Raises MissingFileError, MalformedRequestError or UnsupportedMediaTypeError; a picture beyond
    `max_bytes` comes back as `oversized`.
    """
    try:
        if is_form(request):
            return first_file(await read_form(request, max_bytes + _FORM_OVERHEAD, max_bytes))
        if is_picture(request):
            return Upload("file", None, bytearray(await limits.read(request, max_bytes)))
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


async def read_form(request: Request, max_total: int, max_part: int) -> list[Upload]:
    """Parse a multipart form of at most `max_total` bytes into its parts.

    A part beyond `max_part` bytes is marked `oversized` and dropped as it arrives.
    """
    _, options = parse_options_header(request.headers.get("content-type"))
    boundary = options.get(b"boundary")
    if not boundary:
        raise MalformedRequestError("The multipart form has no boundary in its Content-Type.")
    form = _Form(max_part)
    try:
        parser = MultipartParser(
            boundary,
            {
                "on_part_begin": form.on_part_begin,
                "on_header_field": form.on_header_field,
                "on_header_value": form.on_header_value,
                "on_header_end": form.on_header_end,
                "on_part_data": form.on_part_data,
                "on_end": form.on_end,
            },
        )
        async for chunk in limits.chunks(request, max_total):
            parser.write(chunk)
    except FormParserError as error:
        raise MalformedRequestError("The multipart form cannot be parsed.") from error
    if not form.ended:
        raise MalformedRequestError("The multipart form breaks off before its end.")
    return form.parts


def _media_type(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


class _Form:
    """Collects what the parser calls back."""

    def __init__(self, max_part: int) -> None:
        self.parts: list[Upload] = []
        self.ended = False
        self._max_part = max_part
        self._header = bytearray()
        self._value = bytearray()

    def on_part_begin(self) -> None:
        if len(self.parts) >= _MAX_PARTS:
            raise MalformedRequestError(f"The form has more than {_MAX_PARTS:,} parts.")
        self.parts.append(Upload(""))

    def on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._add(self._header, data[start:end])

    def on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._add(self._value, data[start:end])

    def on_header_end(self) -> None:
        if self._header.lower() == b"content-disposition":
            _, options = parse_options_header(bytes(self._value))
            part = self.parts[-1]
            part.name = options.get(b"name", b"").decode("utf-8", "replace")
            if extended := _EXTENDED_NAME.search(self._value):
                part.filename = unquote(extended[1].decode("ascii"), errors="replace")
            elif b"filename" in options:
                part.filename = options[b"filename"].decode("utf-8", "replace")
        self._header.clear()
        self._value.clear()

    def on_part_data(self, data: bytes, start: int, end: int) -> None:
        part = self.parts[-1]
        if len(part.data) + end - start > self._max_part:
            part.oversized = True
            part.data.clear()
        if not part.oversized:
            part.data += memoryview(data)[start:end]

    def on_end(self) -> None:
        self.ended = True

    @staticmethod
    def _add(buffer: bytearray, data: bytes) -> None:
        if len(buffer) + len(data) > _MAX_HEADER:
            raise MalformedRequestError("A header of the multipart form is too long.")
        buffer += data
