"""The entry point: what it logs, and the headers of every response of its server."""

import multiprocessing
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi import FastAPI

from backend.api.middleware.draining import DrainState
from backend.app import create_app
from backend.server import entrypoint
from backend.server.connection_limits import ConnectionLimits
from backend.server.lifecycle import Server
from backend.server.request_stream import SharedState
from backend.server.worker_process import CONFIG_ERROR
from backend.settings import Settings
from tests.conftest import ROOT
from tests.fake_models import fake_loader, settings_for, write_model
from tests.server_thread import ServerThread, get_request, read_all

HEADERS = (
    b"x-content-type-options: nosniff",
    b"x-frame-options: DENY",
    b"referrer-policy: no-referrer",
    b"cross-origin-resource-policy: same-origin",
)


@pytest.fixture
def server() -> Iterator[ServerThread]:
    """A server with the configuration of the service, and room for one connection."""
    config = entrypoint._uvicorn_config(Settings(port=0), FastAPI())
    drain_state = DrainState()
    server = Server(config, SharedState(drain_state, ConnectionLimits(1, 256), 10.0, 10.0))
    listener = config.bind_socket()
    thread = threading.Thread(target=server.run, args=([listener],))
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield ServerThread(server, thread, listener.getsockname()[1])
    drain_state.start()
    server.should_exit = True
    thread.join(10)


def require_headers(response: bytes, status: bytes) -> None:
    head = response.partition(b"\r\n\r\n")[0]
    assert head.startswith(b"HTTP/1.1 " + status)
    for header in HEADERS:
        assert head.count(header) == 1, head
    assert b"server:" not in head.lower()


def test_every_response_has_security_headers(server: ServerThread) -> None:
    require_headers(server.get("/nowhere"), b"404")
    require_headers(read_all(server.connect(b"no request\r\n\r\n")), b"400")
    with server.connect():  # occupies the only place
        require_headers(read_all(server.connect(get_request())), b"503")


def test_start_logs_the_accepted_host_names(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(entrypoint, "_load", lambda: (Settings(allowed_hosts="a.example"), None))
    monkeypatch.setattr(entrypoint, "serve", lambda *_: None)
    with caplog.at_level("INFO", "prism"):
        entrypoint.main()
    assert "accepted host names: a.example, localhost and other names" in caplog.text


def test_worker_with_invalid_settings_exits_with_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PRISM_MAX_BYTES", "many")
    ends = multiprocessing.Pipe()
    with socket.socket() as listener, ends[0], ends[1], pytest.raises(SystemExit) as info:
        entrypoint.run_worker(listener, ends[1])
    assert info.value.code == CONFIG_ERROR
    assert capsys.readouterr().err.startswith("error: PRISM_MAX_BYTES=many: ")


@pytest.mark.parametrize("module", ["backend", "deploy.local"])
def test_windows_gets_one_line(module: str) -> None:
    code = (
        "import runpy, sys; sys.platform = 'win32'; "
        f"runpy.run_module({module!r}, run_name='__main__')"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, check=False
    )
    assert result.returncode == 1
    (line,) = result.stderr.decode().splitlines()
    assert line.startswith("error: ")
    assert "WSL" in line


def test_worker_sends_heartbeats_until_its_pipe_closes(tmp_path: Path) -> None:
    write_model(tmp_path / "models")
    settings = settings_for(tmp_path / "models")
    app = create_app(settings, fake_loader())
    supervisor, worker = multiprocessing.Pipe()
    with socket.create_server(("127.0.0.1", 0)) as listener, worker:
        thread = threading.Thread(target=entrypoint.serve, args=(settings, app, listener, worker))
        thread.start()
        with supervisor:
            heartbeats = b""
            while not heartbeats.endswith(b"rr"):
                heartbeats += os.read(supervisor.fileno(), 100)
                assert set(heartbeats) <= set(b"lr")
        thread.join(10)
        assert not thread.is_alive()
