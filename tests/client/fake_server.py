"""An HTTP server with canned responses."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from urllib.parse import urlsplit


@dataclass
class FakeResponse:
    """The response to every request, sent after `delay` seconds. Tests may modify it."""

    body: bytes = b"{}"
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    delay: float = 0


@dataclass
class ReceivedRequest:
    """A request that the server received."""

    path: str
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    method: str = ""


@contextmanager
def serving(
    response: FakeResponse, **others: FakeResponse
) -> Iterator[tuple[str, list[ReceivedRequest]]]:
    """Yield the URL of a server that sends `response`, and the list of received requests.

    `others` are the responses to paths by first segment: classify=… applies to /classify/batch too.
    """
    received: list[ReceivedRequest] = []

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            """Write no log."""

        def respond(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            headers = dict(self.headers.items())
            received.append(ReceivedRequest(self.path, body, headers, self.command))
            sent = others.get(urlsplit(self.path).path.split("/")[1], response)
            time.sleep(sent.delay)
            self.send_response(sent.status)
            for name, value in sent.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(sent.body)))
            self.end_headers()
            self.wfile.write(sent.body)

        do_GET = do_POST = do_PUT = do_DELETE = respond  # noqa: N815 (the names that http.server requires)

        def handle(self) -> None:
            with suppress(BrokenPipeError, ConnectionResetError):  # the client timed out
                super().handle()

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", received
        finally:
            server.shutdown()
            thread.join()
