"""Models in Google Cloud Storage, through Google's own client."""

import builtins
import json
import sys
from pathlib import Path
from typing import Any

import google.cloud.storage as storage
import pytest

from backend.inference.errors import SourceError, UnreachableError
from backend.inference.models import artifact
from backend.sources.fetch import fetch
from tests.conftest import free_port
from tests.sources.conftest import MakeOrder, write_big
from tests.sources.file_server import FileServer, Handler

FOLDER = "gs://models/shelf/fake"


def test_a_folder_in_a_bucket_is_fetched_and_renewed(
    bucket: storage.Bucket, make_order: MakeOrder, tmp_path: Path, published: Path
) -> None:
    order = make_order(FOLDER)
    first = fetch(order)
    assert artifact.read(first.folder).manifest == artifact.read(published).manifest
    assert fetch(order) == first
    for path in write_big(tmp_path / "later", version="2").iterdir():
        bucket.blob(f"shelf/fake/{path.name}").upload_from_filename(str(path))
    assert artifact.read(fetch(order).folder).manifest.version == "2"


def test_a_checkpoint_in_a_bucket_is_fetched_again_only_when_its_generation_changes(
    bucket: storage.Bucket,
    make_order: MakeOrder,
    checkpoint: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bucket.blob("mnist_cnn.pt").upload_from_filename(str(checkpoint))
    order = make_order("gs://models/mnist_cnn.pt#mnist-net")
    first = fetch(order)
    with monkeypatch.context() as patched:
        patched.delattr(storage.Blob, "download_to_file")
        assert fetch(order) == first
    bucket.blob("mnist_cnn.pt").upload_from_string(b"changed")
    with pytest.raises(SourceError, match=r"mnist_cnn.pt: it "):
        fetch(order)


@pytest.mark.usefixtures("bucket")
@pytest.mark.parametrize("address", ["gs://models/absent", "gs://elsewhere/fake"])
def test_what_is_not_in_a_bucket_says_so(address: str, make_order: MakeOrder) -> None:
    with pytest.raises(SourceError, match=f"{address}: there is nothing"):
        fetch(make_order(address))


@pytest.mark.usefixtures("bucket")
def test_a_bucket_is_held_to_the_bound_of_bytes_before_they_come(
    make_order: MakeOrder, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = storage.Blob.download_to_file

    def small_only(blob: storage.Blob, *rest: Any, **given: Any) -> None:
        assert blob.size < 100_000
        real(blob, *rest, **given)

    monkeypatch.setattr(storage.Blob, "download_to_file", small_only)
    with pytest.raises(SourceError, match="PRISM_SOURCE_MAX_BYTES"):
        fetch(make_order(FOLDER, max_bytes=100_000))


@pytest.mark.usefixtures("bucket")
def test_a_filled_cache_serves_without_the_bucket(
    make_order: MakeOrder, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = fetch(make_order(FOLDER)).folder
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", f"http://127.0.0.1:{free_port()}")
    found = fetch(make_order(FOLDER))
    assert found.folder == folder
    assert found.note == f"{FOLDER}: the bucket cannot be reached; using the copy kept here"


def test_a_dead_bucket_is_given_up_in_time(
    make_order: MakeOrder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", f"http://127.0.0.1:{free_port()}")
    with pytest.raises(UnreachableError, match="cannot be reached"):
        fetch(make_order(FOLDER))


@pytest.fixture
def fake(server: FileServer, monkeypatch: pytest.MonkeyPatch) -> FileServer:
    """A server that answers like the bucket `models`, as far as it is told to."""
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", server.url)
    for name in ("manifest.json", "model.onnx"):
        data = server.files[f"fake/{name}"]
        about = {"name": name, "bucket": "models", "generation": "7", "size": str(len(data))}
        server.files[f"storage/v1/b/models/o/{name}"] = json.dumps(about).encode()
        server.files[f"download/storage/v1/b/models/o/{name}"] = data
    return server


def test_a_bucket_that_dies_in_the_middle_of_a_download_leaves_nothing(
    fake: FileServer, make_order: MakeOrder
) -> None:
    order = make_order("gs://models")
    media = "download/storage/v1/b/models/o/model.onnx"
    fake.break_off(media)
    with pytest.raises(UnreachableError):
        fetch(order)
    assert sum(path.startswith(media) for path in fake.paths) == 3
    assert not list(order.cache.rglob("model.onnx"))
    del fake.answers[media]
    artifact.read(fetch(order).folder)


def test_a_bucket_that_lies_about_sizes_is_stopped_at_the_bound(
    fake: FileServer, make_order: MakeOrder
) -> None:
    def endless(handler: Handler) -> None:
        handler.begin(200, None)
        while True:
            handler.wfile.write(b"x" * 10_000)

    fake.answers["download/storage/v1/b/models/o/model.onnx"] = endless
    with pytest.raises(SourceError, match="PRISM_SOURCE_MAX_BYTES"):
        fetch(make_order("gs://models", max_bytes=300_000))


@pytest.mark.parametrize(
    ("status", "error", "said"),
    [
        (403, SourceError, "may not read"),
        (400, SourceError, "status 400"),
        (412, UnreachableError, "changed while"),
        (429, UnreachableError, "too often"),
        (503, UnreachableError, "does not answer"),
    ],
)
def test_a_refusal_and_a_failure_are_told_apart(
    status: int, error: type[SourceError], said: str, fake: FileServer, make_order: MakeOrder
) -> None:
    fake.answers["storage/v1/b/models/o/manifest.json"] = lambda handler: handler.answer(status)
    with pytest.raises(SourceError, match=said) as caught:
        fetch(make_order("gs://models"))
    assert type(caught.value) is error


def test_missing_credentials_say_what_to_do(
    make_order: MakeOrder, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("STORAGE_EMULATOR_HOST", raising=False)
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "absent.json"))
    with pytest.raises(UnreachableError, match="no Google credentials here"):
        fetch(make_order(FOLDER))


@pytest.mark.usefixtures("bucket")
def test_a_filled_cache_needs_no_credentials(
    make_order: MakeOrder, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder = fetch(make_order(FOLDER)).folder
    monkeypatch.delenv("STORAGE_EMULATOR_HOST")
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "absent.json"))
    assert fetch(make_order(FOLDER)).folder == folder


def test_without_googles_client_the_reason_says_what_to_install(
    make_order: MakeOrder, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = builtins.__import__

    def without(name: str, *rest: Any, **given: Any) -> Any:
        if name.startswith("google"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return real(name, *rest, **given)

    monkeypatch.delitem(sys.modules, "backend.sources.gcs", raising=False)
    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(SourceError, match=r"pip install -r requirements/gcs.txt"):
        fetch(make_order(FOLDER))
