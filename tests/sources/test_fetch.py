"""Fetching an address into the cache."""

import hashlib
import json
import pickle
from pathlib import Path

import pytest
import torch

from backend.inference.errors import SourceError, UnreachableError
from backend.inference.models import artifact, networks
from backend.sources.fetch import MAX_MANIFEST, FetchRequest, fetch
from tests.sources.conftest import MakeFetchRequest, write_large_model
from tests.sources.file_server import FileServer, Handler

ONNX = "fake/model.onnx"
MANIFEST = "fake/manifest.json"


@pytest.fixture
def fetch_request(server: FileServer, make_request: MakeFetchRequest) -> FetchRequest:
    """The request of the published model."""
    return make_request(f"{server.url}/fake")


def copies(fetch_request: FetchRequest) -> list[Path]:
    """Return all models in the cache."""
    return list(fetch_request.cache.rglob("model.onnx"))


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def test_unchanged_folder_downloads_only_the_manifest(
    fetch_request: FetchRequest, server: FileServer, published: Path
) -> None:
    first = fetch(fetch_request)
    assert artifact.read(first.folder).manifest == artifact.read(published).manifest
    assert server.paths == [MANIFEST, ONNX]
    assert fetch(fetch_request) == first
    assert server.paths == [MANIFEST, ONNX, MANIFEST]
    assert not first.note


def test_changed_folder_is_downloaded_again(
    fetch_request: FetchRequest, server: FileServer, tmp_path: Path
) -> None:
    before = fetch(fetch_request).folder
    server.publish(write_large_model(tmp_path / "later", b"other", version="2"), "fake")
    after = fetch(fetch_request).folder
    assert artifact.read(after).manifest.version == "2"
    assert artifact.read(before).manifest.version == "1"


def test_unavailable_server_falls_back_to_the_cache(
    fetch_request: FetchRequest, server: FileServer
) -> None:
    folder = fetch(fetch_request).folder
    server.responders[MANIFEST] = lambda handler: handler.respond(503)
    fetched = fetch(fetch_request)
    assert fetched.folder == folder
    assert "503" in fetched.note
    assert "using the cached copy" in fetched.note


def test_interrupted_update_keeps_the_old_copy(
    fetch_request: FetchRequest, server: FileServer, tmp_path: Path
) -> None:
    folder = fetch(fetch_request).folder
    server.publish(write_large_model(tmp_path / "later", b"later" * 1000), "fake")
    server.interrupt(ONNX)
    assert fetch(fetch_request).folder == folder


def test_interrupted_download_is_not_cached(
    fetch_request: FetchRequest, server: FileServer
) -> None:
    server.interrupt(ONNX)
    with pytest.raises(UnreachableError, match="interrupted"):
        fetch(fetch_request)
    assert not copies(fetch_request)
    del server.responders[ONNX]
    assert not fetch(fetch_request).note


def test_truncated_body_without_length_is_not_cached(
    fetch_request: FetchRequest, server: FileServer
) -> None:
    def short(handler: Handler) -> None:
        handler.send_head(200, None)
        handler.wfile.write(b"0123")

    server.responders[ONNX] = short
    with pytest.raises(SourceError, match=r"model.onnx does not match"):
        fetch(fetch_request)
    assert not copies(fetch_request)


def test_corrupt_update_raises_despite_an_earlier_copy(
    fetch_request: FetchRequest, server: FileServer, tmp_path: Path
) -> None:
    fetch(fetch_request)
    server.publish(write_large_model(tmp_path / "later", b"later"), "fake")
    server.files[ONNX] = b"evil!"
    with pytest.raises(SourceError, match="SHA-256"):
        fetch(fetch_request)


def test_oversized_file_is_rejected_before_the_download(
    server: FileServer, make_request: MakeFetchRequest
) -> None:
    server.responders[ONNX] = lambda handler: handler.send_head(200, 200_000)
    with pytest.raises(SourceError, match="PRISM_SOURCE_MAX_BYTES"):
        fetch(make_request(f"{server.url}/fake", max_bytes=100_000))


