"""A registry in a bucket, with Google's client and a fake server with preconditions."""

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from google.api_core.exceptions import PreconditionFailed
from google.cloud.storage import Blob

from backend.registry.bucket import BucketStorage
from backend.registry.errors import ConflictError, StoreUnavailableError
from backend.registry.registry import Registry
from tests.conftest import free_port
from tests.fake_models import write_model
from tests.registry.fake_bucket import FakeBucket, serve_bucket
from tests.registry.records import FILES, add

Open = Callable[[str], Registry]


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeBucket]:
    monkeypatch.setattr("backend.registry.bucket._DELAY", 0.001)
    with serve_bucket() as server:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", server.url)
        yield server


@pytest.fixture
def open_registry(bucket: FakeBucket, tmp_path: Path) -> Open:
    """Return a function that opens the registry as an instance with the given name does."""
    return lambda name: Registry(BucketStorage("gs://models/taught", tmp_path / name))


def manifest_of(registry: Registry) -> bytes:
    record = registry.read().models["bugs"].versions[-1]
    return registry.folder(record.id).joinpath("manifest.json").read_bytes()


def test_versions_are_seen_by_every_instance(open_registry: Open) -> None:
    first, second = open_registry("first"), open_registry("second")
    assert second.poll() is not None
    add(first)
    index, revision = second.poll("0") or (None, "")
    assert index == first.read()
    assert second.poll(revision) is None
    assert add(second) == 2
    assert first.read().models["bugs"].active == 2
    first.activate("bugs", 1)
    polled = second.poll(revision)
    assert polled is not None
    assert polled[0].models["bugs"].active == 1


def test_files_are_stored_and_downloaded_once(
    open_registry: Open, bucket: FakeBucket, tmp_path: Path
) -> None:
    folder = write_model(tmp_path / "models")
    add(open_registry("first"), files={path.name: path.read_bytes() for path in folder.iterdir()})
    second = open_registry("second")
    assert manifest_of(second) == (folder / "manifest.json").read_bytes()
    for name in [name for name in bucket.objects if "/versions/" in name]:
        del bucket.objects[name]
    assert manifest_of(second) == (folder / "manifest.json").read_bytes()


def test_deleted_versions_leave_no_objects(open_registry: Open, bucket: FakeBucket) -> None:
    registry = open_registry("first")
    for _ in range(2):
        add(registry)
    registry.delete_version("bugs", 1)
    assert len([name for name in bucket.objects if "/versions/" in name]) == len(FILES)
    registry.delete_model("bugs")
    assert list(bucket.objects) == ["taught/index.json"]


def test_concurrent_instances_lose_no_version(open_registry: Open) -> None:
    registries = [open_registry(str(number)) for number in range(4)]
    with ThreadPoolExecutor() as threads:
        list(threads.map(lambda registry: [add(registry) for _ in range(3)], registries))
    versions = registries[0].read().models["bugs"].versions
    assert [each.version for each in versions] == list(range(1, 13))


def test_index_that_is_replaced_while_it_is_read_is_read_again(
    open_registry: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry, download, replacements = open_registry("first"), BucketStorage._download, [1] * 6
    add(registry)

    def replace(storage: BucketStorage, blob: Blob) -> bytes:
        if replacements:
            replacements.pop()
            raise PreconditionFailed("replaced")  # type: ignore[no-untyped-call]
        return download(storage, blob)

    monkeypatch.setattr(BucketStorage, "_download", replace)
    assert add(registry) == 2


def test_change_of_an_outdated_index_is_refused(bucket: FakeBucket, tmp_path: Path) -> None:
    storage = BucketStorage("gs://models/taught", tmp_path)
    storage.write_index(b"{}", "0")
    with pytest.raises(ConflictError):
        storage.write_index(b'{"models": {}}', "0")
    assert bucket.objects["taught/index.json"][0] == b"{}"


def test_rejected_writes_are_tried_again(open_registry: Open, bucket: FakeBucket) -> None:
    bucket.failures = [503, 429, 503]
    assert add(open_registry("first")) == 1


def test_upload_that_is_not_confirmed_makes_one_version(
    open_registry: Open, bucket: FakeBucket
) -> None:
    bucket.is_lossy = True
    registry = open_registry("first")
    assert add(registry) == 1
    assert len(registry.read().models["bugs"].versions) == 1


def test_deletion_that_is_not_confirmed_succeeds(open_registry: Open, bucket: FakeBucket) -> None:
    registry = open_registry("first")
    for _ in range(2):
        add(registry)
    bucket.is_lossy = True
    registry.delete_version("bugs", 1)
    assert [each.version for each in registry.read().models["bugs"].versions] == [2]
    assert len([name for name in bucket.objects if "/versions/" in name]) == len(FILES)


def test_abandoned_objects_are_removed_after_a_while(
    open_registry: Open, bucket: FakeBucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = open_registry("first")
    add(registry)
    registry.store(FILES)
    registry.remove_orphans()
    assert len(bucket.objects) == 1 + 2 * len(FILES)
    monkeypatch.setattr("backend.registry.bucket.ORPHAN_SECONDS", -10.0)
    registry.remove_orphans()
    assert len(bucket.objects) == 1 + len(FILES)


def test_unreachable_bucket_is_reported(
    open_registry: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", f"http://127.0.0.1:{free_port()}")
    with pytest.raises(StoreUnavailableError, match="unreachable"):
        open_registry("first").read()


def test_damaged_index_is_not_overwritten(open_registry: Open, bucket: FakeBucket) -> None:
    bucket.objects["taught/index.json"] = json.dumps({"format": 9}).encode(), 5
    bucket.generation = 5
    with pytest.raises(StoreUnavailableError, match="newer version"):
        add(open_registry("first"))
    assert bucket.objects["taught/index.json"][1] == 5
