"""A target for HTTP requests: a server in a thread, to which bytes are sent."""

import re
import socket
from contextlib import ExitStack, suppress
from functools import cache
from typing import Final

from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from backend.server.connections import Connection
from backend.server.protocols import DefaultConnection, H11Connection
from tests.server_thread import ServerThread, run_server

_CHECK_EVERY: Final = 50  # inputs, after which an ordinary request must succeed
_TIMEOUT: Final = 20.0  # seconds; the head's time-out is far shorter
_STATUS: Final = re.compile(rb"HTTP/1\.[01] ([1-5]\d\d) ")
_servers: Final = ExitStack()


async def _greet(scope: Scope, receive: Receive, send: Send) -> None:
    while (message := await receive()).get("more_body"):
        if message["type"] == "http.disconnect":
            return
    await PlainTextResponse("hello")(scope, receive, send)


class _Server:
    """A server with one parser; `send` checks its response to any bytes."""

    def __init__(self, protocol: type[Connection]) -> None:
        server = _servers.enter_context(run_server(_greet, protocol, header_timeout=1))
        self._server: ServerThread = server
        self._count = 0

    def send(self, data: bytes) -> None:
        """Send `data`; the response, if there is one, must be HTTP and no server error."""
        with socket.create_connection(("127.0.0.1", self._server.port), _TIMEOUT) as connection:
            with suppress(ConnectionError):  # the server may close before it has read everything
                connection.sendall(data)
                connection.shutdown(socket.SHUT_WR)
            response = bytearray()
            with suppress(ConnectionError):
                while chunk := connection.recv(65536):
                    response += chunk
        if response:
            match = _STATUS.match(response)
            assert match, f"not an HTTP response: {bytes(response[:60])!r}"
            assert int(match[1]) < 500, f"status {int(match[1])}"
        self._count += 1
        if self._count % _CHECK_EVERY == 1:
            assert b"hello" in self._server.get("/"), "an ordinary request fails"


@cache
def _server(*, h11: bool) -> _Server:
    return _Server(H11Connection if h11 else DefaultConnection)


def stop() -> None:
    """Stop the servers; the next call of a target starts others."""
    _server.cache_clear()
    _servers.close()


def send(data: bytes) -> None:
    """Send bytes to a server with the default parser."""
    _server(h11=False).send(data)


def send_h11(data: bytes) -> None:
    """Send bytes to a server with h11."""
    _server(h11=True).send(data)