def test_body_without_length_is_stopped_at_the_limit(
    server: FileServer, make_request: MakeFetchRequest
) -> None:
    sent = 0

    def endless(handler: Handler) -> None:
        nonlocal sent
        handler.send_head(200, None)
        while True:
            sent += handler.wfile.write(b"x" * 10_000)

    server.responders[ONNX] = endless
    fetch_request = make_request(f"{server.url}/fake", max_bytes=300_000)
    with pytest.raises(SourceError, match="PRISM_SOURCE_MAX_BYTES"):
        fetch(fetch_request)
    assert not copies(fetch_request)


def test_limit_applies_to_the_sum_of_all_files(
    server: FileServer, make_request: MakeFetchRequest, published: Path
) -> None:
    (published / artifact.CARD).write_bytes(b"c" * 150_000)
    artifact.write_manifest(published, artifact.read(published).manifest)
    server.publish(published, "fake")
    with pytest.raises(SourceError, match="PRISM_SOURCE_MAX_BYTES"):
        fetch(make_request(f"{server.url}/fake", max_bytes=250_000))


def test_oversized_manifest_is_rejected(fetch_request: FetchRequest, server: FileServer) -> None:
    server.files[MANIFEST] = b" " * (MAX_MANIFEST + 1)
    with pytest.raises(SourceError, match="manifest is too large"):
        fetch(fetch_request)


@pytest.mark.parametrize(
    "name", ["../../../evil", "..", "a/b", "/etc/evil", "a\\b", ".hidden", "", "manifest.json"]
)
def test_unsafe_file_name_is_never_requested(
    name: str, fetch_request: FetchRequest, server: FileServer
) -> None:
    manifest = json.loads(server.files[MANIFEST])
    manifest["files"][name] = sha256(b"evil")
    server.files[MANIFEST] = json.dumps(manifest).encode()
    with pytest.raises(SourceError, match="not a plain file"):
        fetch(fetch_request)
    assert server.paths == [MANIFEST]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 2, "new": 1}, "update Prism"),
        ({"labels": []}, "labels"),
        ({"files": {}}, "lists neither"),
    ],
)
def test_newer_or_invalid_manifest_raises(
    change: dict[str, object], message: str, fetch_request: FetchRequest, server: FileServer
) -> None:
    server.files[MANIFEST] = json.dumps(json.loads(server.files[MANIFEST]) | change).encode()
    with pytest.raises(SourceError, match=message) as caught:
        fetch(fetch_request)
    assert str(caught.value).startswith(f"{server.url}/fake: ")
    assert str(fetch_request.cache) not in str(caught.value)


def test_error_messages_are_redacted(server: FileServer, make_request: MakeFetchRequest) -> None:
    url = server.url.replace("//", "//me:secret@")
    for path in ("absent", "fake"):
        server.interrupt(ONNX)
        with pytest.raises(SourceError) as caught:
            fetch(make_request(f"{url}/{path}?key=secret"))
        assert "secret" not in str(caught.value)
        assert server.url in str(caught.value)


def test_damaged_copy_is_downloaded_again(fetch_request: FetchRequest, server: FileServer) -> None:
    folder = fetch(fetch_request).folder
    other = (folder / artifact.MANIFEST).read_bytes().replace(b'"version": "1"', b'"version": "2"')
    for name, damage in (
        (artifact.ONNX, b""), (artifact.MANIFEST, b"{}"), (artifact.MANIFEST, other)
    ):  # fmt: skip
        (folder / name).write_bytes(damage)
        assert fetch(fetch_request).folder == folder
        assert (folder / name).read_bytes() == server.files[f"fake/{name}"]


def test_damaged_copy_is_not_served_offline(
    fetch_request: FetchRequest, server: FileServer
) -> None:
    (fetch(fetch_request).folder / artifact.ONNX).write_bytes(b"{}")
    server.shutdown()
    server.responders[MANIFEST] = lambda handler: handler.respond(503)
    server.server_close()
    with pytest.raises(UnreachableError):
        fetch(fetch_request)


def test_cached_pinned_folder_sends_no_request(
    server: FileServer, make_request: MakeFetchRequest, tmp_path: Path
) -> None:
    fetch_request = make_request(f"{server.url}/fake@sha256={sha256(server.files[MANIFEST])}")
    first = fetch(fetch_request)
    count = len(server.requests)
    assert fetch(fetch_request) == first
    assert len(server.requests) == count
    server.publish(write_large_model(tmp_path / "later", b"later"), "fake")
    with pytest.raises(SourceError, match="does not match the pin"):
        fetch(make_request(f"{server.url}/fake@sha256={'0' * 64}"))


