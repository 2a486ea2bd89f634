"""The load test passes against a working backend and fails against a faulty one."""

import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT

REQUESTS = ("scanned digit", "phone photograph", "batch of 16", "invalid file")
NO_LATENCY_LIMIT = ("--max-p95", "60000")  # the speed of this machine does not matter

Reply = Callable[[BaseHTTPRequestHandler], int]


def run_locust(host: str, *options: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run Locust with four users for 2 s, unless `options` override it.

    The stop timeout ensures that each user completes at least one request on a busy machine.
    """
    return subprocess.run(
        [
            *(sys.executable, "-m", "locust", "--headless", "--only-summary", "--host", host),
            *("--users", "4", "--spawn-rate", "4", "--run-time", "2s", "--stop-timeout", "60"),
            *(*NO_LATENCY_LIMIT, *options),
        ],
        cwd=ROOT,
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        timeout=180,
    )


def read_summary(result: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    """Return the lines of the summary of a run with --json by name."""
    return {line["name"]: line for line in json.loads(result.stdout)}


def test_all_backend_users_succeed(backend_url: str) -> None:
    users = ("Uploader", "Photographer", "Archivist", "Beginner")
    result = run_locust(backend_url, "--json", "--run-time", "5s", "--equal-weights", *users)
    assert result.returncode == 0, result.stdout + result.stderr
    lines = read_summary(result)
    assert set(lines) == set(REQUESTS)
    assert sum(line["num_failures"] for line in lines.values()) == 0
    assert all(line["num_requests"] for line in lines.values())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="Locust forks its workers")
def test_load_is_split_between_processes(backend_url: str) -> None:
    result = run_locust(backend_url, "--processes", "2", "--run-time", "5s", "Uploader")
    assert result.returncode == 0, result.stdout + result.stderr
    assert re.search(r"scanned digit +[1-9]\d* +0\(0.00%\)", result.stderr)


def test_visitor_is_not_used_without_frontend(backend_url: str) -> None:
    result = run_locust(backend_url, "--users", "12", "--spawn-rate", "12", "--run-time", "6s")
    assert result.returncode == 0, result.stdout + result.stderr
    assert "Uploader" in result.stderr
    assert "Visitor" not in result.stderr


class FakeBackend(ThreadingHTTPServer):
    """Responds to each POST with the status that `reply` returns, and one prediction."""

    reply: Reply


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: FakeBackend

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(self.server.reply(self))
        self.send_header("Content-Length", "19")
        self.end_headers()
        self.wfile.write(b'{"prediction": "7"}')

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Log nothing."""


Start = Callable[[Reply], str]


@pytest.fixture
def start() -> Iterator[Start]:
    """A function that starts a server with a `reply` function and returns its URL."""
    servers = []

    def start_server(reply: Reply) -> str:
        server = FakeBackend(("127.0.0.1", 0), Handler)
        server.reply = reply
        servers.append(server)
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        return f"http://127.0.0.1:{server.server_port}"

    yield start_server
    for server in servers:
        server.shutdown()
        server.server_close()


def test_unexpected_status_is_a_failure(start: Start) -> None:
    result = run_locust(start(lambda _: 429), "Uploader")
    assert result.returncode == 1
    assert "100.0% of" in result.stdout
    assert "scanned digit: status 429" in result.stdout


def test_failures_within_limit_are_accepted(start: Start) -> None:
    assert run_locust(start(lambda _: 429), "--max-failures", "1", "Uploader").returncode == 0


def test_success_for_invalid_file_is_a_failure(start: Start) -> None:
    result = run_locust(start(lambda _: 200), "Beginner")
    assert result.returncode == 1
    assert "invalid file: status 200" in result.stdout


def test_incomplete_batch_is_a_failure(start: Start) -> None:
    result = run_locust(start(lambda _: 200), "Archivist")
    assert result.returncode == 1
    assert "1 lines without a prediction for each image" in result.stdout


def test_slow_responses_are_a_failure(start: Start) -> None:
    result = run_locust(start(lambda _: 200), "--max-p95", "0", "Uploader")
    assert result.returncode == 1
    assert "scanned digit: p95 is" in result.stdout


def test_unreachable_service_is_a_failure() -> None:
    result = run_locust("http://127.0.0.1:1", "Uploader")
    assert result.returncode == 1
    assert "100.0%" in result.stdout


def test_url_may_end_with_slash(start: Start) -> None:
    assert run_locust(f"{start(lambda _: 200)}/", "Uploader").returncode == 0


def test_api_key_is_sent(start: Start) -> None:
    url = start(lambda request: 200 if request.headers["X-API-Key"] == "sesame" else 401)
    assert run_locust(url, "Uploader", BACKEND_API_KEY=" sesame\n").returncode == 0
    without = run_locust(url, "Uploader")
    assert without.returncode == 1
    assert "status 401" in without.stdout


def test_id_token_is_sent(start: Start) -> None:
    url = start(lambda request: 200 if request.headers["Authorization"] == "Bearer abc" else 403)
    assert run_locust(url, "Uploader", BACKEND_ID_TOKEN=" abc\n").returncode == 0
    assert "status 403" in run_locust(url, "Uploader").stdout


def test_id_token_is_not_sent_unencrypted_to_other_machines() -> None:
    result = run_locust("http://prism.example", "Uploader", BACKEND_ID_TOKEN="abc")
    assert result.returncode != 0
    assert "https addresses only" in result.stdout + result.stderr


def test_saturation_point_is_found(start: Start, tmp_path: Path) -> None:
    """The service handles four requests at a time, 0.1 s each: at most 40 requests/s."""
    slots = threading.Semaphore(4)
    pause = threading.Event()

    def reply(_: BaseHTTPRequestHandler) -> int:
        with slots:
            pause.wait(0.1)
            return 200

    result_file = tmp_path / "saturation.json"
    options = ["--find-saturation", "--first-users", "2", "--factor", "3", "--settle", "0.5"]
    options += ["--step-seconds", "1.5", "--rate", "400", "--saturation-file", str(result_file)]
    result = run_locust(start(reply), *options, "Uploader")
    assert result.returncode == 0, result.stdout + result.stderr
    report = json.loads(result_file.read_text())
    assert report["saturation"]["users"] < report["steps"][-1]["users"]
    assert report["saturation"]["rate"] < 45  # includes requests that began before the step
    assert "Saturation point: " in result.stdout
    assert "For 400 requests/s: " in result.stdout


def test_missing_saturation_point_is_a_failure(start: Start, tmp_path: Path) -> None:
    result_file = tmp_path / "saturation.json"
    options = (
        "--find-saturation",
        "--settle",
        "0.1",
        "--step-seconds",
        "0.5",
        "--saturation-file",
        str(result_file),
    )
    result = run_locust(start(lambda _: 503), *options, "Uploader")
    assert result.returncode == 1
    assert json.loads(result_file.read_text())["saturation"] is None
    assert "status 503" in result.stdout
