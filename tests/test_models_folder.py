"""Model folders that are added or replaced while the service runs."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from backend.catalog import find_folders
from backend.inference.errors import ArtifactError
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

    folder = ModelsFolder(lambda: find_folders(models_dir, "", {}), record, known=["ant"])
    await folder.poll()
    put_folder(models_dir, "bee")
    await folder.poll()
    await folder.poll()
    assert loaded == ["bee"]


def test_removed_folder_is_served_no_longer(
    models_dir: Path, client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("backend.models_folder._REMOVED_SECONDS", 0.0)
    put_folder(models_dir, "bee")
    wait_until(lambda: version(client, "bee") == "1", TIMEOUT)
    shutil.rmtree(models_dir / "bee")
    wait_until(lambda: version(client, "bee") is None, TIMEOUT)
    put_folder(models_dir, "bee", version="2")
    wait_until(lambda: version(client, "bee") == "2", TIMEOUT)
    shutil.rmtree(models_dir / "ant")  # the default model
    put_folder(models_dir, "cat")
    wait_until(lambda: version(client, "cat") == "1", TIMEOUT)
    assert version(client, "ant") == "1"


class Removed:
    """Records which models were removed; those in `needed` cannot be removed."""

    def __init__(self, *needed: str) -> None:
        self.names: list[str] = []
        self._needed = needed

    async def __call__(self, name: str) -> None:
        if name in self._needed:
            raise ArtifactError("it is needed")
        self.names.append(name)


def watch(models_dir: Path, removed: Removed) -> ModelsFolder:
    """Watch a folder with the models `ant` and `bee`, which are served."""
    put_folder(models_dir, "bee")

    async def ignore(_: str, __: Path) -> None:
        """Load nothing."""

    return ModelsFolder(
        lambda: find_folders(models_dir, "", {}), ignore, removed, known=["ant", "bee"]
    )


def unmount(models_dir: Path) -> None:
    models_dir.rename(models_dir.parent / "unmounted")
    models_dir.mkdir()


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_folder_that_is_absent_for_a_moment_is_not_removed(
    models_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    removed = Removed()
    folder = watch(models_dir, removed)
    (models_dir / "bee").rename(models_dir.parent / "away")
    await folder.poll()
    (models_dir.parent / "away").rename(models_dir / "bee")
    await folder.poll()
    monkeypatch.setattr("backend.models_folder._REMOVED_SECONDS", 0.0)
    (models_dir / "bee" / artifact.MANIFEST).unlink()  # it is being copied
    await folder.poll()
    assert not removed.names
    shutil.rmtree(models_dir / "bee")
    await folder.poll()
    await folder.poll()
    assert removed.names == ["bee"]


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_models_stay_if_all_folders_disappear_or_they_are_needed(
    models_dir: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("backend.models_folder._REMOVED_SECONDS", 0.0)
    removed = Removed("bee")
    folder = watch(models_dir, removed)
    unmount(models_dir)
    await folder.poll()
    assert not removed.names
    (models_dir.parent / "unmounted" / "ant").rename(models_dir / "ant")
    await folder.poll()
    await folder.poll()
    assert not removed.names
    assert caplog.text.count("bee is served without its folder: it is needed") == 1


def test_only_listed_models_are_watched(models_dir: Path, tmp_path: Path) -> None:
    put_folder(models_dir, "bee")
    addresses = {
        "ant": Address(location=str(models_dir / "ant")),
        "pinned": Address(location=str(tmp_path), pin=64 * "a"),
        "remote": Address(location="gs://bucket/model"),
    }
    assert find_folders(models_dir, "ant", addresses) == {"ant": models_dir / "ant"}
    assert set(find_folders(models_dir, "", addresses)) == {"ant", "bee"}
