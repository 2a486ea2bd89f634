"""Responses in one write; uvicorn writes the head and the body of a response separately."""

from typing import Final

from starlette.types import Message
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

from backend.server.refusals import render_fields

_CONTROLS: Final = bytes(set(range(32)) - set(b"\t\r\n")) + b"\x7f"
_WITHOUT_BODY: Final = frozenset((204, 304))


class ResponseWriter:
    """ASGI `send` of one request.

    The head of a response with a Content-Length is held back until the first part of its body.
    uvicorn's `cycle` sends every other response.
    """

    def __init__(self, cycle: RequestResponseCycle, fixed_lines: bytes) -> None:
        """`fixed_lines` are the cycle's default headers."""
        self._cycle = cycle
        self._fixed_lines = fixed_lines
        self._head = b""

    async def send(self, message: Message) -> None:
        """Send a message of the application."""
        cycle = self._cycle
        if self._head:
            if cycle.flow.write_paused and not cycle.disconnected:
                await cycle.flow.drain()
            if not cycle.disconnected:
                self._write(message)
        elif cycle.response_started or not self._hold_back(message):
            await cycle.send(message)  # type: ignore[arg-type]

    def _hold_back(self, message: Message) -> bool:
        """Return whether the message is a head that waits for its body."""
        cycle, status = self._cycle, message.get("status", 0)
        if (
            cycle.disconnected
            or cycle.transport.get_write_buffer_size()
            or cycle.scope["method"] == "HEAD"
            or status in _WITHOUT_BODY
        ):
            return False
        length, fields = None, message.get("headers", ())
        for name, value in fields:
            if name == b"content-length":
                length = int(value)
            elif name in (b"connection", b"transfer-encoding"):
                return False
        if length is None:
            return False
        lines = render_fields(fields)
        has_line_breaks = lines.count(b"\n") != len(fields) or lines.count(b"\r") != len(fields)
        if has_line_breaks or len(lines.translate(None, _CONTROLS)) != len(lines):
            raise RuntimeError("A header field contains a control character.")
        close = b"" if cycle.keep_alive else b"connection: close\r\n"
        self._head = b"".join((STATUS_LINE[status], self._fixed_lines, lines, close, b"\r\n"))
        cycle.response_started = True
        cycle.waiting_for_100_continue = False
        cycle.chunked_encoding = False
        cycle.expected_content_length = length
        return True

    def _write(self, message: Message) -> None:
        """Write the head with the first part of the body."""
        cycle, body = self._cycle, message.get("body", b"")
        cycle.expected_content_length -= len(body)
        has_more = message.get("more_body", False)
        if cycle.expected_content_length < 0 or (cycle.expected_content_length and not has_more):
            raise RuntimeError("The body of the response does not have its Content-Length.")
        cycle.transport.writelines((self._head, body))
        self._head = b""
        if not has_more:
            cycle.response_complete = True
            cycle.message_event.set()
            if not cycle.keep_alive:
                cycle.transport.close()
            cycle.on_response()
