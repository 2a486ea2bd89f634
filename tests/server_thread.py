"""Runs the server in a thread of the test process, with any ASGI application."""

import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from starlette.types import ASGIApp

from backend.api.middleware.access_log import AccessLogMiddleware
from backend.api.middleware.draining import DrainingMiddleware, DrainState
from backend.server.connection_limits import ConnectionLimits
from backend.server.connections import Connection
from backend.server.lifecycle import Server
from backend.server.protocols import DefaultConnection
from backend.server.request_stream import SharedState
from backend.telemetry.metrics import Metrics


class ServerThread:
    """A server that listens on `port`."""

    def __init__(self, server: Server, thread: threading.Thread, port: int) -> None:
        self.server = server
        self.port = port
        self._thread = thread

    def connect(self, *chunks: bytes) -> socket.socket:
        """Open a connection and send `chunks`."""
        connection = socket.create_connection(("127.0.0.1", self.port), timeout=10)
        for chunk in chunks:
            connection.sendall(chunk)
        return connection

    def get(self, path: str = "/") -> bytes:
        """Send a request on a new connection and return the raw response."""
        return read_all(self.connect(get_request(path, "Connection: close")))

    def send_signal(self, sig: signal.Signals = signal.SIGTERM) -> None:
        """Call the server's signal handler."""
        self.server.handle_exit(sig, None)

    def wait(self, seconds: float = 10) -> float:
        """Wait until the server has stopped and return the seconds that it took."""
        started = time.monotonic()
        self._thread.join(seconds)
        assert not self._thread.is_alive()
        return time.monotonic() - started


@contextmanager
def run_server(
    app: ASGIApp,
    protocol: type[Connection] = DefaultConnection,
    max_connections: int = 1000,
    header_timeout: float = 10.0,
    write_timeout: float = 30.0,
    max_over_limit: int = 256,
) -> Iterator[ServerThread]:
    """Serve `app` on a free port, with access log and draining."""
    drain_state = DrainState()
    config = uvicorn.Config(
        AccessLogMiddleware(DrainingMiddleware(app, drain_state), Metrics()),
        http=protocol,
        lifespan="off",
        log_config=None,
    )
    limits = ConnectionLimits(max_connections, max_over_limit)
    server = Server(config, SharedState(drain_state, limits, header_timeout, write_timeout))
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    thread = threading.Thread(target=server.run, args=([listener],))
    thread.start()
    try:
        while not server.started:
            time.sleep(0.01)
        yield ServerThread(server, thread, port)
    finally:
        server.server_state.drain_state.start()
        thread.join(10)


def get_request(path: str = "/", *headers: str) -> bytes:
    """Return the bytes of a GET request."""
    return "\r\n".join([f"GET {path} HTTP/1.1", "Host: localhost", *headers, "", ""]).encode()


def read_all(connection: socket.socket) -> bytes:
    """Return everything the server sends until it closes the connection."""
    data = bytearray()  # appending to bytes would copy them
    with connection:
        while chunk := connection.recv(65536):
            data += chunk
    return bytes(data)


def read_until(connection: socket.socket, text: bytes) -> None:
    """Read from an open connection until `text` has arrived."""
    data = b""
    while text not in data:
        chunk = connection.recv(65536)
        assert chunk, data
        data += chunk
