"""Downloads from Google Cloud Storage with Google's client."""

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
from tests.sources.conftest import MakeFetchRequest, write_large_model
from tests.sources.file_server import FileServer, Handler

FOLDER = "gs://models/models/fake"


def test_folder_in_a_bucket_is_downloaded_and_updated(
    bucket: storage.Bucket, make_request: MakeFetchRequest, tmp_path: Path, published: Path
) -> None:
    request = make_request(FOLDER)
    first = fetch(request)
    assert artifact.read(first.folder).manifest == artifact.read(published).manifest
    assert fetch(request) == first
    for path in write_large_model(tmp_path / "later", version="2").iterdir():
        bucket.blob(f"models/fake/{path.name}").upload_from_filename(str(path))
    assert artifact.read(fetch(request).folder).manifest.version == "2"


def test_checkpoint_is_downloaded_again_only_when_its_generation_changes(
    bucket: storage.Bucket,
    make_request: MakeFetchRequest,
    checkpoint: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bucket.blob("mnist_cnn.pt").upload_from_filename(str(checkpoint))
    request = make_request("gs://models/mnist_cnn.pt#mnist-net")
    first = fetch(request)
    with monkeypatch.context() as patched:
        patched.delattr(storage.Blob, "download_to_file")
        assert fetch(request) == first
    bucket.blob("mnist_cnn.pt").upload_from_string(b"changed")
    with pytest.raises(SourceError, match=r"mnist_cnn.pt: it "):
        fetch(request)


@pytest.mark.usefixtures("bucket")
@pytest.mark.parametrize("address", ["gs://models/absent", "gs://elsewhere/fake"])
def test_missing_object_raises(address: str, make_request: MakeFetchRequest) -> None:
    with pytest.raises(SourceError, match=f"{address}: not found"):
        fetch(make_request(address))


@pytest.mark.usefixtures("bucket")
def test_oversized_object_is_rejected_before_the_download(
    make_request: MakeFetchRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = storage.Blob.download_to_file

    def small_only(blob: storage.Blob, *args: Any, **kwargs: Any) -> None:
        assert blob.size < 100_000
        real(blob, *args, **kwargs)

    monkeypatch.setattr(storage.Blob, "download_to_file", small_only)
    with pytest.raises(SourceError, match="PRISM_SOURCE_MAX_BYTES"):
        fetch(make_request(FOLDER, max_bytes=100_000))


@pytest.mark.usefixtures("bucket")
def test_unreachable_bucket_falls_back_to_the_cache(
    make_request: MakeFetchRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = fetch(make_request(FOLDER)).folder
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", f"http://127.0.0.1:{free_port()}")
    fetched = fetch(make_request(FOLDER))
    assert fetched.folder == folder
    assert fetched.note == f"{FOLDER}: the bucket is unreachable; using the cached copy"


def test_unreachable_bucket_without_a_copy_raises(
    make_request: MakeFetchRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", f"http://127.0.0.1:{free_port()}")
    with pytest.raises(UnreachableError, match="is unreachable"):
        fetch(make_request(FOLDER))


@pytest.fixture
def fake(server: FileServer, monkeypatch: pytest.MonkeyPatch) -> FileServer:
    """A fake storage server with the bucket `models`."""
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", server.url)
    for name in ("manifest.json", "model.onnx"):
        data = server.files[f"fake/{name}"]
        metadata = {"name": name, "bucket": "models", "generation": "7", "size": str(len(data))}
        server.files[f"storage/v1/b/models/o/{name}"] = json.dumps(metadata).encode()
        server.files[f"download/storage/v1/b/models/o/{name}"] = data
    return server


def test_interrupted_download_is_not_cached(
    fake: FileServer, make_request: MakeFetchRequest
) -> None:
    request = make_request("gs://models")
    media = "download/storage/v1/b/models/o/model.onnx"
    fake.interrupt(media)
    with pytest.raises(UnreachableError):
        fetch(request)
    assert sum(path.startswith(media) for path in fake.paths) == 3
    assert not list(request.cache.rglob("model.onnx"))
    del fake.responders[media]
    artifact.read(fetch(request).folder)


def test_body_without_length_is_stopped_at_the_limit(
    fake: FileServer, make_request: MakeFetchRequest
) -> None:
    def endless(handler: Handler) -> None:
        handler.send_head(200, None)
        while True:
            handler.wfile.write(b"x" * 10_000)

    fake.responders["download/storage/v1/b/models/o/model.onnx"] = endless
    with pytest.raises(SourceError, match="PRISM_SOURCE_MAX_BYTES"):
        fetch(make_request("gs://models", max_bytes=300_000))


@pytest.mark.parametrize(
    ("status", "error", "message"),
    [
        (403, SourceError, "do not permit"),
        (400, SourceError, "status 400"),
        (412, UnreachableError, "changed during"),
        (429, UnreachableError, "too many requests"),
        (503, UnreachableError, "invalid response"),
    ],
)
def test_permanent_and_temporary_errors_are_distinguished(
    status: int,
    error: type[SourceError],
    message: str,
    fake: FileServer,
    make_request: MakeFetchRequest,
) -> None:
    fake.responders["storage/v1/b/models/o/manifest.json"] = lambda handler: handler.respond(status)
    with pytest.raises(SourceError, match=message) as caught:
        fetch(make_request("gs://models"))
    assert type(caught.value) is error


def test_missing_credentials_raise_with_instructions(
    make_request: MakeFetchRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("STORAGE_EMULATOR_HOST", raising=False)
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "absent.json"))
    with pytest.raises(UnreachableError, match="no Google credentials found"):
        fetch(make_request(FOLDER))


@pytest.mark.usefixtures("bucket")
def test_missing_credentials_fall_back_to_the_cache(
    make_request: MakeFetchRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder = fetch(make_request(FOLDER)).folder
    monkeypatch.delenv("STORAGE_EMULATOR_HOST")
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "absent.json"))
    assert fetch(make_request(FOLDER)).folder == folder


def test_missing_client_raises_with_instructions(
    make_request: MakeFetchRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = builtins.__import__

    def import_without_google(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.startswith("google"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return real(name, *args, **kwargs)

    monkeypatch.delitem(sys.modules, "backend.sources.gcs", raising=False)
    monkeypatch.setattr(builtins, "__import__", import_without_google)
    with pytest.raises(SourceError, match=r"pip install -r requirements/gcs.txt"):
        fetch(make_request(FOLDER))
