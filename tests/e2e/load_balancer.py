"""A round-robin TCP load balancer in front of several backends."""

import socket
import socketserver
import threading
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from itertools import count
from types import TracebackType

from tests.conftest import free_port
from tests.e2e.toggle_proxy import pump


class LoadBalancer:
    """Forwards each connection to the next of `ports`, skipping those that refuse it.

    Requests are never repeated, even if the backend drops the connection.
    """

    def __init__(self, ports: Sequence[int]) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.routes: dict[int, int] = {}  # client port -> backend port
        self.connections: Counter[int] = Counter()  # by backend port
        self._ports = ports
        self._turns = count()
        self._server = _Server(self.port, self)

    def __enter__(self) -> "LoadBalancer":
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    def connect(self, client_port: int) -> socket.socket | None:
        """Return a connection to a backend for the client at `client_port`; None if all refuse."""
        start = next(self._turns)
        for i in range(len(self._ports)):
            port = self._ports[(start + i) % len(self._ports)]
            with suppress(ConnectionRefusedError):
                backend = socket.create_connection(("127.0.0.1", port))
                self.routes[client_port] = port
                self.connections[port] += 1
                return backend
        return None


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, port: int, balancer: LoadBalancer) -> None:
        super().__init__(("127.0.0.1", port), _Forwarder)
        self.balancer = balancer


class _Forwarder(socketserver.BaseRequestHandler):
    server: _Server

    def handle(self) -> None:
        backend = self.server.balancer.connect(self.client_address[1])
        if backend is None:
            return
        with backend:
            response = threading.Thread(target=pump, args=(backend, self.request), daemon=True)
            response.start()
            pump(self.request, backend)
            response.join()
