"""Models as the service obtains them: by a process of its own, within a time, side by side."""

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
from backend.sources.address import Address, parse
from backend.sources.library import Library
from tests.conftest import ROOT, free_port
from tests.sources.conftest import until
from tests.sources.file_server import FileServer

ONNX = "fake/model.onnx"
MANIFEST = "fake/manifest.json"

OBTAIN = """
import asyncio, sys
from pathlib import Path
from backend.sources.address import Address
from backend.sources.library import Library

async def main():
    library = Library(Path(sys.argv[1]), seconds=60, allow_private=True)
    print(await library.obtain(Address(location=sys.argv[2])))

asyncio.run(main())
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def address(server: FileServer) -> Address:
    return Address(location=f"{server.url}/fake")


def obtain(folder: Path, address: Address, **bounds: Any) -> Path:
    library = Library(folder, **({"seconds": 60, "allow_private": True} | bounds))
    return asyncio.run(library.obtain(address))


def start(folder: Path, address: Address) -> subprocess.Popen[str]:
    """A service of its own that obtains a model."""
    return subprocess.Popen(
        [sys.executable, "-c", OBTAIN, str(folder), address.location],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )


def fetchers() -> set[int]:
    """Processes on this machine that fetch a model."""
    found = set()
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().split(b"\0")
            state = (path.parent / "stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            continue
        if b"backend.sources" in words and state != "Z":
            found.add(int(path.parent.name))
    return found


def test_a_local_folder_is_used_where_it_lies(published: Path, folder: Path) -> None:
    assert obtain(folder, Address(location=str(published))) == published
    assert not folder.exists()


def test_a_pin_of_a_local_folder_is_checked(published: Path, folder: Path) -> None:
    right = hashlib.sha256((published / artifact.MANIFEST).read_bytes()).hexdigest()
    assert obtain(folder, parse(f"{published}@sha256={right}", folder)) == published
    with pytest.raises(SourceError, match="not the one pinned"):
        obtain(folder, parse(f"{published}@sha256={'0' * 64}", folder))


def test_two_services_that_start_on_one_cold_cache_fetch_once(
    folder: Path, address: Address, server: FileServer
) -> None:
    services = [start(folder, address) for _ in range(2)]
    said = [service.communicate(timeout=60)[0].strip() for service in services]
    assert [service.returncode for service in services] == [0, 0]
    assert said[0] == said[1]
    assert server.paths.count(ONNX) == 1
    artifact.read(Path(said[0]))


@pytest.mark.parametrize("cut", ["stall", "trickle"])
def test_a_server_that_never_ends_is_given_up_in_time(
    cut: str, folder: Path, address: Address, server: FileServer
) -> None:
    getattr(server, cut)(ONNX)
    before = fetchers()
    started = time.monotonic()
    with pytest.raises(UnreachableError, match="PRISM_SOURCE_TIMEOUT=2 s"):
        obtain(folder, address, seconds=2)
    assert server.stalled.is_set()
    assert time.monotonic() - started < 10
    assert fetchers() <= before


def test_a_server_that_never_ends_leaves_the_last_copy(
    folder: Path, address: Address, server: FileServer, caplog: pytest.LogCaptureFixture
) -> None:
    copy = obtain(folder, address)
    server.trickle(MANIFEST)
    with caplog.at_level(logging.WARNING, logger="prism.sources"):
        assert obtain(folder, address, seconds=2) == copy
    (line,) = caplog.messages
    assert "using the copy kept here" in line


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for processes in /proc")
def test_a_service_killed_in_the_middle_leaves_nothing_that_is_served(
    folder: Path, address: Address, server: FileServer
) -> None:
    server.stall(ONNX)
    before = fetchers()
    service = start(folder, address)
    assert server.stalled.wait(30)
    service.kill()
    service.communicate()
    until(lambda: fetchers() <= before)
    assert list(folder.rglob("model.onnx"))
    assert not list(folder.glob("*/[0-9a-f]*"))
    del server.answers[ONNX]
    copy = obtain(folder, address)
    artifact.read(copy)
    assert list(folder.rglob("model.onnx")) == [copy / "model.onnx"]


def test_a_fetching_process_that_is_killed_is_a_failure_of_its_model_only(
    folder: Path, address: Address, server: FileServer
) -> None:
    server.stall(ONNX)
    before = fetchers()

    async def kill() -> None:
        fetching = asyncio.create_task(
            Library(folder, seconds=60, allow_private=True).obtain(address)
        )
        await asyncio.to_thread(server.stalled.wait, 30)
        for process in fetchers() - before:
            os.kill(process, signal.SIGKILL)
        with pytest.raises(SourceError, match="was ended"):
            await fetching

    asyncio.run(kill())


def test_a_service_that_stops_does_not_wait_for_what_it_fetches(
    folder: Path, address: Address, server: FileServer
) -> None:
    server.stall(ONNX)
    before = fetchers()

    async def stop() -> None:
        fetching = asyncio.create_task(
            Library(folder, seconds=60, allow_private=True).obtain(address)
        )
        await asyncio.to_thread(server.stalled.wait, 30)
        fetching.cancel()
        with pytest.raises(asyncio.CancelledError):
            await fetching

    started = time.monotonic()
    asyncio.run(stop())
    assert time.monotonic() - started < 30
    assert fetchers() <= before


def test_restarted_offline_it_serves_the_copy_and_says_so(
    folder: Path, address: Address, server: FileServer, caplog: pytest.LogCaptureFixture
) -> None:
    copy = obtain(folder, address)
    server.shutdown()
    server.server_close()
    with caplog.at_level(logging.WARNING, logger="prism.sources"):
        assert obtain(folder, address) == copy
    (line,) = caplog.messages
    assert line.startswith(f"{server.url}/fake: 127.0.0.1 cannot be connected to; using the copy")


def test_a_folder_that_cannot_be_written_is_named(address: Address, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SourceError, match="PRISM_DATA_DIR cannot be used"):
        obtain(tmp_path / "file", address)


def test_without_permission_private_addresses_are_refused(
    folder: Path, address: Address, server: FileServer
) -> None:
    with pytest.raises(SourceError, match="PRISM_ALLOW_PRIVATE_SOURCES"):
        obtain(folder, address, allow_private=False)
    assert not server.seen


def test_trimming_keeps_what_was_obtained(
    folder: Path, address: Address, server: FileServer, published: Path
) -> None:
    server.publish(published, "other")
    other = obtain(folder, Address(location=f"{server.url}/other"))

    async def run() -> Path:
        library = Library(folder, seconds=60, cache_bytes=0, allow_private=True)
        copy = await library.obtain(address)
        library.trim()
        return copy

    assert asyncio.run(run()).exists()
    assert not other.exists()


def test_nobody_at_a_bucket_is_one_line(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", f"http://127.0.0.1:{free_port()}")
    with pytest.raises(SourceError, match=r"^gs://models/a: the bucket cannot be reached$"):
        obtain(folder, Address(location="gs://models/a"))
