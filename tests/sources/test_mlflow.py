"""Models from the registry of an MLflow server."""

import base64
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from backend.inference.errors import SourceError, UnreachableError
from backend.inference.models import artifact
from backend.sources.address import parse_address
from backend.sources.fetch import current_version, fetch
from tests.conftest import free_port
from tests.sources.conftest import MakeFetchRequest, write_large_model
from tests.sources.fake_mlflow import FakeMlflow
from tests.sources.file_server import Handler, serving

CHAMPION = "mlflow:models:/pets@champion"


@pytest.fixture
def mlflow(published: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeMlflow]:
    """A server that has the published model as version 1, the champion."""
    with serving() as server:
        for name in ("USERNAME", "PASSWORD", "TOKEN"):
            monkeypatch.delenv(f"MLFLOW_TRACKING_{name}", raising=False)
        monkeypatch.setenv("MLFLOW_TRACKING_URI", server.url)
        fake = FakeMlflow(server)
        fake.log_model(published, "champion")
        yield fake


def version_of(address: str) -> str:
    return current_version(parse_address(address, Path()), allow_private=True)


def test_model_is_downloaded_and_follows_its_alias(
    mlflow: FakeMlflow, make_request: MakeFetchRequest, tmp_path: Path, published: Path
) -> None:
    first = fetch(make_request(CHAMPION))
    assert first.version == version_of(CHAMPION) == "1"
    assert artifact.read(first.folder).manifest == artifact.read(published).manifest
    mlflow.log_model(write_large_model(tmp_path / "later", version="2"), "champion")
    assert version_of(CHAMPION) == "2"
    later = fetch(make_request(CHAMPION))
    assert (later.version, artifact.read(later.folder).manifest.version) == ("2", "2")
    assert fetch(make_request("mlflow:models:/pets/1")).version == "1"


def test_unchanged_model_is_not_downloaded_again(
    mlflow: FakeMlflow, make_request: MakeFetchRequest
) -> None:
    first = fetch(make_request(CHAMPION))
    mlflow.server.requests.clear()
    assert fetch(make_request(CHAMPION)) == first
    assert not any(path.endswith("model.onnx") for path in mlflow.server.paths)


def test_poll_is_one_request_and_of_a_fixed_version_none(mlflow: FakeMlflow) -> None:
    version_of(CHAMPION)
    assert len(mlflow.server.requests) == 1
    assert version_of("mlflow:models:/pets/1") == "1"
    assert len(mlflow.server.requests) == 1


def test_model_may_be_one_folder_below_the_artifact(
    mlflow: FakeMlflow, make_request: MakeFetchRequest, published: Path
) -> None:
    mlflow.log_model(published, "champion", prefix="model/")
    assert artifact.read(fetch(make_request(CHAMPION)).folder)
    mlflow.log_model(published, "champion", prefix="a/b/")
    with pytest.raises(SourceError, match=r"contains no model folder \(manifest.json\)"):
        fetch(make_request(CHAMPION))


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("mlflow:models:/pets@other", "no model 'pets' with the alias 'other'"),
        ("mlflow:models:/cats@champion", "no model 'cats' with the alias 'champion'"),
        ("mlflow:models:/pets/7", "no version 7"),
    ],
)
@pytest.mark.usefixtures("mlflow")
def test_missing_model_raises(address: str, message: str, make_request: MakeFetchRequest) -> None:
    with pytest.raises(SourceError, match=f"^{address}: the MLflow server has {message}") as caught:
        fetch(make_request(address))
    assert type(caught.value) is SourceError


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("USERNAME", "me", "Basic " + base64.b64encode(b"me:s@cret").decode()),
        ("TOKEN", "s@cret", "Bearer s@cret"),
        ("URI", "", "Basic " + base64.b64encode(b"me:s@cret").decode()),
    ],
)
def test_credentials_are_sent_to_the_server_and_never_logged(
    name: str,
    value: str,
    expected: str,
    mlflow: FakeMlflow,
    make_request: MakeFetchRequest,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    mlflow.authorization = expected
    with pytest.raises(SourceError, match=r"denies access .* MLFLOW_TRACKING_TOKEN"):
        fetch(make_request(CHAMPION))
    uri = mlflow.server.url.replace("//", "//me:s%40cret@")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "s@cret")
    monkeypatch.setenv(f"MLFLOW_TRACKING_{name}", value or uri)
    with caplog.at_level(logging.DEBUG):
        fetch(make_request(CHAMPION))
        mlflow.status = "FAILED_REGISTRATION"
        with pytest.raises(SourceError, match="not ready") as caught:
            fetch(make_request(CHAMPION))
    for text in (caplog.text, str(caught.value)):
        assert "s@cret" not in text
        assert "s%40cret" not in text


