"""`python -m benchmarks.load` starts services, finds the saturation point and reports errors."""

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from tests.conftest import ROOT

NO_LATENCY_LIMIT = ("--max-p95", "60000")  # the speed of this machine does not matter
SHORT = ("--settle", "0", "--step-seconds", "3", *NO_LATENCY_LIMIT)


def run_load(folder: Path, *options: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [
            sys.executable,
            "-m",
            "benchmarks.load",
            "--html",
            str(folder / "made" / "report.html"),
            *options,
        ],
        cwd=ROOT,
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        timeout=90,
    )


@pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")
def test_started_backend_is_measured_and_stopped(tmp_path: Path) -> None:
    result = run_load(tmp_path, "--rate", "100000", *SHORT, "--most-users", "2")
    assert result.returncode == 0, result.stdout + result.stderr
    assert re.search(r"requests/s with \d users?; p50 .* p95 .* p99 ", result.stdout)
    assert re.search(r"For 100,000 requests/s: [\d,]+ instances like this one", result.stdout)
    assert re.search(
        r"[\d.]+ ms of CPU per request; memory \d+ MB idle, \d+ MB peak", result.stdout
    )
    report = tmp_path / "made" / "report.html"
    assert f"Report: {report}" in result.stdout
    text = report.read_text()
    assert "scanned digit" in text
    (url,) = set(re.findall(r"http://127\.0\.0\.1:\d+", text))
    with pytest.raises(httpx.ConnectError):
        httpx.get(url)


def is_running(pid: str) -> bool:
    """Return whether a process exists and is not a zombie."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


@pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")
def test_terminated_run_stops_started_services(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.load", "--html", str(tmp_path / "report.html")]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL) as process:
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        end = time.monotonic() + 60
        while len(started := children.read_text().split()) < 2:  # the backend, then locust
            assert time.monotonic() < end
            time.sleep(0.05)
        process.terminate()
        assert process.wait(timeout=60) == 130
    while any(map(is_running, started)):
        assert time.monotonic() < end + 60
        time.sleep(0.05)


def test_running_backend_is_used_and_not_stopped(backend_url: str, tmp_path: Path) -> None:
    result = run_load(tmp_path, "--host", f"{backend_url}/", *SHORT, "--most-users", "1")
    assert result.returncode == 0, result.stdout + result.stderr
    assert "MB idle" not in result.stdout
    assert httpx.get(f"{backend_url}/ready").status_code == 200


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--host", "localhost:8000"), "'localhost:8000' is not an address"),
        (("--host", "http://127.0.0.1:1"), "The backend at http://127.0.0.1:1 is not ready"),
    ],
)
def test_invalid_host_ends_with_one_line_error(
    options: tuple[str, ...], message: str, tmp_path: Path
) -> None:
    result = run_load(tmp_path, *options)
    assert result.returncode == 1
    assert message in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert "Report" not in result.stdout


def test_unknown_user_type_is_reported(backend_url: str, tmp_path: Path) -> None:
    result = run_load(tmp_path, "--host", backend_url, "--people", "Uploader,Ghost")
    assert result.returncode == 1
    assert "Ghost" in result.stderr


def test_frontend_is_started_for_visitors(backend_url: str, tmp_path: Path) -> None:
    options = ("--first-users", "1", "--most-users", "1", "--settle", "0", "--step-seconds", "6")
    result = run_load(
        tmp_path, "--host", backend_url, "--people", "Visitor", *options, *NO_LATENCY_LIMIT
    )
    # On a busy machine no session may fit into a step: the saturation point is not reached then.
    assert result.returncode in (0, 1), result.stderr
    assert "Usage of the frontend: " in result.stdout
    assert "Usage of the backend: " not in result.stdout


def test_backend_start_error_is_reported(tmp_path: Path) -> None:
    result = run_load(tmp_path, PRISM_QUEUE_SIZE="none")
    assert result.returncode == 1
    assert "PRISM_QUEUE_SIZE" in result.stderr
    assert "Traceback" not in result.stderr
