"""The application in the test process, with a fake model."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from backend.inference.runtimes.fake_runtime import FakeRuntime
from tests.fake_models import serve, write_model


@pytest.fixture
def anyio_backend() -> str:
    """Run coroutine tests on asyncio."""
    return "asyncio"


@pytest.fixture
def models_dir(tmp_path: Path) -> Path:
    write_model(tmp_path)
    return tmp_path


@pytest.fixture
def client(models_dir: Path) -> Iterator[TestClient]:
    """A client of a model that always predicts 7."""
    runtime = FakeRuntime(10, winner=lambda _: 7)
    with serve(models_dir, runtime, max_bytes=100_000, max_batch_bytes=400_000) as client:
        yield client


@pytest.fixture(scope="module")
def shared_client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """The same as `client`, for all tests of a module."""
    models_dir = tmp_path_factory.mktemp("shared") / "models"
    write_model(models_dir)
    runtime = FakeRuntime(10, winner=lambda _: 7)
    with serve(models_dir, runtime, max_bytes=100_000, max_batch_bytes=400_000) as client:
        yield client
