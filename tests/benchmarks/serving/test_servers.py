"""Tests of starting and stopping servers under test."""

import os
import sys
import time
from pathlib import Path

import pytest

from benchmarks.serving import servers
from benchmarks.serving.machine import (
    session_cpu,
    session_memory,
    session_processes,
)
from benchmarks.serving.systems import ALL, NOOP, PRISM, System

ROOT = Path(__file__).parents[3]
MODEL = ROOT / "models" / "mnist-cnn"
IMAGE = ROOT / "frontend" / "examples" / "seven.png"


@pytest.fixture(autouse=True)
def log_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(servers, "LOGS", tmp_path)


@pytest.mark.parametrize("system", [PRISM, NOOP], ids=lambda one: one.name)
def test_server_starts_and_leaves_no_process_behind(system: System) -> None:
    with servers.serve(system, MODEL, IMAGE) as server:
        assert server.startup > 0
        assert server.pid in session_processes(server.pid)
        if sys.platform == "linux":
            assert 1 < session_memory(server.pid) < 10_000
    assert not session_processes(server.pid)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_descendant_in_another_session_is_stopped(tmp_path: Path) -> None:
    script = (
        "import subprocess, sys; "
        "child = subprocess.Popen(['sleep', '60'], start_new_session=True); "
        f"open({str(tmp_path / 'pid')!r}, 'w').write(str(child.pid)); "
        "sys.argv = ['uvicorn', 'benchmarks.serving.peers.noop:app', '--port', '{port}']; "
        "import uvicorn; uvicorn.main()"
    )
    system = System("parent", "none", ("-c", script))
    with servers.serve(system, MODEL, IMAGE) as server:
        child = int((tmp_path / "pid").read_text())
        assert child in session_processes(server.pid)
        assert session_cpu(server.pid) > 0
    deadline = time.monotonic() + 10
    while _is_running(child) and time.monotonic() < deadline:  # the signal takes effect later
        time.sleep(0.01)
    assert not _is_running(child)


def _is_running(pid: int) -> bool:
    """Return whether a process exists and is not only waiting for its parent to notice its end."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no affinity on this system")
def test_only_the_server_is_pinned_to_its_core() -> None:
    before = os.sched_getaffinity(0)
    core = min(before)
    with servers.serve(NOOP, MODEL, IMAGE, cpus=[core]) as server:
        assert os.sched_getaffinity(server.pid) == {core}
        assert os.sched_getaffinity(0) == before


def test_failed_start_raises_error_with_log_path() -> None:
    broken = System("broken", "none", ("-c", "raise SystemExit(3)"))
    with pytest.raises(servers.ServerError, match=r"broken-mnist-cnn\.log"):  # noqa: SIM117
        with servers.serve(broken, MODEL, IMAGE):
            pass


def test_system_names_are_unique() -> None:
    assert len({one.name for one in ALL}) == len(ALL)
