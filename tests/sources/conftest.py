"""Models to fetch, and servers to fetch them from."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import google.cloud.storage as storage
import pytest
import torch
from gcp_storage_emulator.server import create_server

from backend.inference.models import artifact, networks
from backend.sources.address import Address, parse
from backend.sources.fetch import Order
from tests.fake_models import write_model
from tests.sources.file_server import FileServer, serving

MakeOrder = Callable[..., Order]


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`mnist_cnn.pt` as the PyTorch example saves it, with weights of chance."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("checkpoint") / "mnist_cnn.pt"
    torch.save(networks.build("mnist-net").state_dict(), path)
    return path


@pytest.fixture
def published(tmp_path: Path) -> Path:
    """A model folder whose network is a placeholder of some length."""
    return write_big(tmp_path / "published")


def write_big(parent: Path, content: bytes = b"0123456789" * 20_000, **fields: Any) -> Path:
    """Write the model folder `parent/fake` with `content` for a network."""
    folder = write_model(parent, **fields)
    (folder / artifact.ONNX).write_bytes(content)
    artifact.write_manifest(folder, artifact.read_manifest(folder))
    return folder


def until(condition: Callable[[], bool], seconds: float = 20) -> None:
    """Wait until `condition` holds; fail where it does not in time."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.fixture
def server(published: Path) -> Iterator[FileServer]:
    """A server of the published model, over plain HTTP."""
    with serving() as server:
        server.publish(published, "fake")
        yield server


@pytest.fixture
def make_order(tmp_path: Path) -> MakeOrder:
    """Makes an order of an address, from anywhere unless told otherwise."""

    def make(address: str | Address, **bounds: Any) -> Order:
        if isinstance(address, str):
            address = parse(address, tmp_path)
        given = {"max_bytes": 10_000_000, "seconds": 60, "allow_private": True} | bounds
        return Order(address=address, cache=tmp_path / "cache", **given)

    return make


@pytest.fixture
def bucket(published: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[storage.Bucket]:
    """A bucket of the published model, in an emulator that the real client talks to."""
    emulator = create_server("127.0.0.1", 0, in_memory=True)
    emulator.start()
    port = emulator._api._httpd.server_port
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", f"http://127.0.0.1:{port}")
    try:
        with storage.Client(project=None) as client:
            bucket = client.create_bucket("models")
            for path in published.iterdir():
                bucket.blob(f"shelf/fake/{path.name}").upload_from_filename(str(path))
            yield bucket
    finally:
        emulator.stop()
