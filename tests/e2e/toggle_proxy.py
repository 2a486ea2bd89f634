"""A TCP proxy to the backend that tests can close and reopen."""

import socket
import socketserver
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Thread
from urllib.parse import urlsplit


class ToggleProxy:
    """Forwards connections on `port` to `target` while it is open."""

    def __init__(self, target: tuple[str, int], port: int) -> None:
        self.target = target
        self.port = port
        self._server: _Server | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def open(self) -> None:
        """Accept connections."""
        if self._server is None:
            self._server = _Server(self.port, self.target)
            Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        """Refuse new connections and drop existing ones."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            for one in self._server.connections:
                with suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)
            self._server = None

    @contextmanager
    def redirected_to(self, url: str) -> Iterator[None]:
        """Forward to the server at `url` within the context."""
        original, other = self.target, urlsplit(url)
        self.close()
        self.target = (other.hostname or "", other.port or 0)
        self.open()
        try:
            yield
        finally:
            self.close()
            self.target = original
            self.open()


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, port: int, target: tuple[str, int]) -> None:
        super().__init__(("127.0.0.1", port), _Forwarder)
        self.target = target
        self.connections: list[socket.socket] = []


class _Forwarder(socketserver.BaseRequestHandler):
    server: _Server

    def handle(self) -> None:
        with socket.create_connection(self.server.target) as backend:
            self.server.connections += [self.request, backend]
            response = Thread(target=pump, args=(backend, self.request), daemon=True)
            response.start()
            pump(self.request, backend)
            response.join()


def pump(source: socket.socket, destination: socket.socket) -> None:
    """Copy bytes until one side closes."""
    with suppress(OSError):
        while data := source.recv(65536):
            destination.sendall(data)
    for end in (source, destination):
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
