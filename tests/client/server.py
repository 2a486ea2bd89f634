"""A tiny HTTP server that answers whatever a test tells it to."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from urllib.parse import urlsplit


@dataclass
class Answer:
    """One answer to every request; `silence` in seconds comes before it. It may be changed."""

    body: bytes = b"{}"
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    silence: float = 0


@dataclass
class Asked:
    """A request as it arrived."""

    path: str
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


@contextmanager
def serving(answer: Answer, **others: Answer) -> Iterator[tuple[str, list[Asked]]]:
    """Yield the address of a server that gives `answer`, and the list of what it was asked.

    `others` are given to paths that begin with their names: classify=… to /classify/batch too.
    """
    asked: list[Asked] = []

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            """Stay silent."""

        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            asked.append(Asked(self.path, body, dict(self.headers.items())))
            given = others.get(urlsplit(self.path).path.split("/")[1], answer)
            time.sleep(given.silence)
            self.send_response(given.status)
            for name, value in given.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(given.body)))
            self.end_headers()
            self.wfile.write(given.body)

        do_GET = do_POST = answer  # noqa: N815 (the names that http.server looks for)

        def handle(self) -> None:
            with suppress(BrokenPipeError, ConnectionResetError):  # the client gave up waiting
                super().handle()

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", asked
        finally:
            server.shutdown()
            thread.join()
