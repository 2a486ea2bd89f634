"""A backend of which a test says what it answers."""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread

PROBABILITIES = [0.7, 0.2, 0.1]
MODEL = {"name": "pets", "version": "3", "state": "ready", "labels": ["cat", "dog", "owl"]}


@dataclass
class Reply:
    """One answer of the server."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


def line(**fields: object) -> dict[str, object]:
    """The answer for one picture."""
    given: dict[str, object] = {
        "id": "1",
        "model": {"name": "pets", "version": "3"},
        "prediction": "cat",
        "confidence": 0.7,
        "top": [{"label": "cat", "index": 0, "probability": 0.7}],
        "probabilities": PROBABILITIES,
        "timings_ms": {"decode": 1.0, "queue": 90.0, "inference": 2.0},
    }
    return given | fields


def problem(status: int, detail: str, **headers: str) -> Reply:
    body = {"status": status, "code": "some", "title": "No", "detail": detail}
    return Reply(status, json.dumps(body).encode(), headers)


def lines(*each: Mapping[str, object]) -> Reply:
    return Reply(body=b"".join(json.dumps(one).encode() + b"\n" for one in each))


@contextmanager
def serving(
    reply: Callable[[list[bytes]], Reply],
    model: Mapping[str, object] = MODEL,
    paths: list[str] | None = None,
) -> Iterator[str]:
    """The address of a server whose batches are answered by `reply`, given their pictures.

    What it is asked for is appended to `paths`.
    """
    asked = [] if paths is None else paths
    lock = Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            """Stay silent."""

        def do_GET(self) -> None:
            body = {"default": model["name"], "models": [model]}
            self.send(Reply(body=json.dumps(body).encode()))

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            boundary = self.headers["Content-Type"].partition("boundary=")[2].encode()
            parts = body.split(b"--" + boundary)[1:-1]
            with lock:
                asked.append(self.path)
                self.send(reply([part.partition(b"\r\n\r\n")[2][:-2] for part in parts]))

        def send(self, answer: Reply) -> None:
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name.replace("_", "-"), value)
            self.send_header("Content-Length", str(len(answer.body)))
            self.end_headers()
            self.wfile.write(answer.body)

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
