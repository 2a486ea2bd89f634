"""Worker processes: failed starts and the shared metrics folder."""

import logging
import os
import signal
import socket
import sys
import time
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from backend.server.workers import WorkerSupervisor
from backend.telemetry.metrics import FOLDER


def fail(listener: socket.socket, pipe: Connection) -> None:
    sys.exit(1)


def serve_once(listener: socket.socket, pipe: Connection) -> None:
    """Send the path of the metrics folder to the client, then wait for the supervisor's signal."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    pipe.send_bytes(b"started")
    connection, _ = listener.accept()
    connection.sendall(os.environ[FOLDER].encode())
    connection.close()
    os.kill(os.getppid(), signal.SIGTERM)
    time.sleep(30)


def test_failed_start_logs_one_line(caplog: pytest.LogCaptureFixture) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, caplog.at_level(logging.INFO):
        assert WorkerSupervisor(fail, 2, listener).run() is None
    assert [record.message for record in caplog.records] == [
        "a worker failed to start; see the log lines above"
    ]


def test_metrics_folder_is_shared_and_removed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(FOLDER, raising=False)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        with socket.create_connection(listener.getsockname()) as client:
            assert WorkerSupervisor(serve_once, 1, listener).run() == signal.SIGTERM
            folder = client.recv(1000).decode()
        assert "prism-metrics-" in folder
        assert not Path(folder).exists()
        assert FOLDER not in os.environ


def test_metrics_folder_of_operator_is_not_removed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(FOLDER, str(tmp_path))
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        socket.create_connection(listener.getsockname()) as client,
    ):
        WorkerSupervisor(serve_once, 1, listener).run()
        assert client.recv(1000).decode() == str(tmp_path)
    assert tmp_path.is_dir()
