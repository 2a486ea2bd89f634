"""A balancer in front of several backends, as simple as they come: connections, in turn."""

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
    """Leads each connection to the next of `ports`, and past those that refuse it.

    Nothing else is tried twice: what was sent to a backend that then broke off is not repeated.
    """

    def __init__(self, ports: Sequence[int]) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.ways: dict[int, int] = {}  # port of the client -> port of the backend it was led to
        self.led: Counter[int] = Counter()  # connections to each backend
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

    def connect(self, client: int) -> socket.socket | None:
        """A connection to a backend for whoever comes from the port `client`; None: all refuse."""
        turn = next(self._turns)
        for number in range(len(self._ports)):
            port = self._ports[(turn + number) % len(self._ports)]
            with suppress(ConnectionRefusedError):
                backend = socket.create_connection(("127.0.0.1", port))
                self.ways[client] = port
                self.led[port] += 1
                return backend
        return None


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, port: int, balancer: LoadBalancer) -> None:
        super().__init__(("127.0.0.1", port), _Passage)
        self.balancer = balancer


class _Passage(socketserver.BaseRequestHandler):
    server: _Server

    def handle(self) -> None:
        backend = self.server.balancer.connect(self.client_address[1])
        if backend is None:
            return
        with backend:
            back = threading.Thread(target=pump, args=(backend, self.request), daemon=True)
            back.start()
            pump(self.request, backend)
            back.join()
