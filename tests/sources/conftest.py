"""Models, and servers to download them from."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import google.cloud.storage as storage
import pytest
import torch
from gcp_storage_emulator.server import create_server

from backend.inference.models import artifact, networks
from backend.sources.address import Address, parse_address
from backend.sources.fetch import FetchRequest
from tests.fake_models import write_model
from tests.sources.file_server import FileServer, serving

MakeFetchRequest = Callable[..., FetchRequest]


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`mnist_cnn.pt` as saved by the PyTorch example, with random weights."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("checkpoint") / "mnist_cnn.pt"
    torch.save(networks.build("mnist-net").state_dict(), path)
    return path


@pytest.fixture
def published(tmp_path: Path) -> Path:
    """A model folder with a large placeholder as its network."""
    return write_large_model(tmp_path / "published")


def write_large_model(parent: Path, content: bytes = b"0123456789" * 20_000, **fields: Any) -> Path:
    """Write the model folder `parent/fake` with `content` as its network."""
    folder = write_model(parent, **fields)
    (folder / artifact.ONNX).write_bytes(content)
    artifact.write_manifest(folder, artifact.read_manifest(folder))
    return folder


def wait_until(condition: Callable[[], bool], seconds: float = 20) -> None:
    """Wait until `condition` holds; fail after `seconds`."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.fixture
def server(published: Path) -> Iterator[FileServer]:
    """An HTTP server with the published model."""
    with serving() as server:
        server.publish(published, "fake")
        yield server


@pytest.fixture
def make_request(tmp_path: Path) -> MakeFetchRequest:
    """Return a function that makes the fetch request of an address."""

    def make(address: str | Address, **bounds: Any) -> FetchRequest:
        if isinstance(address, str):
            address = parse_address(address, tmp_path)
        limits = {"max_bytes": 10_000_000, "seconds": 60, "allow_private": True} | bounds
        return FetchRequest(address=address, cache=tmp_path / "cache", **limits)

    return make


@pytest.fixture
def bucket(published: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[storage.Bucket]:
    """A bucket with the published model, in an emulator for the real client."""
    emulator = create_server("127.0.0.1", 0, in_memory=True)
    emulator.start()
    port = emulator._api._httpd.server_port
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", f"http://127.0.0.1:{port}")
    try:
        with storage.Client(project=None) as client:
            bucket = client.create_bucket("models")
            for path in published.iterdir():
                bucket.blob(f"models/fake/{path.name}").upload_from_filename(str(path))
            yield bucket
    finally:
        emulator.stop()
