"""Framing of request bodies: how many of the received bytes belong to the current request.

The HTTP parsers decode the bodies. The framing hands them one request at a time, and bounds what
a chunked body may contain besides data.
"""

import re
from typing import Any, Final, Protocol

from backend.api.errors import HeadTooLargeError, MalformedRequestError

MAX_CHUNK_LINE_BYTES: Final = 256  # the size of a chunk and its extensions
MAX_TRAILER_BYTES: Final = 8192

_MAX_CHUNKS: Final = 256  # handled before other connections get their turn
_CHUNK_LINE: Final = re.compile(rb"([0-9A-Fa-f]{1,16})(?:;[\t -~\x80-\xff]*)?\r\n")


class Body(Protocol):
    """Framing of one body."""

    is_complete: bool

    def take(self, data: Any) -> int:
        """Return how many bytes at the beginning of `data` to parse as part of the body."""


class LengthBody:
    """Body with a Content-Length of at least 1."""

    def __init__(self, length: int) -> None:
        self._remaining = length
        self.is_complete = False

    def take(self, data: bytes | bytearray | memoryview) -> int:
        """Return how many bytes at the beginning of `data` belong to the body."""
        size = min(len(data), self._remaining)
        self._remaining -= size
        self.is_complete = not self._remaining
        return size


class ChunkedBody:
    """Body with Transfer-Encoding: chunked."""

    def __init__(self) -> None:
        self._remaining = 0  # bytes of the current chunk, with its line end
        self._trailer_bytes = -1  # not in the trailers yet
        self.is_complete = False

    def take(self, data: bytes | bytearray) -> int:
        """Return how many bytes at the beginning of `data` belong to the next chunks.

        An incomplete line is left in `data` until the rest of it arrives. Raises
        MalformedRequestError, or HeadTooLargeError for too long lines or trailers.
        """
        position = 0
        for _ in range(_MAX_CHUNKS):
            size = min(len(data) - position, self._remaining)
            position += size
            self._remaining -= size
            if self._remaining or self.is_complete or position == len(data):
                break
            line_size = self._take_line(data, position)
            if not line_size:
                break
            position += line_size
        return position

    def _take_line(self, data: bytes | bytearray, start: int) -> int:
        """Return the size of the line that begins at `start`, or 0 if it is incomplete."""
        is_trailer = self._trailer_bytes >= 0
        limit = MAX_TRAILER_BYTES - self._trailer_bytes if is_trailer else MAX_CHUNK_LINE_BYTES
        end = data.find(b"\r\n", start, start + limit) + 2
        if end < 2:
            if len(data) - start >= limit:
                raise HeadTooLargeError("A chunk's size line or the trailers are too long.")
            return 0
        if is_trailer:
            self._trailer_bytes += end - start
            self.is_complete = end - start == 2
        else:
            match = _CHUNK_LINE.match(data, start)
            if match is None:
                raise MalformedRequestError("The size of a chunk is not a hexadecimal number.")
            if size := int(match[1], 16):
                self._remaining = size + 2
            else:
                self._trailer_bytes = 0
        return end - start
