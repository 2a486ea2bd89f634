"""A server that answers as it is told, and keeps count."""

import threading
import time
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import cycle
from typing import Any

import pytest


class Script:
    """What to answer: statuses in turn, each after `service` seconds, one request at a time."""

    def __init__(self) -> None:
        self.service = 0.0
        self.chunked = False
        self.answered: Counter[int] = Counter()
        self.bodies: set[bytes] = set()
        self.types: set[str] = set()
        self.turn = threading.Lock()
        self.say(200)

    def say(self, *statuses: int) -> None:
        """Answer these in turn from now on; 0 ends the connection instead."""
        self._statuses = cycle(statuses)

    def next(self) -> int:
        """The next status, once the server is free and the service is done."""
        with self.turn:
            time.sleep(self.service)
            status = next(self._statuses)
            self.answered[status] += 1
            return status


class Server(ThreadingHTTPServer):
    """Quiet about clients that have gone."""

    script: Script

    def handle_error(self, *_: object) -> None:
        """Say nothing: a generator that is done hangs up."""


class Handler(BaseHTTPRequestHandler):
    """Answers by the script of its server."""

    protocol_version = "HTTP/1.1"
    server: Server

    def do_POST(self) -> None:
        script = self.server.script
        script.bodies.add(self.rfile.read(int(self.headers["Content-Length"])))
        script.types.add(self.headers["Content-Type"])
        self.do_GET()

    def do_GET(self) -> None:
        status = self.server.script.next()
        if status == 0:
            self.close_connection = True
            return
        self.send_response(status)
        if self.server.script.chunked:
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            for part in (b"2\r\nno\r\n", b"4\r\nbody\r\n", b"0\r\n\r\n"):
                self.wfile.write(part)
        else:
            self.send_header("Content-Length", "6")
            self.end_headers()
            self.wfile.write(b"nobody")

    def log_message(self, *_: Any) -> None:
        """Keep the tests quiet."""


@pytest.fixture
def scripted() -> Iterator[tuple[int, Script]]:
    """Port and script of a running server."""
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
