"""A fake of Google Cloud Storage with one bucket and preconditions, for the real client."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

_OBJECTS = "/storage/v1/b/models/o"
_DOWNLOADS = f"/download{_OBJECTS}/"
_UPLOADS = f"/upload{_OBJECTS}"


class FakeBucket(ThreadingHTTPServer):
    """The bucket `models`: `objects` are contents and generations by name.

    Each status in `failures` is the response to one of the next uploads. With `is_lossy`, uploads
    succeed, but the response is lost. While it `is_down`, connections are closed.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.objects: dict[str, tuple[bytes, int]] = {}
        self.failures: list[int] = []
        self.is_lossy = False
        self.is_down = False
        self.lock = threading.Lock()
        self.generation = 0
        self.url = f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, *_: Any) -> None:
        """Ignore clients that have disconnected."""


@contextmanager
def serve_bucket() -> Iterator[FakeBucket]:
    """Run a fake bucket."""
    with FakeBucket() as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        try:
            yield server
        finally:
            server.shutdown()


class _Handler(BaseHTTPRequestHandler):
    server: FakeBucket
    protocol_version = "HTTP/1.1"

    def parse_request(self) -> bool:
        """Read the head of a request; return whether to respond."""
        self.close_connection = True
        return not self.server.is_down and super().parse_request()

    def log_message(self, *_: Any) -> None:
        """Print nothing."""

    def do_GET(self) -> None:
        path, query = self._target()
        objects = self.server.objects
        if path == _OBJECTS:
            prefix = query.get("prefix", "")
            items = [self._metadata(name) for name in sorted(objects) if name.startswith(prefix)]
            self._respond(200, json.dumps({"items": items}).encode())
            return
        name = unquote(path.removeprefix(_DOWNLOADS).removeprefix(f"{_OBJECTS}/"))
        if status := self._failed_precondition(name, query):
            self._respond(status)
        elif name not in objects:
            self._respond(404)
        elif path.startswith(_DOWNLOADS):
            self._respond(200, objects[name][0])
        else:
            self._respond(200, json.dumps(self._metadata(name)).encode())

    def do_POST(self) -> None:
        path, query = self._target()
        body = self.rfile.read(int(self.headers["Content-Length"]))
        assert path == _UPLOADS
        boundary = b"--" + self.headers["Content-Type"].split('boundary="')[1].rstrip('"').encode()
        _, metadata, media, _ = body.split(boundary)
        name = json.loads(metadata.split(b"\r\n\r\n", 1)[1])["name"]
        content = media.split(b"\r\n\r\n", 1)[1].removesuffix(b"\r\n")
        with self.server.lock:
            status = self._failed_precondition(name, query)
            if self.server.failures:
                status = self.server.failures.pop(0)
            if status:
                self._respond(status)
                return
            self.server.generation += 1
            self.server.objects[name] = content, self.server.generation
        if self.server.is_lossy:
            self._respond(503)
        else:
            self._respond(200, json.dumps(self._metadata(name)).encode())

    def do_DELETE(self) -> None:
        name = unquote(self._target()[0].removeprefix(f"{_OBJECTS}/"))
        self._respond(204 if self.server.objects.pop(name, None) else 404)

    def _target(self) -> tuple[str, dict[str, str]]:
        parts = urlsplit(self.path)
        return parts.path, {key: values[0] for key, values in parse_qs(parts.query).items()}

    def _metadata(self, name: str) -> dict[str, str]:
        content, generation = self.server.objects[name]
        created = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        return {
            "name": name,
            "bucket": "models",
            "generation": str(generation),
            "size": str(len(content)),
            "timeCreated": created,
        }

    def _failed_precondition(self, name: str, query: dict[str, str]) -> int:
        expected = query.get("ifGenerationMatch")
        actual = self.server.objects.get(name, (b"", 0))[1]
        return 412 if expected is not None and int(expected) != actual else 0

    def _respond(self, status: int, body: bytes = b"") -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
