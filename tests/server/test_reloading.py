"""SIGHUP to the supervisor and to workers."""

import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from backend.server.reloading import on_reload, reload_blocked
from backend.server.workers import WorkerSupervisor

PATH = "PRISM_TEST_RELOADS"  # a file with the process ID of each worker that has reloaded


@pytest.fixture(autouse=True)
def previous_handler() -> Iterator[None]:
    handler = signal.getsignal(signal.SIGHUP)
    yield
    signal.signal(signal.SIGHUP, handler)


def hang_up() -> None:
    signal.raise_signal(signal.SIGHUP)


def test_signal_is_pending_while_it_is_blocked_and_ignored_afterwards() -> None:
    calls: list[None] = []
    with reload_blocked():
        hang_up()
        with on_reload(lambda: calls.append(None)):
            assert len(calls) == 1
            hang_up()
            assert len(calls) == 2
        hang_up()
    hang_up()
    assert len(calls) == 2


def _reload_once(_: socket.socket, pipe: Connection) -> None:
    """Send SIGHUP to the supervisor before this worker handles it; stop the service after it."""
    os.kill(os.getppid(), signal.SIGHUP)
    has_reloaded = threading.Event()
    time.sleep(0.3)  # the supervisor's signal arrives
    with on_reload(has_reloaded.set):
        assert has_reloaded.wait(30)
        with Path(os.environ[PATH]).open("a") as file:
            file.write(f"{os.getpid()}\n")
        os.kill(os.getppid(), signal.SIGTERM)
        time.sleep(30)


def test_supervisor_reloads_workers_also_those_that_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(PATH, str(tmp_path / "reloads"))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        assert WorkerSupervisor(_reload_once, 1, listener).run() == signal.SIGTERM
    assert len((tmp_path / "reloads").read_text().splitlines()) == 1
