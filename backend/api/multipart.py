"""Parsing of multipart forms in memory."""

import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from backend.api.errors import MalformedRequestError
from backend.inference.errors import ImageTooLargeError

_PLAIN_CONTENT_TYPE: Final = re.compile(r"multipart/form-data; ?boundary=([A-Za-z0-9_-]{1,70})")
_EXTENDED_NAME: Final = re.compile(rb"(?i)filename\*\s*=\s*utf-8'[^']*'([!-:<-~]+)")  # RFC 5987
_PLAIN_HEADERS: Final = re.compile(
    rb'(?i:content-disposition: form-data); name="(file|image)"; filename="([^"\\%*\r\n]*)"'
    rb"(?:\r\n(?i:content-type): [^\r\n]*)?"
)
MAX_PARTS: Final = 10_000
_MAX_HEADER_BYTES: Final = 8_000
_MAX_CONTENT_TYPE: Final = 1_000  # characters
# Semicolons in a Content-Disposition, also in a file name: parsing takes time with their square.
_MAX_SEMICOLONS: Final = 50


@dataclass(slots=True)
class Upload:
    """One part of a form, or a raw body.

    `data` is empty if the part is `oversized`. `filename` is returned to the client and used for
    nothing else; the limit on headers bounds it.
    """

    name: str
    filename: str | None = None
    data: bytes | bytearray = b""
    oversized: bool = False

    def read(self, max_bytes: int) -> bytes:
        """Return the data; raise ImageTooLargeError if it exceeded `max_bytes`."""
        if self.oversized:
            raise ImageTooLargeError(
                f"The file is larger than {max_bytes:,} bytes. Scale the image down and send it "
                "again."
            )
        self.data = bytes(self.data)  # keeps no second copy
        return self.data


def parse_boundary(content_type: str) -> bytes:
    """Return the boundary of a Content-Type; raise MalformedRequestError if there is none."""
    if plain := _PLAIN_CONTENT_TYPE.fullmatch(content_type):
        return plain[1].encode()
    is_short = len(content_type) <= _MAX_CONTENT_TYPE
    _, options = parse_options_header(content_type if is_short else None)
    boundary = options.get(b"boundary")
    if not boundary:
        raise MalformedRequestError("The multipart form has no boundary in its Content-Type.")
    return boundary


def parse_single_part(body: bytes, boundary: bytes, max_part_bytes: int) -> Upload | None:
    """Return the image of a form with one plain part, or None for any other form.

    Most forms are of this kind; it is faster than FormParser, which parses any form.
    """
    opening, closing = b"--" + boundary + b"\r\n", b"\r\n--" + boundary
    headers_end = body.find(b"\r\n\r\n", 0, _MAX_HEADER_BYTES)
    if headers_end < 0 or not body.startswith(opening):
        return None
    headers = _PLAIN_HEADERS.fullmatch(body, len(opening), headers_end)
    start, end = headers_end + 4, body.find(closing, headers_end + 4)
    if headers is None or end < 0 or body[end + len(closing) :] not in (b"--\r\n", b"--"):
        return None
    name, filename = headers[1].decode("ascii"), headers[2].decode("utf-8", "replace")
    if end - start > max_part_bytes:
        return Upload(name, filename, oversized=True)
    return Upload(name, filename, body[start:end])


class FormParser:
    """Parses a form as it arrives and drops the data of parts above `max_part_bytes`.

    Raises MalformedRequestError if the form is invalid or incomplete, or has more than `max_parts`.
    """

    def __init__(self, boundary: bytes, max_part_bytes: int, max_parts: int = MAX_PARTS) -> None:
        self._parts: list[Upload] = []
        self._max_parts = max_parts
        self._has_disposition = False  # the current part
        self._is_complete = False
        self._max_part_bytes = max_part_bytes
        self._delimiter = b"--" + boundary
        self._preamble: bytes | None = b""  # its end; None: the first part has begun
        self._header_name = bytearray()
        self._header_value = bytearray()
        try:
            self._parser = MultipartParser(
                boundary,
                {
                    "on_part_begin": self._on_part_begin,
                    "on_header_field": self._on_header_field,
                    "on_header_value": self._on_header_value,
                    "on_header_end": self._on_header_end,
                    "on_part_data": self._on_part_data,
                    "on_end": self._on_end,
                },
            )
        except FormParserError as error:
            raise _malformed_error() from error

    def write(self, chunk: bytes) -> None:
        """Parse one more chunk."""
        if self._preamble is not None:  # the parser skips one only if it is in the first chunk
            chunk = self._preamble + chunk
            start = chunk.find(self._delimiter)
            if start < 0:
                self._preamble = chunk[1 - len(self._delimiter) :]
                return
            chunk, self._preamble = chunk[start:], None
        try:
            self._parser.write(chunk)
        except FormParserError as error:
            raise _malformed_error() from error

    def close(self) -> None:
        """Free the memory at once: the parser and this object form a reference cycle."""
        del self._parser
        self._parts = []

    def finish(self) -> list[Upload]:
        """Return the parts in order."""
        if not self._is_complete:
            raise MalformedRequestError("The multipart form is incomplete.")
        return self._parts

    def _on_part_begin(self) -> None:
        if len(self._parts) >= self._max_parts:
            raise MalformedRequestError(
                f"The form has more than {self._max_parts:,} parts. Send fewer."
            )
        self._has_disposition = False
        self._parts.append(Upload("", data=bytearray()))

    def _on_header_field(self, data: bytes, start: int, end: int) -> None:
        _extend(self._header_name, data[start:end])

    def _on_header_value(self, data: bytes, start: int, end: int) -> None:
        _extend(self._header_value, data[start:end])

    def _on_header_end(self) -> None:
        if self._header_name.lower() == b"content-disposition":
            if self._has_disposition or self._header_value.count(b";") > _MAX_SEMICOLONS:
                raise MalformedRequestError("A part of the form has too many parameters.")
            self._has_disposition = True
            _, options = parse_options_header(bytes(self._header_value))
            part = self._parts[-1]
            part.name = options.get(b"name", b"").decode("utf-8", "replace")
            if extended := _EXTENDED_NAME.search(self._header_value):
                part.filename = unquote(extended[1].decode("ascii"), errors="replace")
            elif b"filename" in options:
                part.filename = options[b"filename"].decode("utf-8", "replace")
        self._header_name.clear()
        self._header_value.clear()

    def _on_part_data(self, data: bytes, start: int, end: int) -> None:
        part = self._parts[-1]
        if len(part.data) + end - start > self._max_part_bytes:
            part.oversized = True
            part.data = b""
        if not part.oversized:
            part.data += memoryview(data)[start:end]

    def _on_end(self) -> None:
        self._is_complete = True


def _extend(buffer: bytearray, data: bytes) -> None:
    if len(buffer) + len(data) > _MAX_HEADER_BYTES:
        raise MalformedRequestError("A header of the multipart form is too long.")
    buffer += data


def _malformed_error() -> MalformedRequestError:
    return MalformedRequestError("The multipart form cannot be parsed.")
