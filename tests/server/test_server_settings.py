"""The settings reach the server."""

import gc
import socket
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from backend.app import create_app
from backend.server import entrypoint
from backend.server.descriptors import MAX_BACKLOG
from backend.server.request_stream import SharedState
from backend.settings import Settings
from tests.fake_models import write_model
from tests.server.test_connection_limits import NOW, FakeConnection


class FakeServer:
    """Records its arguments instead of serving."""

    started = True
    calls: list[tuple[uvicorn.Config, SharedState]]

    def __init__(self, config: uvicorn.Config, shared: SharedState, **_: Any) -> None:
        self.calls.append((config, shared))

    def run(self, sockets: list[socket.socket] | None) -> None:
        """Do nothing."""


def serve(
    monkeypatch: pytest.MonkeyPatch, folder: Path, **values: Any
) -> tuple[uvicorn.Config, SharedState]:
    """Return what the server gets for these settings."""
    FakeServer.calls = []
    monkeypatch.setattr(entrypoint, "Server", FakeServer)
    monkeypatch.setattr(gc, "freeze", lambda: None)
    write_model(folder)
    settings = Settings(models_dir=folder, **values)
    entrypoint.serve(settings, create_app(settings))
    (call,) = FakeServer.calls
    return call


def test_server_gets_the_limits_of_the_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, shared = serve(
        monkeypatch, tmp_path, max_connections=2, header_timeout=3, write_timeout=4
    )
    assert (shared.header_timeout, shared.write_timeout) == (3, 4)
    assert config.backlog == MAX_BACKLOG
    assert not config.proxy_headers
    admitted = [shared.limits.admit(FakeConnection(0.1), "10.0.0.1", NOW) for _ in range(3)]
    assert admitted == [True, True, False]


@pytest.mark.parametrize(("trusted_proxies", "has_share"), [(0, True), (1, False)])
def test_peers_have_shares_unless_they_are_proxies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trusted_proxies: int, has_share: bool
) -> None:
    _, shared = serve(monkeypatch, tmp_path, max_connections=2, trusted_proxies=trusted_proxies)
    for _ in range(2):
        shared.limits.admit(FakeConnection(0.1), "10.0.0.1", NOW)
    assert shared.limits.admit(FakeConnection(0.1), "10.0.0.2", NOW) == has_share
