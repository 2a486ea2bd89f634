"""A minimal HTTP/1.1 client.

The cost of the client must be small compared with the server's: of a response, only the status
and the length are parsed.
"""

import asyncio
import base64
import json
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Literal, cast

Protocol = Literal["form", "raw", "gradio"]

BROKEN = 0  # in place of a status: the connection ended before the response
_BOUNDARY = "prism-bench-d41d8cd98f00b204"
_CONTENT_TYPES = {
    ".jpg": "image/jpeg",
    ".png": "image/png",
    ".webp": "image/webp",
    ".heic": "image/heic",
}


def get_request(path: str) -> bytes:
    """Return the bytes of a GET request on a persistent connection."""
    return f"GET {path} HTTP/1.1\r\nHost: localhost\r\nAccept: */*\r\n\r\n".encode()


def upload_request(
    path: str, image: Path, protocol: Protocol = "form", *, number: int = 0
) -> bytes:
    """Return the bytes of a POST request with `image`; `number` replaces {number} in the path.

    `form` sends the form field `file`, `raw` the file as the body, `gradio` a data URL in JSON.
    """
    headers, body = _ENCODERS[protocol](image, image.read_bytes())
    target = path.replace("{number}", str(number))
    lines = [f"POST {target} HTTP/1.1", "Host: localhost", "Accept: */*", *headers]
    return "\r\n".join([*lines, f"Content-Length: {len(body)}", "", ""]).encode() + body


Encoded = tuple[list[str], bytes]  # headers and body


def _encode_form(image: Path, content: bytes) -> Encoded:
    form = (
        f"--{_BOUNDARY}\r\n"
        f'Content-Disposition: form-data; name="file"; filename="{image.name}"\r\n'
        f"Content-Type: {_CONTENT_TYPES[image.suffix]}\r\n\r\n"
    ).encode()
    body = form + content + f"\r\n--{_BOUNDARY}--\r\n".encode()
    return [f"Content-Type: multipart/form-data; boundary={_BOUNDARY}"], body


def _encode_raw(image: Path, content: bytes) -> Encoded:
    return [f"Content-Type: {_CONTENT_TYPES[image.suffix]}"], content


def _encode_gradio(image: Path, content: bytes) -> Encoded:
    url = f"data:{_CONTENT_TYPES[image.suffix]};base64,{base64.b64encode(content).decode()}"
    value = {"url": url, "orig_name": image.name, "meta": {"_type": "gradio.FileData"}}
    return ["Content-Type: application/json"], json.dumps({"data": [value]}).encode()


_ENCODERS: dict[Protocol, Callable[[Path, bytes], Encoded]] = {
    "form": _encode_form,
    "raw": _encode_raw,
    "gradio": _encode_gradio,
}


class Connection(asyncio.Protocol):
    """A persistent connection with at most one pending request.

    `on_response(connection, status)` is called once for each `send`, with BROKEN if the connection
    ended before the response. `due` is in seconds, on the clock of `perf_counter`.
    """

    def __init__(self, on_response: Callable[["Connection", int], None]) -> None:
        self.is_open = False
        self.due = 0.0
        self._on_response = on_response
        self._is_pending = False
        self._buffer = bytearray()
        self._end: int | None = None  # of the response in the buffer
        self._is_chunked = self._is_closing = False
        self._status = BROKEN

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self.is_open = True

    def send(self, request: bytes, due: float | None = None) -> None:
        """Send a request; `due` is its scheduled time (default: now)."""
        self.due = perf_counter() if due is None else due
        self._is_pending = True
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if self._end is None and not self._is_chunked and not self._read_head():
            return
        if self._is_chunked:
            is_complete = self._buffer.endswith(b"\r\n0\r\n\r\n")
        else:
            is_complete = self._end is not None and len(self._buffer) >= self._end
        if is_complete:
            self._finish()

    def connection_lost(self, error: Exception | None) -> None:
        self.is_open = False
        if self._is_pending:
            self._is_pending = False
            self._on_response(self, BROKEN)

    def close(self) -> None:
        """Close the connection; a pending request is no longer reported."""
        self._is_pending = False
        if self.is_open:
            self.is_open = False
            self._transport.abort()

    def _read_head(self) -> bool:
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return False
        head = bytes(self._buffer[:end]).lower()
        self._status = int(head[9:12])
        self._is_closing = b"\r\nconnection: close" in head
        self._is_chunked = b"\r\ntransfer-encoding: chunked" in head
        _, header, rest = head.partition(b"\r\ncontent-length:")
        self._end = end + 4 + (int(rest.partition(b"\r\n")[0]) if header else 0)
        return True

    def _finish(self) -> None:
        self._buffer.clear()
        self._end, self._is_chunked = None, False
        was_pending, self._is_pending = self._is_pending, False
        if self._is_closing:
            self.is_open = False
            self._transport.close()
        if was_pending:
            self._on_response(self, self._status)


async def connect(port: int, on_response: Callable[[Connection, int], None]) -> Connection:
    """Open a connection to a server on this machine; raise OSError if no server listens."""
    loop = asyncio.get_running_loop()
    _, connection = await loop.create_connection(lambda: Connection(on_response), "127.0.0.1", port)
    return connection
