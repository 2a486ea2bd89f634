"""Graceful shutdown with one and several processes: SIGTERM, Ctrl-C, a second signal."""

import os
import re
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from backend.server.lifecycle import DRAIN_UNTIL
from tests.e2e import drain_loop
from tests.e2e.backend_process import BackendProcess
from tests.images import encoded, noise

PARTIAL_REQUEST = b"\r\n".join(
    [
        *(b"POST /classify HTTP/1.1", b"Host: localhost"),
        *(b"Content-Type: image/png", b"Content-Length: 9", b"", b"half"),
    ]
)
MAX_SHUTDOWN = 8  # s from the signal to the exit


# Each worker logs once that its model is loaded.
TWO_WORKERS = {"WEB_CONCURRENCY": "2", "PRISM_MODELS": "mnist-cnn"}


def wait_for(log: Path, message: str, count: int) -> str:
    """Wait until `log` contains `message` `count` times; return its content."""
    end = time.monotonic() + 30
    while (text := log.read_text()).count(message) < count:
        assert time.monotonic() < end, text
        time.sleep(0.05)
    return text


def wait_for_requests_in_flight(backend: BackendProcess, count: int) -> None:
    """Wait until `count` requests besides the scrape of the metrics are in flight."""
    end = time.monotonic() + 30
    while f"prism_requests_in_flight {count + 1}.0" not in (text := backend.get("/metrics").text):
        assert time.monotonic() < end, text
        time.sleep(0.02)


def wait_until_draining(backend: BackendProcess) -> None:
    """Wait until the readiness check fails."""
    while (response := backend.get("/ready")).status_code == 200:
        time.sleep(0.02)
    assert response.json()["code"] == "draining"


@pytest.fixture(params=["1", "2"], ids=["one worker", "two workers"])
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[BackendProcess]:
    log = tmp_path / "log"
    environ = TWO_WORKERS | {"WEB_CONCURRENCY": request.param, "TMPDIR": str(tmp_path)}
    with BackendProcess(log, **environ) as backend:
        backend.wait_until_ready()
        wait_for(log, "is loaded", int(request.param))
        yield backend


@pytest.mark.parametrize("workers", ["1", "2"])
def test_sigterm_under_load_loses_no_request(workers: str) -> None:
    outcomes = drain_loop.Outcomes()
    for _ in range(int(os.environ.get("PRISM_DRAIN_ROUNDS", "5"))):
        assert drain_loop.run_round(outcomes, WEB_CONCURRENCY=workers) < MAX_SHUTDOWN
    assert not outcomes.lost, outcomes.counts
    assert outcomes.counts["200"]


def test_sigterm_finishes_requests_in_flight_and_fails_readiness(backend: BackendProcess) -> None:
    photo = encoded(noise(1000, 750), "JPEG")
    head = (
        f"POST /classify HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/jpeg\r\n"
        f"Content-Length: {len(photo)}\r\n\r\n"
    )
    with ExitStack() as stack:
        uploads = [stack.enter_context(backend.connect()) for _ in range(5)]
        for upload in uploads:
            upload.sendall(head.encode() + photo[:1000])
        wait_for_requests_in_flight(backend, len(uploads))
        backend.process.send_signal(signal.SIGTERM)
        started = time.monotonic()
        wait_until_draining(backend)
        assert backend.get("/health").status_code == 200
        for upload in uploads:
            upload.sendall(photo[1000:])
        assert [upload.recv(12) for upload in uploads] == [b"HTTP/1.1 200"] * len(uploads)
    assert backend.process.wait(timeout=MAX_SHUTDOWN) == -signal.SIGTERM
    assert time.monotonic() - started < MAX_SHUTDOWN


def test_slow_upload_gets_503_in_time(backend: BackendProcess) -> None:
    with backend.connect() as connection:
        connection.sendall(PARTIAL_REQUEST)
        wait_for_requests_in_flight(backend, 1)
        backend.process.send_signal(signal.SIGTERM)
        started = time.monotonic()
        assert b"HTTP/1.1 503" in connection.recv(65536)
        backend.process.wait(timeout=MAX_SHUTDOWN)
        assert time.monotonic() - started < MAX_SHUTDOWN


