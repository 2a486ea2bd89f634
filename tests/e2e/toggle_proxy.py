"""A way to the backend that a test can shut and open again."""

import socket
import socketserver
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Thread
from urllib.parse import urlsplit


class ToggleProxy:
    """Listens on a port of its own and passes every byte on to `target`, while it is open."""

    def __init__(self, target: tuple[str, int], port: int) -> None:
        self.target = target
        self.port = port
        self._server: _Server | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def open(self) -> None:
        """Let connections through."""
        if self._server is None:
            self._server = _Server(self.port, self.target)
            Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def shut(self) -> None:
        """Refuse connections, and break off those there are."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            for one in self._server.passing:
                with suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)
            self._server = None

    @contextmanager
    def redirected_to(self, url: str) -> Iterator[None]:
        """Lead to another server for a while."""
        usual, other = self.target, urlsplit(url)
        self.shut()
        self.target = (other.hostname or "", other.port or 0)
        self.open()
        try:
            yield
        finally:
            self.shut()
            self.target = usual
            self.open()


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, port: int, target: tuple[str, int]) -> None:
        super().__init__(("127.0.0.1", port), _Passage)
        self.target = target
        self.passing: list[socket.socket] = []


class _Passage(socketserver.BaseRequestHandler):
    server: _Server

    def handle(self) -> None:
        with socket.create_connection(self.server.target) as backend:
            self.server.passing += [self.request, backend]
            back = Thread(target=pump, args=(backend, self.request), daemon=True)
            back.start()
            pump(self.request, backend)
            back.join()


def pump(source: socket.socket, sink: socket.socket) -> None:
    """Copy until one side ends."""
    with suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
    for end in (source, sink):
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
