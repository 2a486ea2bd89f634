"""SIGHUP in every state of a service, and what it reads again."""

import os
import shutil
import signal
import threading
import time
from functools import partial
from pathlib import Path

import httpx
import pytest

from backend.inference.models import artifact
from tests.conftest import ROOT
from tests.e2e.backend_process import BackendProcess
from tests.e2e.process_sockets import child_workers
from tests.images import encoded, seven
from tests.sources.conftest import wait_until
from tests.sources.file_server import serving

SIGHUP_MASK = 1 << (signal.SIGHUP - 1)
IMAGE = encoded(seven())
PAUSE = 0.01  # s between signals


class HangUps(threading.Thread):
    """Sends SIGHUP without pause to a service and its workers, until it has ended."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self.pid = pid
        self.count = 0
        self.start()

    def run(self) -> None:
        while is_running(self.pid):
            for pid in (self.pid, *child_workers(self.pid)):
                if blocks_or_handles(pid):
                    os.kill(pid, signal.SIGHUP)
                    self.count += 1
            time.sleep(PAUSE)


def are_ready(backend: BackendProcess) -> bool:
    """Return whether all of 10 requests, which any worker may get, find a ready service."""
    return all(backend.get("/ready").status_code == 200 for _ in range(10))


def is_running(pid: int) -> bool:
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


def blocks_or_handles(pid: int) -> bool:
    """Return whether a process has executed its first lines."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return False
    masks = dict(line.split(":\t") for line in lines if line.startswith("Sig"))
    keys = ("SigBlk", "SigIgn", "SigCgt")
    return any(int(masks[key], 16) & SIGHUP_MASK for key in keys)


@pytest.mark.parametrize("workers", ["1", "2"])
def test_signal_never_ends_a_service_that_starts_serves_or_drains(
    workers: str, tmp_path: Path
) -> None:
    environ = {"WEB_CONCURRENCY": workers, "PRISM_MODELS": "mnist-cnn", "PRISM_MEASURE": "false"}
    with BackendProcess(None, PRISM_DATA_DIR=str(tmp_path), **environ) as backend:
        hang_ups = HangUps(backend.process.pid)
        backend.wait_until_ready()
        started = set(child_workers(backend.process.pid))
        wait_until(lambda: are_ready(backend), 60)
        assert are_ready(backend)
        assert set(child_workers(backend.process.pid)) == started
        assert hang_ups.count > 0
        backend.process.terminate()
        assert backend.process.wait(30) == -signal.SIGTERM


def test_every_worker_reads_an_address_again_that_is_not_polled(tmp_path: Path) -> None:
    folder = tmp_path / "digits"
    shutil.copytree(ROOT / "models" / "mnist-cnn", folder)
    with serving() as server:
        server.publish(folder, "digits")
        environ = {
            "WEB_CONCURRENCY": "2",
            "PRISM_MODELS": f"digits={server.url}/digits",
            "PRISM_ALLOW_PRIVATE_SOURCES": "true",
            "PRISM_MEASURE": "false",
            "PRISM_DATA_DIR": str(tmp_path / "data"),
        }
        with BackendProcess(None, **environ) as backend:
            backend.wait_until_ready()
            manifest = artifact.read_manifest(folder)
            assert versions(backend.url) == {manifest.version}
            artifact.write_manifest(folder, manifest.model_copy(update={"version": "new"}))
            server.publish(folder, "digits")
            backend.process.send_signal(signal.SIGHUP)
            wait_until(lambda: versions(backend.url) == {"new"}, 60)


def versions(url: str) -> set[str]:
    """Return which versions answer 10 requests on new connections."""
    classify = partial(httpx.post, f"{url}/classify", timeout=60, trust_env=False)
    responses = [classify(files={"file": IMAGE}) for _ in range(10)]
    return {str(response.json()["model"]["version"]) for response in responses}