@pytest.mark.parametrize("uri", ["", "sqlite:///mlflow.db", "databricks", "https://", "http://[x"])
def test_tracking_uri_must_be_a_server(
    uri: str, make_request: MakeFetchRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    with pytest.raises(SourceError, match="set MLFLOW_TRACKING_URI to"):
        fetch(make_request(CHAMPION))


@pytest.mark.parametrize("store", ["s3://bucket", "file:///srv", "mlflow-artifacts://elsewhere"])
def test_files_that_the_server_does_not_serve_raise(
    store: str, mlflow: FakeMlflow, make_request: MakeFetchRequest
) -> None:
    mlflow.store = store
    with pytest.raises(SourceError, match="start the server with --artifacts-destination"):
        fetch(make_request(CHAMPION))


def test_changed_and_oversized_files_are_rejected(
    mlflow: FakeMlflow, make_request: MakeFetchRequest
) -> None:
    with pytest.raises(SourceError, match="PRISM_SOURCE_MAX_BYTES"):
        fetch(make_request(CHAMPION, max_bytes=100_000))
    mlflow.server.files["api/2.0/mlflow-artifacts/artifacts/1/1/model.onnx"] = b"changed"
    with pytest.raises(SourceError, match="does not match the manifest"):
        fetch(make_request(CHAMPION))


def test_endless_response_is_stopped(mlflow: FakeMlflow, make_request: MakeFetchRequest) -> None:
    def endless(handler: Handler) -> None:
        handler.send_head(200, None)
        while True:
            handler.wfile.write(b" " * 65536)

    mlflow.server.responders["api/2.0/mlflow/registered-models/alias"] = endless
    with pytest.raises(SourceError, match="too large"):
        fetch(make_request(CHAMPION))


def test_private_server_requires_permission(
    mlflow: FakeMlflow, make_request: MakeFetchRequest
) -> None:
    with pytest.raises(SourceError, match="PRISM_ALLOW_PRIVATE_SOURCES"):
        fetch(make_request(CHAMPION, allow_private=False))
    assert not mlflow.server.requests


@pytest.mark.usefixtures("mlflow")
def test_unreachable_server_falls_back_to_the_cache(
    make_request: MakeFetchRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = fetch(make_request(CHAMPION)).folder
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{free_port()}")
    fetched = fetch(make_request(CHAMPION))
    assert (fetched.folder, fetched.version) == (folder, "1")
    assert "using the cached copy" in fetched.note
    with pytest.raises(UnreachableError, match=f"^{CHAMPION}: cannot connect"):
        version_of(CHAMPION)


@pytest.mark.parametrize(
    "response", [b"<html>", b"[]", b"{}", b'{"model_version": {"version": "1\\n"}}']
)
def test_unexpected_response_raises(
    response: bytes, mlflow: FakeMlflow, make_request: MakeFetchRequest
) -> None:
    mlflow.server.responders["api/2.0/mlflow/registered-models/alias"] = lambda handler: (
        handler.respond(200, response)
    )
    with pytest.raises(SourceError, match=r"not JSON|unexpected|status 200"):
        fetch(make_request(CHAMPION))
