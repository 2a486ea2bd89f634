"""A service of two workers, which are killed or suspended at random moments under load."""

import http.client
import os
import random
import re
import signal
import socket
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.e2e.backend_process import BackendProcess
from tests.e2e.drain_loop import DIGIT_PNG
from tests.e2e.process_sockets import child_workers, client_ports, wait_until_stopped

ROUNDS = int(os.environ.get("PRISM_KILL_ROUNDS", "5"))
MAX_SILENCE = 15  # s from SIGSTOP of a worker until it is killed; about 9 on an idle machine
ENVIRON = {"WEB_CONCURRENCY": "2", "PRISM_MODELS": "mnist-cnn", "PRISM_TIMEOUT": "30"}

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="requires /proc")


class Clients:
    """Send digits without pause, half of them on connections that are kept alive.

    `failed_ports` contains the own port of each connection on which a request failed.
    """

    def __init__(self, port: int, count: int = 6) -> None:
        self.statuses: Counter[int] = Counter()
        self.failed_ports: list[int] = []
        self.longest = 0.0  # s
        self._port = port
        self._is_closed = False
        self._threads = [threading.Thread(target=self._send, args=(i % 2,)) for i in range(count)]
        for thread in self._threads:
            thread.start()

    def _send(self, keep_alive: int) -> None:
        connection: http.client.HTTPConnection | None = None
        while not self._is_closed:
            if connection is None:
                connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=60)
                connection.connect()  # always succeeds: the supervisor holds the listener
            sock: socket.socket = connection.sock
            own_port = sock.getsockname()[1]
            started = time.monotonic()
            try:
                connection.request("POST", "/classify", DIGIT_PNG, {"Content-Type": "image/png"})
                response = connection.getresponse()
                response.read()
                self.statuses[response.status] += 1
            except (OSError, http.client.HTTPException):
                self.failed_ports.append(own_port)
                connection.close()
                connection = None
            self.longest = max(self.longest, time.monotonic() - started)
            if connection is not None and not (keep_alive and connection.sock):
                connection.close()
                connection = None
        if connection is not None:
            connection.close()

    def close(self) -> None:
        """Wait for the last responses."""
        self._is_closed = True
        for thread in self._threads:
            thread.join()


@contextmanager
def sending(port: int) -> Iterator[Clients]:
    """Yield clients that send requests until the end of the block."""
    clients = Clients(port)
    try:
        yield clients
    finally:
        clients.close()


def wait_for(log: Path, message: str, count: int = 1, seconds: float = 60) -> None:
    """Wait until the log contains `message` `count` times."""
    end = time.monotonic() + seconds
    while log.read_text().count(message) < count:
        assert time.monotonic() < end, log.read_text()
        time.sleep(0.05)


def wait_for_workers(backend: BackendProcess, count: int, seconds: float = 60) -> list[int]:
    """Wait until the service has `count` worker processes, which may still start; return them."""
    end = time.monotonic() + seconds
    while len(workers := child_workers(backend.process.pid)) < count:
        assert backend.process.poll() is None
        assert time.monotonic() < end
        time.sleep(0.01)
    return workers


def choose_worker(backend: BackendProcess, log: Path) -> int:
    """Wait until a worker serves, and return a random one of the others."""
    while True:
        workers = wait_for_workers(backend, 2)
        served = set(map(int, re.findall(r"Started server process \[(\d+)\]", log.read_text())))
        others = [one for one in workers if served & set(workers) - {one}]
        if others:
            return random.choice(others)
        time.sleep(0.05)


def test_sigkill_of_workers_loses_only_their_own_requests(tmp_path: Path) -> None:
    """Any worker is killed while another one serves, also one that starts."""
    log = tmp_path / "log"
    lost: set[int] = set()
    with BackendProcess(log, **ENVIRON) as backend:
        backend.wait_until_ready()
        with sending(backend.port) as clients:
            for _ in range(ROUNDS):
                time.sleep(random.uniform(0, 3))
                worker = choose_worker(backend, log)
                os.kill(worker, signal.SIGSTOP)
                wait_until_stopped(worker)
                lost |= client_ports(worker, backend.port)
                os.kill(worker, signal.SIGKILL)
            wait_for_workers(backend, 2)
        print(clients.statuses, len(clients.failed_ports), f"longest {clients.longest:.1f} s")
    assert set(clients.failed_ports) <= lost
    assert set(clients.statuses) == {200}


def suspend(worker: int) -> float:
    """Send SIGSTOP and wait until it takes effect; return the time."""
    os.kill(worker, signal.SIGSTOP)
    wait_until_stopped(worker)
    return time.monotonic()


def test_suspended_worker_is_replaced(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with BackendProcess(log, **ENVIRON) as backend:
        wait_for(log, "is loaded", 2)
        worker = wait_for_workers(backend, 2)[0]
        started = suspend(worker)
        lost = client_ports(worker, backend.port)
        with sending(backend.port) as clients:
            wait_for(log, f"worker {worker} is suspended: killing it")
            silence = time.monotonic() - started
            wait_for(log, "is loaded", 3)
        print(f"killed after {silence:.1f} s, replaced after {time.monotonic() - started:.1f} s")
        print(clients.statuses, f"longest {clients.longest:.1f} s")
    assert silence < MAX_SILENCE
    assert set(clients.failed_ports) <= lost
    assert set(clients.statuses) == {200}


def test_worker_that_is_suspended_while_it_starts_is_replaced(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with BackendProcess(log, **ENVIRON) as backend:
        worker = wait_for_workers(backend, 1)[0]
        started = suspend(worker)
        wait_for(log, f"worker {worker} is suspended: killing it")
        assert time.monotonic() - started < MAX_SILENCE
        wait_for(log, "is loaded", 2)
