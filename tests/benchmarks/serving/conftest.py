"""A server with scripted responses that counts its requests."""

import threading
import time
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import cycle
from typing import Any

import pytest


class Script:
    """The responses: statuses in turn, each after `delay` seconds, one request at a time."""

    def __init__(self) -> None:
        self.delay = 0.0
        self.is_chunked = False
        self.counts: Counter[int] = Counter()  # of responses by status
        self.bodies: set[bytes] = set()
        self.content_types: set[str] = set()
        self.lock = threading.Lock()
        self.set_statuses(200)

    def set_statuses(self, *statuses: int) -> None:
        """Respond with these statuses in turn from now on; 0 closes the connection instead."""
        self._statuses = cycle(statuses)

    def next_status(self) -> int:
        """Return the next status after the delay."""
        with self.lock:
            time.sleep(self.delay)
            status = next(self._statuses)
            self.counts[status] += 1
            return status


class Server(ThreadingHTTPServer):
    """Ignores errors of closed connections."""

    script: Script

    def handle_error(self, *_: object) -> None:
        """Do nothing: the load generator closes connections at its end."""


class Handler(BaseHTTPRequestHandler):
    """Responds according to the script of its server."""

    protocol_version = "HTTP/1.1"
    server: Server

    def do_POST(self) -> None:
        script = self.server.script
        script.bodies.add(self.rfile.read(int(self.headers["Content-Length"])))
        script.content_types.add(self.headers["Content-Type"])
        self.do_GET()

    def do_GET(self) -> None:
        status = self.server.script.next_status()
        if status == 0:
            self.close_connection = True
            return
        self.send_response(status)
        if self.server.script.is_chunked:
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            for part in (b"2\r\nno\r\n", b"4\r\nbody\r\n", b"0\r\n\r\n"):
                self.wfile.write(part)
        else:
            self.send_header("Content-Length", "6")
            self.end_headers()
            self.wfile.write(b"nobody")

    def log_message(self, *_: Any) -> None:
        """Print nothing."""


@pytest.fixture
def scripted() -> Iterator[tuple[int, Script]]:
    """Yield the port and the script of a running server."""
    with Server(("127.0.0.1", 0), Handler) as server:
        server.script = Script()
        server.daemon_threads = True
        server.block_on_close = False
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server.server_address[1], server.script
        finally:
            server.shutdown()
            thread.join()
