"""Several processes on one socket: what the parent says where they cannot start."""

import logging
import os
import signal
import socket
import sys
import time
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from backend.server.workers import Workers
from backend.telemetry.metrics import FOLDER


def fail(listener: socket.socket, lifeline: Connection) -> None:
    sys.exit(1)


def serve_once(listener: socket.socket, lifeline: Connection) -> None:
    """Say where the metrics are kept, and wait for the parent's signal."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    lifeline.send_bytes(b"serves")
    connection, _ = listener.accept()
    connection.sendall(os.environ[FOLDER].encode())
    connection.close()
    os.kill(os.getppid(), signal.SIGTERM)
    time.sleep(30)


def test_a_worker_that_cannot_start_is_one_line(caplog: pytest.LogCaptureFixture) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, caplog.at_level(logging.INFO):
        assert Workers(fail, 2, listener).run() is None
    assert [record.message for record in caplog.records] == [
        "a worker could not start; the lines above say why"
    ]


def test_workers_share_a_folder_that_goes_with_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(FOLDER, raising=False)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        with socket.create_connection(listener.getsockname()) as client:
            assert Workers(serve_once, 1, listener).run() == signal.SIGTERM
            folder = client.recv(1000).decode()
        assert "prism-metrics-" in folder
        assert not Path(folder).exists()
        assert FOLDER not in os.environ


def test_a_folder_that_the_operator_named_is_kept(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(FOLDER, str(tmp_path))
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        socket.create_connection(listener.getsockname()) as client,
    ):
        Workers(serve_once, 1, listener).run()
        assert client.recv(1000).decode() == str(tmp_path)
    assert tmp_path.is_dir()
