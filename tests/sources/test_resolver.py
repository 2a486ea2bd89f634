"""Resolution of addresses: subprocess, timeout and concurrent services."""

import asyncio
import hashlib
import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from backend.inference.errors import SourceError, UnreachableError
from backend.inference.models import artifact
from backend.sources.address import Address, parse_address
from backend.sources.resolver import ModelResolver
from tests.conftest import ROOT, free_port
from tests.sources.conftest import wait_until
from tests.sources.file_server import FileServer

ONNX = "fake/model.onnx"
MANIFEST = "fake/manifest.json"

RESOLVE = """
import asyncio, sys
from pathlib import Path
from backend.sources.address import Address
from backend.sources.resolver import ModelResolver

async def main():
    resolver = ModelResolver(Path(sys.argv[1]), seconds=60, allow_private=True)
    print(await resolver.resolve(Address(location=sys.argv[2])))

asyncio.run(main())
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def address(server: FileServer) -> Address:
    return Address(location=f"{server.url}/fake")


def resolve(folder: Path, address: Address, **limits: Any) -> Path:
    resolver = ModelResolver(folder, **({"seconds": 60, "allow_private": True} | limits))
    return asyncio.run(resolver.resolve(address))


def start(folder: Path, address: Address) -> subprocess.Popen[str]:
    """Start a process that resolves `address`."""
    return subprocess.Popen(
        [sys.executable, "-c", RESOLVE, str(folder), address.location],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )


def fetch_processes() -> set[int]:
    """Return the ids of all processes that download a model for the current test.

    Other tests, which run at the same time, have such processes, too.
    """
    test = f"PYTEST_CURRENT_TEST={os.environ['PYTEST_CURRENT_TEST']}".encode()
    processes = set()
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            arguments = path.read_bytes().split(b"\0")
            state = (path.parent / "stat").read_text().rpartition(")")[2].split()[0]
            environ = (path.parent / "environ").read_bytes().split(b"\0")
        except OSError:
            continue
        if b"backend.sources" in arguments and state != "Z" and test in environ:
            processes.add(int(path.parent.name))
    return processes


def test_local_folder_is_used_in_place(published: Path, folder: Path) -> None:
    assert resolve(folder, Address(location=str(published))) == published
    assert not folder.exists()


def test_pin_of_a_local_folder_is_checked(published: Path, folder: Path) -> None:
    pin = hashlib.sha256((published / artifact.MANIFEST).read_bytes()).hexdigest()
    assert resolve(folder, parse_address(f"{published}@sha256={pin}", folder)) == published
    with pytest.raises(SourceError, match="does not match the pin"):
        resolve(folder, parse_address(f"{published}@sha256={'0' * 64}", folder))


def test_two_services_with_one_cold_cache_download_once(
    folder: Path, address: Address, server: FileServer
) -> None:
    services = [start(folder, address) for _ in range(2)]
    outputs = [service.communicate(timeout=60)[0].strip() for service in services]
    assert [service.returncode for service in services] == [0, 0]
    assert outputs[0] == outputs[1]
    assert server.paths.count(ONNX) == 1
    artifact.read(Path(outputs[0]))


@pytest.mark.parametrize("fault", ["stall", "trickle"])
def test_endless_download_times_out(
    fault: str, folder: Path, address: Address, server: FileServer
) -> None:
    getattr(server, fault)(ONNX)
    before = fetch_processes()
    with pytest.raises(UnreachableError, match="PRISM_SOURCE_TIMEOUT=3 s"):
        resolve(folder, address, seconds=3)
    assert fetch_processes() <= before


def test_timeout_falls_back_to_the_last_copy(
    folder: Path, address: Address, server: FileServer, caplog: pytest.LogCaptureFixture
) -> None:
    copy = resolve(folder, address)
    server.trickle(MANIFEST)
    with caplog.at_level(logging.WARNING, logger="prism.sources"):
        assert resolve(folder, address, seconds=2) == copy
    (line,) = caplog.messages
    assert "using the cached copy" in line


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="requires /proc")
def test_killed_service_leaves_no_partial_copy(
    folder: Path, address: Address, server: FileServer
) -> None:
    server.stall(ONNX)
    before = fetch_processes()
    service = start(folder, address)
    assert server.stalled.wait(30)
    service.kill()
    service.communicate()
    wait_until(lambda: fetch_processes() <= before)
    assert list(folder.rglob("model.onnx"))
    assert not list(folder.glob("*/[0-9a-f]*"))
    del server.responders[ONNX]
    copy = resolve(folder, address)
    artifact.read(copy)
    assert list(folder.rglob("model.onnx")) == [copy / "model.onnx"]


def test_killed_fetch_process_raises_source_error(
    folder: Path, address: Address, server: FileServer
) -> None:
    server.stall(ONNX)
    before = fetch_processes()

    async def kill() -> None:
        fetching = asyncio.create_task(
            ModelResolver(folder, seconds=60, allow_private=True).resolve(address)
        )
        await asyncio.to_thread(server.stalled.wait, 30)
        for process in fetch_processes() - before:
            os.kill(process, signal.SIGKILL)
        with pytest.raises(SourceError, match="was killed"):
            await fetching

    asyncio.run(kill())


def test_cancelling_kills_the_fetch_process(
    folder: Path, address: Address, server: FileServer
) -> None:
    server.stall(ONNX)
    before = fetch_processes()

    async def stop() -> None:
        fetching = asyncio.create_task(
            ModelResolver(folder, seconds=60, allow_private=True).resolve(address)
        )
        await asyncio.to_thread(server.stalled.wait, 30)
        fetching.cancel()
        with pytest.raises(asyncio.CancelledError):
            await fetching

    started = time.monotonic()
    asyncio.run(stop())
    assert time.monotonic() - started < 30
    assert fetch_processes() <= before


def test_offline_restart_uses_the_cached_copy_and_warns(
    folder: Path, address: Address, server: FileServer, caplog: pytest.LogCaptureFixture
) -> None:
    copy = resolve(folder, address)
    server.shutdown()
    server.server_close()
    with caplog.at_level(logging.WARNING, logger="prism.sources"):
        assert resolve(folder, address) == copy
    (line,) = caplog.messages
    assert line.startswith(f"{server.url}/fake: cannot connect to 127.0.0.1; using the cached")


def test_unwritable_cache_folder_raises(address: Address, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SourceError, match="PRISM_DATA_DIR cannot be used"):
        resolve(tmp_path / "file", address)


def test_private_address_requires_permission(
    folder: Path, address: Address, server: FileServer
) -> None:
    with pytest.raises(SourceError, match="PRISM_ALLOW_PRIVATE_SOURCES"):
        resolve(folder, address, allow_private=False)
    assert not server.requests


def test_trimming_keeps_resolved_models(
    folder: Path, address: Address, server: FileServer, published: Path
) -> None:
    server.publish(published, "other")
    other = resolve(folder, Address(location=f"{server.url}/other"))

    async def run() -> Path:
        resolver = ModelResolver(folder, seconds=60, cache_bytes=0, allow_private=True)
        copy = await resolver.resolve(address)
        resolver.trim()
        return copy

    assert asyncio.run(run()).exists()
    assert not other.exists()


def test_unreachable_bucket_raises_one_line(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", f"http://127.0.0.1:{free_port()}")
    with pytest.raises(SourceError, match=r"^gs://models/a: the bucket is unreachable$"):
        resolve(folder, Address(location="gs://models/a"))
