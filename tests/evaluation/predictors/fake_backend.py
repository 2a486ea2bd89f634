"""A fake backend that responds to batches with the given function."""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread

PROBABILITIES = [0.7, 0.2, 0.1]
MODEL = {"name": "pets", "version": "3", "state": "ready", "labels": ["cat", "dog", "owl"]}


@dataclass
class FakeResponse:
    """A response of the server."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


def classification_json(**fields: object) -> dict[str, object]:
    """Return the classification of one image, with other `fields` if given."""
    defaults: dict[str, object] = {
        "id": "1",
        "model": {"name": "pets", "version": "3"},
        "prediction": "cat",
        "confidence": 0.7,
        "top": [{"label": "cat", "index": 0, "probability": 0.7}],
        "probabilities": PROBABILITIES,
        "timings_ms": {"decode": 1.0, "queue": 90.0, "inference": 2.0},
    }
    return defaults | fields


def problem_response(status: int, detail: str, **headers: str) -> FakeResponse:
    body = {"status": status, "code": "some", "title": "No", "detail": detail}
    return FakeResponse(status, json.dumps(body).encode(), headers)


def ndjson_response(*objects: Mapping[str, object]) -> FakeResponse:
    return FakeResponse(body=b"".join(json.dumps(one).encode() + b"\n" for one in objects))


@contextmanager
def fake_backend(
    respond: Callable[[list[bytes]], FakeResponse],
    model: Mapping[str, object] = MODEL,
    paths: list[str] | None = None,
) -> Iterator[str]:
    """Run a server and yield its URL; `respond` returns the response to a batch of images.

    The paths of the requests are appended to `paths`.
    """
    requested = [] if paths is None else paths
    lock = Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            """Disable the log."""

        def do_GET(self) -> None:
            body = {"default": model["name"], "models": [model]}
            self.send(FakeResponse(body=json.dumps(body).encode()))

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            boundary = self.headers["Content-Type"].partition("boundary=")[2].encode()
            parts = body.split(b"--" + boundary)[1:-1]
            with lock:
                requested.append(self.path)
                self.send(respond([part.partition(b"\r\n\r\n")[2][:-2] for part in parts]))

        def send(self, response: FakeResponse) -> None:
            self.send_response(response.status)
            for name, value in response.headers.items():
                self.send_header(name.replace("_", "-"), value)
            self.send_header("Content-Length", str(len(response.body)))
            self.end_headers()
            self.wfile.write(response.body)

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
