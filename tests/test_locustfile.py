"""The load test passes against a backend that answers, and fails against one that errs."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def load_test(host: str) -> subprocess.CompletedProcess[str]:
    """Two users for a second or two."""
    return subprocess.run(
        [
            *(sys.executable, "-m", "locust", "--headless", "--only-summary"),
            *("--users", "2", "--spawn-rate", "2", "--run-time", "2s", "--host", host),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_uploads_are_answered(backend_url: str) -> None:
    result = load_test(backend_url)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "0(0.00%)" in result.stderr + result.stdout


class Refusing(BaseHTTPRequestHandler):
    """Answers 429 to everything."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(429)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Say nothing."""


@pytest.fixture
def refusing() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), Refusing) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_another_status_than_200_is_a_failure(refusing: str) -> None:
    result = load_test(refusing)
    assert result.returncode == 1
    assert "status 429" in result.stdout + result.stderr