def test_ctrl_c_exits_at_once_without_requests(backend: BackendProcess) -> None:
    backend.process.send_signal(signal.SIGINT)
    started = time.monotonic()
    assert backend.process.wait(timeout=MAX_SHUTDOWN) == 0
    assert time.monotonic() - started < DRAIN_UNTIL


def test_second_signal_exits_at_once(backend: BackendProcess) -> None:
    with backend.connect() as connection:
        connection.sendall(PARTIAL_REQUEST)
        wait_for_requests_in_flight(backend, 1)
        backend.process.send_signal(signal.SIGTERM)
        wait_until_draining(backend)
        assert backend.process.poll() is None
        backend.process.send_signal(signal.SIGTERM)
        assert backend.process.wait(timeout=DRAIN_UNTIL - 2) == -signal.SIGTERM


def test_killed_worker_is_replaced_and_temporary_files_are_removed(tmp_path: Path) -> None:
    log, scratch = tmp_path / "log", tmp_path / "scratch"
    scratch.mkdir()
    with BackendProcess(log, **TWO_WORKERS, TMPDIR=str(scratch)) as backend:
        text = wait_for(log, "is loaded", 2)
        assert len(list(scratch.glob("prism-metrics-*"))) == 1
        worker = int(re.findall(r"Started server process \[(\d+)\]", text)[0])
        os.kill(worker, signal.SIGKILL)
        wait_for(log, "is loaded", 3)
        assert backend.get("/ready").status_code == 200
        backend.process.terminate()
        assert backend.process.wait(timeout=MAX_SHUTDOWN) == -signal.SIGTERM
        assert re.search(rf"worker {worker} .*: starting a replacement", log.read_text())
        assert "Traceback" not in log.read_text()
    assert not list(scratch.glob("prism*"))


@pytest.mark.parametrize("sig", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_service_survives_the_end_of_a_worker(sig: signal.Signals, tmp_path: Path) -> None:
    log = tmp_path / "log"
    digit = encoded(noise(28, 28), "PNG")
    with BackendProcess(log, **TWO_WORKERS, PRISM_TIMEOUT="30") as backend:
        text = wait_for(log, "is loaded", 2)
        worker = int(re.findall(r"Started server process \[(\d+)\]", text)[0])
        os.kill(worker, sig)
        if sig == signal.SIGKILL:  # its accepted requests are lost
            wait_for(log, "starting a replacement", 1)
        responses, end = 0, time.monotonic() + 60
        while responses < 50:
            assert time.monotonic() < end, "no other worker is ready"
            response = httpx.post(f"{backend.url}/classify", files={"file": digit}, timeout=40)
            assert response.status_code == 200
            responses += log.read_text().count("is loaded") == 3
        backend.process.terminate()
        assert backend.process.wait(timeout=MAX_SHUTDOWN) == -signal.SIGTERM


def is_listening(backend: BackendProcess) -> bool:
    """Return whether the port accepts connections."""
    try:
        backend.connect().close()
    except ConnectionRefusedError:
        return False
    return True


def test_workers_exit_when_their_parent_is_killed(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with BackendProcess(log, **TWO_WORKERS) as backend:
        wait_for(log, "is loaded", 2)
        backend.process.kill()
        backend.process.wait()
        end = time.monotonic() + MAX_SHUTDOWN
        while is_listening(backend):
            assert time.monotonic() < end
            time.sleep(0.05)


@pytest.mark.parametrize("workers", ["1", "2"])
def test_port_in_use_aborts_the_start(workers: str, tmp_path: Path) -> None:
    log = tmp_path / "log"
    with BackendProcess() as other:
        other.wait_until_ready()
        with BackendProcess(log, WEB_CONCURRENCY=workers, PORT=str(other.port)) as backend:
            assert backend.process.wait(timeout=20) in {1, 3}
        assert "ddress already in use" in log.read_text()
        assert "Traceback" not in log.read_text()
