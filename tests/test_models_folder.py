"""Model folders that are added or replaced while the service runs."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from backend.catalog import find_folders
from backend.inference.models import artifact
from backend.models_folder import ModelsFolder
from backend.sources.address import Address
from tests.fake_models import serve, write_model
from tests.inference.helpers import TIMEOUT
from tests.sources.conftest import wait_until


@pytest.fixture
def models_dir(tmp_path: Path) -> Path:
    write_model(tmp_path / "models", "ant")
    return tmp_path / "models"


@pytest.fixture
def client(models_dir: Path) -> Iterator[TestClient]:
    with serve(models_dir) as client:
        yield client


def version(client: TestClient, name: str) -> str | None:
    response = client.get(f"/models/{name}")
    return str(response.json()["version"]) if response.status_code == 200 else None


def put_folder(models_dir: Path, name: str, **fields: object) -> None:
    """Add or replace a model folder by a rename."""
    folder = write_model(models_dir.parent / "drafts", name, **fields)
    shutil.rmtree(models_dir / name, ignore_errors=True)
    folder.rename(models_dir / name)


def test_new_folder_is_served(models_dir: Path, client: TestClient) -> None:
    put_folder(models_dir, "bee", version="3")
    wait_until(lambda: version(client, "bee") == "3", TIMEOUT)


def test_replaced_folder_replaces_the_model(models_dir: Path, client: TestClient) -> None:
    put_folder(models_dir, "ant", version="2")
    wait_until(lambda: version(client, "ant") == "2", TIMEOUT)


def test_broken_folder_never_replaces_a_model_and_is_tried_again(
    models_dir: Path, client: TestClient
) -> None:
    put_folder(models_dir, "bee", version="1")
    wait_until(lambda: version(client, "bee") == "1", TIMEOUT)
    content = (models_dir / "ant" / artifact.MANIFEST).read_text()
    (models_dir / "ant" / artifact.MANIFEST).write_text("{}")
    put_folder(models_dir, "bee", version="2")  # later in the same poll
    wait_until(lambda: version(client, "bee") == "2", TIMEOUT)
    assert version(client, "ant") == "1"
    (models_dir / "ant" / artifact.MANIFEST).write_text(content.replace('"1"', '"4"'))
    wait_until(lambda: version(client, "ant") == "4", TIMEOUT)


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_unchanged_folders_are_not_loaded_again(models_dir: Path) -> None:
    loaded: list[str] = []

    async def record(name: str, _: Path) -> None:
        loaded.append(name)

    folder = ModelsFolder(lambda: find_folders(models_dir, "", {}), record)
    await folder.poll()
    put_folder(models_dir, "bee")
    await folder.poll()
    await folder.poll()
    assert loaded == ["bee"]


def test_only_listed_models_are_watched(models_dir: Path, tmp_path: Path) -> None:
    put_folder(models_dir, "bee")
    addresses = {
        "ant": Address(location=str(models_dir / "ant")),
        "pinned": Address(location=str(tmp_path), pin=64 * "a"),
        "remote": Address(location="gs://bucket/model"),
    }
    assert find_folders(models_dir, "ant", addresses) == {"ant": models_dir / "ant"}
    assert set(find_folders(models_dir, "", addresses)) == {"ant", "bee"}
