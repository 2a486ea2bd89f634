"""The end of a running backend, of one process or more: SIGTERM, Ctrl-C, a second signal."""

import os
import re
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from tests.e2e import rounds
from tests.e2e.backend import Backend
from tests.pictures import encoded, noise

HALF = b"\r\n".join(
    [
        *(b"POST /classify HTTP/1.1", b"Host: here"),
        *(b"Content-Type: image/png", b"Content-Length: 9", b"", b"half"),
    ]
)
BUDGET = 8  # seconds from the signal to the end, whatever happens


@pytest.fixture(params=["1", "2"], ids=["alone", "two workers"])
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Backend]:
    with Backend(WEB_CONCURRENCY=request.param, TMPDIR=str(tmp_path)) as backend:
        backend.wait_until_ready()
        time.sleep(1 if request.param == "2" else 0)  # the second worker comes, too
        yield backend


@pytest.mark.parametrize("workers", ["1", "2"])
def test_sigterm_under_load_loses_no_request(workers: str) -> None:
    outcomes = rounds.Outcomes()
    for _ in range(int(os.environ.get("PRISM_DRAIN_ROUNDS", "5"))):
        assert rounds.one_round(outcomes, WEB_CONCURRENCY=workers) < BUDGET
    assert not outcomes.lost, outcomes.counts
    assert outcomes.counts["200"]


def test_sigterm_lets_those_in_flight_finish_and_is_seen_by_probes(backend: Backend) -> None:
    photo = encoded(noise(4000, 3000), "JPEG")
    head = (
        f"POST /classify HTTP/1.1\r\nHost: here\r\nContent-Type: image/jpeg\r\n"
        f"Content-Length: {len(photo)}\r\n\r\n"
    )
    with backend.connect() as half, ThreadPoolExecutor(4) as pool:
        half.sendall(head.encode() + photo[:1000])
        sent = [
            pool.submit(httpx.post, f"{backend.url}/classify", files={"file": photo}, timeout=30)
            for _ in range(4)
        ]
        time.sleep(0.1)
        backend.process.send_signal(signal.SIGTERM)
        started = time.monotonic()
        time.sleep(0.15)
        assert backend.get("/ready").json()["code"] == "draining"
        assert backend.get("/health").status_code == 200
        half.sendall(photo[1000:])
        assert half.recv(65536).startswith(b"HTTP/1.1 200")
        assert {done.result().status_code for done in sent} <= {200, 503}
    assert backend.process.wait(timeout=BUDGET) == -signal.SIGTERM
    assert time.monotonic() - started < BUDGET


def test_a_client_who_dawdles_is_refused_in_time(backend: Backend) -> None:
    with backend.connect() as dawdler:
        dawdler.sendall(HALF)
        time.sleep(0.2)
        backend.process.send_signal(signal.SIGTERM)
        started = time.monotonic()
        assert b"HTTP/1.1 503" in dawdler.recv(65536)
        backend.process.wait(timeout=BUDGET)
        assert time.monotonic() - started < BUDGET


def test_ctrl_c_ends_it_at_once_where_nothing_is_in_flight(backend: Backend) -> None:
    backend.process.send_signal(signal.SIGINT)
    started = time.monotonic()
    assert backend.process.wait(timeout=BUDGET) == 0
    assert time.monotonic() - started < 3


def test_a_second_signal_does_not_wait(backend: Backend) -> None:
    with backend.connect() as dawdler:
        dawdler.sendall(HALF)
        time.sleep(0.2)
        backend.process.send_signal(signal.SIGTERM)
        time.sleep(1.5)
        assert backend.process.poll() is None
        backend.process.send_signal(signal.SIGTERM)
        assert backend.process.wait(timeout=2) == -signal.SIGTERM


# Two workers of one model: each says once that it is ready.
TWO = {"WEB_CONCURRENCY": "2", "PRISM_MODELS": "mnist-cnn"}


def wait_for(log: Path, words: str, count: int) -> str:
    """Wait until `words` stand `count` times in `log`."""
    end = time.monotonic() + 30
    while (text := log.read_text()).count(words) < count:
        assert time.monotonic() < end, text
        time.sleep(0.05)
    return text


def test_a_worker_that_dies_is_replaced_and_nothing_is_left_behind(tmp_path: Path) -> None:
    log, scratch = tmp_path / "log", tmp_path / "scratch"
    scratch.mkdir()
    with Backend(log, **TWO, TMPDIR=str(scratch)) as backend:
        text = wait_for(log, "is ready", 2)
        assert len(list(scratch.glob("prism-metrics-*"))) == 1
        worker = int(re.findall(r"Started server process \[(\d+)\]", text)[0])
        os.kill(worker, signal.SIGKILL)
        wait_for(log, "is ready", 3)
        assert backend.get("/ready").status_code == 200
        backend.process.terminate()
        assert backend.process.wait(timeout=BUDGET) == -signal.SIGTERM
        assert f"worker {worker} died: another takes its place" in log.read_text()
        assert "Traceback" not in log.read_text()
    assert not list(scratch.glob("prism*"))


@pytest.mark.parametrize("sig", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_the_end_of_one_worker_is_not_that_of_the_service(
    sig: signal.Signals, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    digit = encoded(noise(28, 28), "PNG")
    with Backend(log, **TWO, PRISM_TIMEOUT="30") as backend:
        text = wait_for(log, "is ready", 2)
        worker = int(re.findall(r"Started server process \[(\d+)\]", text)[0])
        os.kill(worker, sig)
        if sig == signal.SIGKILL:  # what it had accepted is lost with it
            wait_for(log, "another takes its place", 1)
        after, end = 0, time.monotonic() + 60
        while after < 50:
            assert time.monotonic() < end, "no other worker got ready"
            answer = httpx.post(f"{backend.url}/classify", files={"file": digit}, timeout=40)
            assert answer.status_code == 200
            after += log.read_text().count("is ready") == 3
        backend.process.terminate()
        assert backend.process.wait(timeout=BUDGET) == -signal.SIGTERM


def answers(backend: Backend) -> bool:
    """Whether anybody listens."""
    try:
        backend.connect().close()
    except ConnectionRefusedError:
        return False
    return True


def test_workers_end_when_their_parent_is_killed(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with Backend(log, **TWO) as backend:
        wait_for(log, "is ready", 2)
        backend.process.kill()
        backend.process.wait()
        end = time.monotonic() + BUDGET
        while answers(backend):
            assert time.monotonic() < end
            time.sleep(0.05)


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_taken_port_ends_the_start(workers: str, tmp_path: Path) -> None:
    log = tmp_path / "log"
    with Backend() as other:
        other.wait_until_ready()
        with Backend(log, WEB_CONCURRENCY=workers, PORT=str(other.port)) as backend:
            assert backend.process.wait(timeout=20) in {1, 3}
        assert "ddress already in use" in log.read_text()
        assert "Traceback" not in log.read_text()
