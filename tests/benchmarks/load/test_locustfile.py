"""The load test passes against a backend that answers, and fails against one that errs."""

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

KINDS = ("a scanned digit", "a photograph from a phone", "a batch of 16", "no picture")
QUICK = ("--max-p95", "60000")  # how fast this machine is does not matter here

Reply = Callable[[BaseHTTPRequestHandler], int]


def load_test(host: str, *options: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """A few users for some seconds, or what `options` say."""
    return subprocess.run(
        [
            *(sys.executable, "-m", "locust", "--headless", "--only-summary", "--host", host),
            *("--users", "4", "--spawn-rate", "4", "--run-time", "2s", *QUICK, *options),
        ],
        cwd=ROOT,
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        timeout=90,
    )


def counted(result: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    """The lines of the summary by their names; of a run with --json."""
    return {line["name"]: line for line in json.loads(result.stdout)}


def test_everybody_gets_the_answers_they_should(backend_url: str) -> None:
    everybody = ("Uploader", "Photographer", "Archivist", "Beginner")
    result = load_test(backend_url, "--json", "--run-time", "5s", "--equal-weights", *everybody)
    assert result.returncode == 0, result.stdout + result.stderr
    lines = counted(result)
    assert set(lines) == set(KINDS)
    assert sum(line["num_failures"] for line in lines.values()) == 0
    assert all(line["num_requests"] for line in lines.values())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="locust forks its workers")
def test_several_processes_make_one_load(backend_url: str) -> None:
    result = load_test(backend_url, "--processes", "2", "--run-time", "5s", "Uploader")
    assert result.returncode == 0, result.stdout + result.stderr
    assert re.search(r"a scanned digit +[1-9]\d* +0\(0.00%\)", result.stderr)


def test_nobody_visits_a_page_that_was_not_named(backend_url: str) -> None:
    result = load_test(backend_url, "--users", "12", "--spawn-rate", "12", "--run-time", "6s")
    assert result.returncode == 0, result.stdout + result.stderr
    assert "Uploader" in result.stderr
    assert "Visitor" not in result.stderr


class Server(ThreadingHTTPServer):
    """Answers every POST with the status that `reply` gives, and an empty object."""

    reply: Reply


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(self.server.reply(self))
        self.send_header("Content-Length", "19")
        self.end_headers()
        self.wfile.write(b'{"prediction": "7"}')

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Say nothing."""


Start = Callable[[Reply], str]


@pytest.fixture
def start() -> Iterator[Start]:
    """A function that starts a server which replies so; its address."""
    servers = []

    def started(reply: Reply) -> str:
        server = Server(("127.0.0.1", 0), Handler)
        server.reply = reply
        servers.append(server)
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        return f"http://127.0.0.1:{server.server_port}"

    yield started
    for server in servers:
        server.shutdown()
        server.server_close()


def test_another_status_than_200_is_a_failure(start: Start) -> None:
    result = load_test(start(lambda _: 429), "Uploader")
    assert result.returncode == 1
    assert "100.0 % of" in result.stdout
    assert "a scanned digit: status 429" in result.stdout


def test_so_many_may_fail_as_were_allowed(start: Start) -> None:
    assert load_test(start(lambda _: 429), "--max-failures", "1", "Uploader").returncode == 0


def test_an_answer_to_what_is_no_picture_is_a_failure(start: Start) -> None:
    result = load_test(start(lambda _: 200), "Beginner")
    assert result.returncode == 1
    assert "no picture: status 200" in result.stdout


def test_a_batch_that_is_answered_in_part_is_a_failure(start: Start) -> None:
    result = load_test(start(lambda _: 200), "Archivist")
    assert result.returncode == 1
    assert "1 lines, not an answer for each picture" in result.stdout


def test_slow_answers_are_a_failure(start: Start) -> None:
    result = load_test(start(lambda _: 200), "--max-p95", "0", "Uploader")
    assert result.returncode == 1
    assert "a scanned digit: p95 is" in result.stdout


def test_a_service_that_is_not_there_is_a_failure() -> None:
    result = load_test("http://127.0.0.1:1", "Uploader")
    assert result.returncode == 1
    assert "100.0 %" in result.stdout


def test_an_address_may_end_with_a_slash(start: Start) -> None:
    assert load_test(f"{start(lambda _: 200)}/", "Uploader").returncode == 0


def test_the_api_key_is_sent_where_there_is_one(start: Start) -> None:
    url = start(lambda request: 200 if request.headers["X-API-Key"] == "sesame" else 401)
    assert load_test(url, "Uploader", BACKEND_API_KEY=" sesame\n").returncode == 0
    without = load_test(url, "Uploader")
    assert without.returncode == 1
    assert "status 401" in without.stdout


def test_a_private_backend_is_asked_with_an_id_token(start: Start) -> None:
    url = start(lambda request: 200 if request.headers["Authorization"] == "Bearer abc" else 403)
    assert load_test(url, "Uploader", BACKEND_ID_TOKEN=" abc\n").returncode == 0
    assert "status 403" in load_test(url, "Uploader").stdout


def test_a_token_is_not_shown_in_the_clear_to_another_machine() -> None:
    result = load_test("http://prism.example", "Uploader", BACKEND_ID_TOKEN="abc")
    assert result.returncode != 0
    assert "https addresses only" in result.stdout + result.stderr


def test_users_are_raised_until_more_of_them_do_not_help(start: Start, tmp_path: Path) -> None:
    """A service with four places, each taken for a tenth of a second: 40 requests/s at most."""
    places = threading.Semaphore(4)
    pause = threading.Event()

    def reply(_: BaseHTTPRequestHandler) -> int:
        with places:
            pause.wait(0.1)
            return 200

    found = tmp_path / "knee.json"
    options = ["--find-knee", "--first-users", "2", "--factor", "3", "--settle", "0.5"]
    options += ["--step-seconds", "1.5", "--rate", "400", "--knee-file", str(found)]
    result = load_test(start(reply), *options, "Uploader")
    assert result.returncode == 0, result.stdout + result.stderr
    told = json.loads(found.read_text())
    assert told["knee"]["users"] < told["steps"][-1]["users"]
    assert told["knee"]["rate"] < 45  # what is under way at the beginning ends in the step, too
    assert "The knee: " in result.stdout
    assert "For 400 requests/s: " in result.stdout


def test_no_knee_ends_with_a_failure(start: Start, tmp_path: Path) -> None:
    found = tmp_path / "knee.json"
    options = ("--find-knee", "--settle", "0.1", "--step-seconds", "0.5", "--knee-file", str(found))
    result = load_test(start(lambda _: 503), *options, "Uploader")
    assert result.returncode == 1
    assert json.loads(found.read_text())["knee"] is None
    assert "status 503" in result.stdout
