"""`python -m benchmarks.load`: what it starts, what it says, and what it says where it cannot."""

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from benchmarks.load import constant_rate, images
from benchmarks.load.local_services import StackError, reach
from tests.benchmarks.serving.conftest import Script, scripted
from tests.client.fake_server import FakeResponse, serving
from tests.conftest import ROOT

__all__ = ["scripted"]

SLOW = ("--max-p95", "60000")  # how fast this machine is does not matter here
SHORT = ("--settle", "0", "--step-seconds", "3", *SLOW)


def find(folder: Path, *options: str, **environ: str) -> subprocess.CompletedProcess[str]:
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
def test_a_backend_is_started_and_stopped_and_its_knee_and_memory_are_told(tmp_path: Path) -> None:
    done = find(tmp_path, "--rate", "100000", *SHORT, "--most-users", "2")
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"requests/s with \d users? at a time; p50 .* p95 .* p99 ", done.stdout)
    assert re.search(r"For 100,000 requests/s: [\d,]+ instances like this one", done.stdout)
    assert re.search(r"[\d.]+ ms of CPU a request; \d+ MB at rest, \d+ MB at most", done.stdout)
    report = tmp_path / "made" / "report.html"
    assert f"The report: {report}" in done.stdout
    text = report.read_text()
    assert "a scanned digit" in text
    (url,) = set(re.findall(r"http://127\.0\.0\.1:\d+", text))
    with pytest.raises(httpx.ConnectError):
        httpx.get(url)


@pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")
def is_running(pid: str) -> bool:
    """Whether a process is there and not only waits for its parent to look."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def test_what_was_started_is_stopped_when_the_run_is_ended(tmp_path: Path) -> None:
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


def test_a_backend_that_runs_is_asked_and_left_running(backend_url: str, tmp_path: Path) -> None:
    done = find(tmp_path, "--host", f"{backend_url}/", *SHORT, "--most-users", "1")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "at rest" not in done.stdout
    assert httpx.get(f"{backend_url}/ready").status_code == 200


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--host", "localhost:8000"), "'localhost:8000' is no address"),
        (("--host", "http://127.0.0.1:1"), "Nothing is ready at http://127.0.0.1:1"),
    ],
)
def test_what_cannot_be_asked_is_one_line(
    options: tuple[str, ...], said: str, tmp_path: Path
) -> None:
    done = find(tmp_path, *options)
    assert done.returncode == 1
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert "report" not in done.stdout


def test_people_nobody_knows_are_named(backend_url: str, tmp_path: Path) -> None:
    done = find(tmp_path, "--host", backend_url, "--people", "Uploader,Ghost")
    assert done.returncode == 1
    assert "Ghost" in done.stderr


def test_a_page_is_started_for_visitors(backend_url: str, tmp_path: Path) -> None:
    options = ("--first-users", "1", "--most-users", "1", "--settle", "0", "--step-seconds", "6")
    done = find(tmp_path, "--host", backend_url, "--people", "Visitor", *options, *SLOW)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "with 1 user at a time" in done.stdout
    assert "The page itself: " in done.stdout
    assert "The backend itself: " not in done.stdout


def test_a_backend_that_does_not_start_says_why(tmp_path: Path) -> None:
    done = find(tmp_path, PRISM_QUEUE_SIZE="none")
    assert done.returncode == 1
    assert "PRISM_QUEUE_SIZE" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_host_that_is_not_ready_is_not_asked(scripted: tuple[int, Script]) -> None:
    port, script = scripted
    script.say(503)
    with pytest.raises(StackError, match="503"):
        reach(f"http://127.0.0.1:{port}")


def test_a_private_host_is_asked_with_an_id_token(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("BACKEND_ID_TOKEN", " abc\n")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")  # this machine is not behind it
    with serving(FakeResponse()) as (url, asked):
        reach(url)
    assert asked[0].headers["Authorization"] == "Bearer abc"
    with pytest.raises(StackError, match="https addresses only"):
        reach("http://prism.example")


def test_another_machine_is_asked_through_the_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(FakeResponse()) as (proxy, asked):
        monkeypatch.setenv("http_proxy", proxy)
        monkeypatch.delenv("no_proxy", raising=False)
        reach("http://prism.example")
    assert [one.path for one in asked] == ["http://prism.example/ready"]


def test_the_check_asks_below_at_and_above_the_knee(
    scripted: tuple[int, Script], monkeypatch: pytest.MonkeyPatch
) -> None:
    port, script = scripted
    script.say(200, 429)
    monkeypatch.setattr(constant_rate, "_WARM", 0.0)
    monkeypatch.setattr(constant_rate, "_SECONDS", 1.0)
    text = constant_rate.check(port, rate=50, pictures=images.digits()[:2], rounds=1)
    rows = [line.split() for line in text.splitlines()[2:5]]
    assert [(row[0], row[2]) for row in rows] == [("80", "40.0"), ("100", "50.0"), ("120", "60.0")]
    for row in rows:
        refused = float(row[6])
        assert 40 <= refused <= 60
    assert len(script.bodies) == 2


def test_a_check_by_a_generator_that_came_late_is_said_to_be_worth_nothing(
    scripted: tuple[int, Script], monkeypatch: pytest.MonkeyPatch
) -> None:
    port, _ = scripted
    late = {"rate": 9.0, "accepted": {"p50": 5, "p99": 9}, "statuses": {"200": 9}, "unanswered": 0}
    monkeypatch.setattr(constant_rate, "_run", lambda *_: late | {"late": 0.2})
    text = constant_rate.check(port, rate=10, pictures=images.digits()[:2], rounds=1)
    assert "The generator itself came late" in text
