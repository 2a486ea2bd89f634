"""Our server in a thread of this process, in front of any application."""

import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from starlette.types import ASGIApp

from backend.api.middleware.access_log import RequestId
from backend.api.middleware.draining import Drain, Draining
from backend.server.connections import Connection, Preferred, Shared
from backend.server.lifecycle import Server
from backend.telemetry.metrics import Metrics


class Running:
    """A server that answers on `port`."""

    def __init__(self, server: Server, thread: threading.Thread, port: int) -> None:
        self.server = server
        self.port = port
        self._thread = thread

    def connect(self, *texts: bytes) -> socket.socket:
        """A bare connection, on which `texts` have been sent."""
        connection = socket.create_connection(("127.0.0.1", self.port), timeout=10)
        for text in texts:
            connection.sendall(text)
        return connection

    def ask(self, path: str = "/") -> bytes:
        """All that comes back on a connection of its own."""
        return read(self.connect(get(path, "Connection: close")))

    def end(self, sig: signal.Signals = signal.SIGTERM) -> None:
        """Do what the signal does."""
        self.server.handle_exit(sig, None)

    def wait(self, seconds: float = 10) -> float:
        """Wait for its end; how long that took."""
        started = time.monotonic()
        self._thread.join(seconds)
        assert not self._thread.is_alive()
        return time.monotonic() - started


@contextmanager
def running(
    app: ASGIApp,
    protocol: type[Connection] = Preferred,
    max_connections: int = 1000,
    header_timeout: float = 10.0,
) -> Iterator[Running]:
    """Serve `app` on a free port, with ids for its requests and refusals at its end."""
    drain = Drain()
    config = uvicorn.Config(
        RequestId(Draining(app, drain), Metrics()), http=protocol, lifespan="off", log_config=None
    )
    server = Server(config, Shared(drain, max_connections, header_timeout))
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    thread = threading.Thread(target=server.run, args=([listener],))
    thread.start()
    try:
        while not server.started:
            time.sleep(0.01)
        yield Running(server, thread, port)
    finally:
        server.server_state.drain.begin()
        thread.join(10)


def get(path: str = "/", *headers: str) -> bytes:
    """A request without a body."""
    return "\r\n".join([f"GET {path} HTTP/1.1", "Host: here", *headers, "", ""]).encode()


def read(connection: socket.socket) -> bytes:
    """All that comes until the other side closes."""
    data = bytearray()  # bytes would be copied with every piece
    with connection:
        while more := connection.recv(65536):
            data += more
    return bytes(data)


def read_until(connection: socket.socket, words: bytes) -> None:
    """Read on a connection that stays open until `words` have come."""
    data = b""
    while words not in data:
        more = connection.recv(65536)
        assert more, data
        data += more