@pytest.fixture
def bare(server: FileServer, checkpoint: Path, make_request: MakeFetchRequest) -> FetchRequest:
    """The request of a bare checkpoint."""
    server.files["a/net.pt"] = checkpoint.read_bytes()
    return make_request(f"{server.url}/a/net.pt?key=1#mnist-net")


def test_bare_checkpoint_is_converted_once(bare: FetchRequest, server: FileServer) -> None:
    first = fetch(bare)
    model = artifact.read(first.folder)
    assert (model.manifest.architecture, model.manifest.title) == ("mnist-net", "net.pt")
    assert {path.name for path in first.folder.iterdir()} == {"manifest.json", artifact.WEIGHTS}
    assert fetch(bare) == first
    assert server.requests[1][1]["If-None-Match"]
    server.responders["a/net.pt"] = lambda handler: handler.respond(503)
    assert fetch(bare).folder == first.folder


def test_changed_checkpoint_without_etag_is_detected(
    bare: FetchRequest, server: FileServer, tmp_path: Path
) -> None:
    def respond_without_etag(handler: Handler) -> None:
        handler.respond(200, server.files["a/net.pt"])

    server.responders["a/net.pt"] = respond_without_etag
    first = fetch(bare)
    assert fetch(bare) == first
    torch.save(networks.build("mnist-net").state_dict(), tmp_path / "other.pt")
    server.files["a/net.pt"] = (tmp_path / "other.pt").read_bytes()
    assert fetch(bare).folder != first.folder


def test_local_checkpoint_is_converted_again_when_it_changes(
    checkpoint: Path, make_request: MakeFetchRequest, tmp_path: Path
) -> None:
    path = tmp_path / "weights.pth"
    path.write_bytes(checkpoint.read_bytes())
    fetch_request = make_request(f"{path}#mnist-net")
    first = fetch(fetch_request)
    assert fetch(fetch_request) == first
    torch.save({"state_dict": networks.build("mnist-net").state_dict()}, path)
    assert fetch(fetch_request).folder != first.folder
    path.unlink()
    with pytest.raises(SourceError, match="cannot be read"):
        fetch(fetch_request)


class Evil:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (print, ("run",))


def test_pickle_in_a_checkpoint_is_rejected_and_not_executed(
    bare: FetchRequest, server: FileServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save({"fc1.weight": Evil()}, tmp_path / "evil.pt")
    for evil in (pickle.dumps(Evil()), (tmp_path / "evil.pt").read_bytes()):
        server.files["a/net.pt"] = evil
        with pytest.raises(SourceError, match=r"net.pt: it (contains more than|cannot be read)"):
            fetch(bare)
    assert "run" not in capsys.readouterr().out
    assert not list(bare.cache.rglob(artifact.WEIGHTS))


def test_pin_is_checked_before_torch_loads_the_checkpoint(
    server: FileServer,
    bare: FetchRequest,
    make_request: MakeFetchRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pinned = make_request(
        f"{server.url}/a/net.pt#mnist-net@sha256={sha256(server.files['a/net.pt'])}"
    )
    folder = fetch(pinned).folder
    count = len(server.requests)
    assert fetch(pinned).folder == folder
    assert len(server.requests) == count
    monkeypatch.setattr(torch, "load", None)
    with pytest.raises(SourceError, match="does not match the pin"):
        fetch(make_request(f"{server.url}/a/net.pt#mnist-net@sha256={'0' * 64}"))


def test_checkpoint_may_be_named_weights_safetensors(
    server: FileServer, checkpoint: Path, make_request: MakeFetchRequest, tmp_path: Path
) -> None:
    from safetensors.torch import save_file

    save_file(torch.load(checkpoint, weights_only=True), tmp_path / "w")
    server.files["weights.safetensors"] = (tmp_path / "w").read_bytes()
    artifact.read(fetch(make_request(f"{server.url}/weights.safetensors#mnist-net")).folder)
