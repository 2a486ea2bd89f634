"""The bytes of a multipart form -> its parts, in memory only."""

import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from backend.api.errors import MalformedRequestError
from backend.inference.errors import ImageTooLargeError

_EXTENDED_NAME: Final = re.compile(rb"(?i)filename\*\s*=\s*utf-8'[^']*'([!-:<-~]+)")  # RFC 5987
_PLAIN_HEAD: Final = re.compile(
    rb'(?i:content-disposition: form-data); name="(file|image)"; filename="([^"\\%*\r\n]*)"'
    rb"(?:\r\n(?i:content-type): [^\r\n]*)?"
)
_MAX_PARTS: Final = 10_000
_MAX_HEADER: Final = 8_000


@dataclass(slots=True)
class Upload:
    """One part of a form, or a raw body. `oversized` parts keep no bytes.

    A file's name is echoed in the answer and used for nothing else.
    """

    name: str
    filename: str | None = None
    data: bytes | bytearray = b""
    oversized: bool = False

    def content(self, max_bytes: int) -> bytes:
        """The bytes; raises ImageTooLargeError where there were more than `max_bytes`."""
        if self.oversized:
            raise ImageTooLargeError(
                f"The file is larger than {max_bytes:,} bytes. Scale the picture down and send "
                "it again."
            )
        return bytes(self.data)


def boundary(content_type: str) -> bytes:
    """The boundary that a Content-Type names; raises MalformedRequestError where it does not."""
    _, options = parse_options_header(content_type)
    found = options.get(b"boundary")
    if not found:
        raise MalformedRequestError("The multipart form has no boundary in its Content-Type.")
    return found


def only_part(body: bytes, boundary: bytes, max_part: int) -> Upload | None:
    """The picture of a form of one plain part, as most are, or None: `Form` reads any form."""
    opening, closing = b"--" + boundary + b"\r\n", b"\r\n--" + boundary
    head_end = body.find(b"\r\n\r\n", 0, _MAX_HEADER)
    if head_end < 0 or not body.startswith(opening):
        return None
    head = _PLAIN_HEAD.fullmatch(body, len(opening), head_end)
    start, end = head_end + 4, body.find(closing, head_end + 4)
    if head is None or end < 0 or body[end + len(closing) :] not in (b"--\r\n", b"--"):
        return None
    name, filename = head[1].decode("ascii"), head[2].decode("utf-8", "replace")
    if end - start > max_part:
        return Upload(name, filename, oversized=True)
    return Upload(name, filename, body[start:end])


class Form:
    """Reads a form as it arrives; a part beyond `max_part` bytes is dropped.

    Raises MalformedRequestError where it cannot be parsed or breaks off.
    """

    def __init__(self, boundary: bytes, max_part: int) -> None:
        self._parts: list[Upload] = []
        self._ended = False
        self._max_part = max_part
        self._header = bytearray()
        self._value = bytearray()
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
            raise _malformed() from error

    def write(self, chunk: bytes) -> None:
        """Parse one more piece."""
        try:
            self._parser.write(chunk)
        except FormParserError as error:
            raise _malformed() from error

    def close(self) -> None:
        """Let go of what was read, at once: parser and form refer to each other."""
        del self._parser
        self._parts = []

    def finish(self) -> list[Upload]:
        """The parts, in order."""
        if not self._ended:
            raise MalformedRequestError("The multipart form breaks off before its end.")
        return self._parts

    def _on_part_begin(self) -> None:
        if len(self._parts) >= _MAX_PARTS:
            raise MalformedRequestError(f"The form has more than {_MAX_PARTS:,} parts.")
        self._parts.append(Upload("", data=bytearray()))

    def _on_header_field(self, data: bytes, start: int, end: int) -> None:
        _extend(self._header, data[start:end])

    def _on_header_value(self, data: bytes, start: int, end: int) -> None:
        _extend(self._value, data[start:end])

    def _on_header_end(self) -> None:
        if self._header.lower() == b"content-disposition":
            _, options = parse_options_header(bytes(self._value))
            part = self._parts[-1]
            part.name = options.get(b"name", b"").decode("utf-8", "replace")
            if extended := _EXTENDED_NAME.search(self._value):
                part.filename = unquote(extended[1].decode("ascii"), errors="replace")
            elif b"filename" in options:
                part.filename = options[b"filename"].decode("utf-8", "replace")
        self._header.clear()
        self._value.clear()

    def _on_part_data(self, data: bytes, start: int, end: int) -> None:
        part = self._parts[-1]
        if len(part.data) + end - start > self._max_part:
            part.oversized = True
            part.data = b""
        if not part.oversized:
            part.data += memoryview(data)[start:end]

    def _on_end(self) -> None:
        self._ended = True


def _extend(buffer: bytearray, data: bytes) -> None:
    if len(buffer) + len(data) > _MAX_HEADER:
        raise MalformedRequestError("A header of the multipart form is too long.")
    buffer += data


def _malformed() -> MalformedRequestError:
    return MalformedRequestError("The multipart form cannot be parsed.")
