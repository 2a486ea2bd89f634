"""HTTP/1.1 from the client's side, with as little work as will do.

A generator that costs more than the server measures itself: no headers are parsed beyond the
status and the length, and no answer is looked into.
"""

import asyncio
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import cast

BROKEN = 0  # instead of a status, where the connection ended first
_BOUNDARY = "prism-bench-d41d8cd98f00b204"
_TYPES = {".jpg": "image/jpeg", ".png": "image/png"}


def get(path: str) -> bytes:
    """The bytes of a GET request that keeps its connection."""
    return f"GET {path} HTTP/1.1\r\nHost: localhost\r\nAccept: */*\r\n\r\n".encode()


def upload(path: str, picture: Path) -> bytes:
    """The bytes of a POST request with `picture` as the field `file` of a multipart form."""
    kind = _TYPES[picture.suffix]
    form = (
        f"--{_BOUNDARY}\r\n"
        f'Content-Disposition: form-data; name="file"; filename="{picture.name}"\r\n'
        f"Content-Type: {kind}\r\n\r\n"
    ).encode()
    body = form + picture.read_bytes() + f"\r\n--{_BOUNDARY}--\r\n".encode()
    head = (
        f"POST {path} HTTP/1.1\r\nHost: localhost\r\nAccept: */*\r\n"
        f"Content-Type: multipart/form-data; boundary={_BOUNDARY}\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


class Connection(asyncio.Protocol):
    """A keep-alive connection with at most one request under way.

    `answered(connection, status)` is called once for each `send`, with BROKEN where the connection
    ended before the answer did. `due` is a time of `perf_counter`, in seconds.
    """

    def __init__(self, answered: Callable[["Connection", int], None]) -> None:
        self.alive = False
        self.due = 0.0
        self._answered = answered
        self._waiting = False
        self._buffer = bytearray()
        self._end: int | None = None
        self._chunked = self._closing = False
        self._status = BROKEN

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self.alive = True

    def send(self, request: bytes, due: float | None = None) -> None:
        """Send a request; `due` is when it should have been sent (default: now)."""
        self.due = perf_counter() if due is None else due
        self._waiting = True
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if self._end is None and not self._chunked and not self._read_head():
            return
        if self._chunked:
            done = self._buffer.endswith(b"\r\n0\r\n\r\n")
        else:
            done = self._end is not None and len(self._buffer) >= self._end
        if done:
            self._finish()

    def connection_lost(self, error: Exception | None) -> None:
        self.alive = False
        if self._waiting:
            self._waiting = False
            self._answered(self, BROKEN)

    def close(self) -> None:
        """End the connection; a request under way is not reported any more."""
        self._waiting = False
        if self.alive:
            self.alive = False
            self._transport.abort()

    def _read_head(self) -> bool:
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return False
        head = bytes(self._buffer[:end]).lower()
        self._status = int(head[9:12])
        self._closing = b"\r\nconnection: close" in head
        self._chunked = b"\r\ntransfer-encoding: chunked" in head
        _, found, rest = head.partition(b"\r\ncontent-length:")
        self._end = end + 4 + (int(rest.partition(b"\r\n")[0]) if found else 0)
        return True

    def _finish(self) -> None:
        self._buffer.clear()
        self._end, self._chunked = None, False
        waited, self._waiting = self._waiting, False
        if self._closing:
            self.alive = False
            self._transport.close()
        if waited:
            self._answered(self, self._status)


async def connect(port: int, answered: Callable[[Connection, int], None]) -> Connection:
    """Open a connection to a server on this machine; raises OSError where nobody listens."""
    loop = asyncio.get_running_loop()
    _, connection = await loop.create_connection(lambda: Connection(answered), "127.0.0.1", port)
    return connection
