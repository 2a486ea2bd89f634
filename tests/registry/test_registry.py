"""Numbered versions of taught models, in a folder."""

import multiprocessing
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from backend.registry.errors import (
    ActiveVersionError,
    ConflictError,
    StoreFullError,
    StoreUnavailableError,
    UnknownVersionError,
)
from backend.registry.index import Index
from backend.registry.registry import Registry
from backend.registry.storage import FolderStorage
from tests.registry.records import FILES, add


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "registry"


@pytest.fixture
def registry(root: Path) -> Registry:
    return Registry(FolderStorage(root), max_bytes=1000, max_active_bytes=500)


def active(registry: Registry, name: str = "bugs") -> int | None:
    return registry.read().models[name].active


def stored(root: Path) -> int:
    return len(list((root / "versions").iterdir()))


def test_store_without_models_is_empty_and_is_not_created(registry: Registry, root: Path) -> None:
    assert registry.read() == Index()
    assert not root.exists()


def test_versions_are_numbered_and_described(registry: Registry) -> None:
    assert [add(registry, author="ann", reason="more images") for _ in range(3)] == [1, 2, 3]
    model = registry.read().models["bugs"]
    assert (model.active, [each.version for each in model.versions]) == (3, [1, 2, 3])
    record = model.versions[0]
    assert (record.author, record.reason, record.labels) == ("ann", "more images", ("ant", "bee"))
    assert registry.folder(record.id).joinpath("head.safetensors").read_bytes() == b"weights"


def test_number_of_a_deleted_version_is_not_used_again(registry: Registry) -> None:
    add(registry)
    add(registry, activate=False)
    registry.delete_version("bugs", 2)
    assert add(registry) == 3


def test_version_can_be_stored_without_being_activated(registry: Registry) -> None:
    add(registry, activate=False)
    assert active(registry) is None
    registry.activate("bugs", 1)
    assert active(registry) == 1


def test_previous_version_can_be_activated_again(registry: Registry) -> None:
    add(registry)
    add(registry)
    assert registry.activate("bugs", 1).version == 1
    assert active(registry) == 1


def test_unknown_version_raises(registry: Registry) -> None:
    add(registry)
    with pytest.raises(UnknownVersionError):
        registry.activate("bugs", 2)
    with pytest.raises(UnknownVersionError):
        registry.delete_version("bees", 1)


def test_active_version_cannot_be_deleted(registry: Registry, root: Path) -> None:
    add(registry)
    with pytest.raises(ActiveVersionError, match="Activate another version"):
        registry.delete_version("bugs", 1)
    assert stored(root) == 1


def test_deleted_files_are_removed(registry: Registry, root: Path) -> None:
    for name in ("bugs", "bugs", "birds"):
        add(registry, name)
    registry.delete_version("bugs", 1)
    assert stored(root) == 2
    registry.delete_model("bugs")
    assert (stored(root), list(registry.read().models)) == (1, ["birds"])


def test_bytes_in_memory_are_bounded(registry: Registry) -> None:
    add(registry, "birds", bytes=400)
    with pytest.raises(StoreFullError, match="memory"):
        add(registry, bytes=200)
    add(registry, activate=False, bytes=200)
    with pytest.raises(StoreFullError, match="memory"):
        registry.activate("bugs", 1)
    assert active(registry) is None


def test_bytes_of_all_versions_are_bounded(registry: Registry) -> None:
    for _ in range(2):
        add(registry, bytes=450)
    with pytest.raises(StoreFullError, match="PRISM_MODEL_STORE_MAX_BYTES"):
        add(registry, bytes=450)
    assert active(registry) == 2


def test_poll_returns_the_index_only_after_a_change(registry: Registry) -> None:
    _, revision = registry.poll() or (None, "")
    assert registry.poll(revision) is None
    add(registry)
    polled = registry.poll(revision)
    assert polled is not None
    assert registry.poll(polled[1]) is None


def test_change_of_an_outdated_index_is_refused(root: Path) -> None:
    storage = FolderStorage(root)
    storage.write_index(b"{}", "0")
    with pytest.raises(ConflictError):
        storage.write_index(b'{"models": {}}', "0")
    assert storage.read_index() == (b"{}", storage.read_index()[1])  # type: ignore[index]


def _add_many(root: Path, count: int) -> None:
    registry = Registry(FolderStorage(root))
    for _ in range(count):
        add(registry)


def test_concurrent_processes_lose_no_version(root: Path) -> None:
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=_add_many, args=(root, 5), daemon=True) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    versions = Registry(FolderStorage(root)).read().models["bugs"].versions
    assert [each.version for each in versions] == list(range(1, 21))


def _add_and_die(root: Path, target: str) -> None:
    """Add a version, and die where `target` is called."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(target, lambda *_: os.kill(os.getpid(), signal.SIGKILL))
        add(Registry(FolderStorage(root)))


@pytest.mark.parametrize("target", ["os.fsync", "pathlib.Path.rename", "pathlib.Path.replace"])
def test_killed_change_leaves_the_old_index_and_the_next_one_works(
    target: str, registry: Registry, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(registry)
    context = multiprocessing.get_context("fork")
    process = context.Process(target=_add_and_die, args=(root, target), daemon=True)
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    assert active(registry) == 1
    assert add(registry) == 2
    monkeypatch.setattr("backend.registry.storage.ORPHAN_SECONDS", -10.0)
    registry.remove_orphans()
    assert stored(root) == 2
    assert {path.name for path in root.iterdir()} == {"index.json", "index.lock", "versions"}


def test_abandoned_files_are_removed_after_a_while(
    registry: Registry, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(registry)
    registry.store(FILES)
    registry.remove_orphans()
    assert stored(root) == 2  # it may still be published
    monkeypatch.setattr("backend.registry.storage.ORPHAN_SECONDS", -10.0)
    registry.remove_orphans()
    assert stored(root) == 1
    (root / "index.json").unlink()  # by mistake
    registry.remove_orphans()
    assert stored(root) == 1


@pytest.mark.parametrize(
    "content", [b"no JSON", b'{"format": 2}', b'{"models": {"../x": {}}}'], ids=str
)
def test_damaged_index_is_reported_and_not_overwritten(
    content: bytes, registry: Registry, root: Path
) -> None:
    root.mkdir()
    (root / "index.json").write_bytes(content)
    calls: list[Callable[[], object]] = [registry.read, lambda: add(registry)]
    for call in calls:
        with pytest.raises(StoreUnavailableError):
            call()
    assert (root / "index.json").read_bytes() == content


def test_store_that_cannot_be_written_is_reported_without_its_path(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(StoreUnavailableError, match="cannot be written") as caught:
        Registry(FolderStorage(file / "registry")).store(FILES)
    assert str(tmp_path) not in str(caught.value)
