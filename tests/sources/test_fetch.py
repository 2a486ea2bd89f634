"""An address becomes a verified folder of the cache, or one line says why not."""

import hashlib
import json
import pickle
from pathlib import Path

import pytest
import torch

from backend.inference.errors import SourceError, UnreachableError
from backend.inference.models import artifact, networks
from backend.sources.fetch import MAX_MANIFEST, Order, fetch
from tests.sources.conftest import MakeOrder, write_big
from tests.sources.file_server import FileServer, Handler

ONNX = "fake/model.onnx"
MANIFEST = "fake/manifest.json"


@pytest.fixture
def order(server: FileServer, make_order: MakeOrder) -> Order:
    """Of the published model."""
    return make_order(f"{server.url}/fake")


def copies(order: Order) -> list[Path]:
    """Everything in the cache that looks like a model."""
    return list(order.cache.rglob("model.onnx"))


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def test_a_folder_is_fetched_once_and_then_only_its_manifest(
    order: Order, server: FileServer, published: Path
) -> None:
    first = fetch(order)
    assert artifact.read(first.folder).manifest == artifact.read(published).manifest
    assert server.paths == [MANIFEST, ONNX]
    assert fetch(order) == first
    assert server.paths == [MANIFEST, ONNX, MANIFEST]
    assert not first.note


def test_what_changed_is_fetched_anew(order: Order, server: FileServer, tmp_path: Path) -> None:
    before = fetch(order).folder
    server.publish(write_big(tmp_path / "later", b"other", version="2"), "fake")
    after = fetch(order).folder
    assert artifact.read(after).manifest.version == "2"
    assert artifact.read(before).manifest.version == "1"


def test_a_filled_cache_serves_where_nobody_answers(order: Order, server: FileServer) -> None:
    folder = fetch(order).folder
    server.answers[MANIFEST] = lambda handler: handler.answer(503)
    found = fetch(order)
    assert found.folder == folder
    assert "503" in found.note
    assert "using the copy kept here" in found.note


def test_a_new_version_that_breaks_off_leaves_the_old_one(
    order: Order, server: FileServer, tmp_path: Path
) -> None:
    folder = fetch(order).folder
    server.publish(write_big(tmp_path / "later", b"later" * 1000), "fake")
    server.break_off(ONNX)
    assert fetch(order).folder == folder


def test_a_body_that_breaks_off_is_no_model(order: Order, server: FileServer) -> None:
    server.break_off(ONNX)
    with pytest.raises(UnreachableError, match="broke off"):
        fetch(order)
    assert not copies(order)
    del server.answers[ONNX]
    assert not fetch(order).note


def test_a_body_cut_short_without_a_length_is_no_model(order: Order, server: FileServer) -> None:
    def short(handler: Handler) -> None:
        handler.begin(200, None)
        handler.wfile.write(b"0123")

    server.answers[ONNX] = short
    with pytest.raises(SourceError, match=r"model.onnx is not the file"):
        fetch(order)
    assert not copies(order)


def test_a_changed_file_is_no_model_and_no_earlier_copy_hides_that(
    order: Order, server: FileServer, tmp_path: Path
) -> None:
    fetch(order)
    server.publish(write_big(tmp_path / "later", b"later"), "fake")
    server.files[ONNX] = b"evil!"
    with pytest.raises(SourceError, match="SHA-256"):
        fetch(order)


def test_more_bytes_than_allowed_are_refused_before_they_come(
    server: FileServer, make_order: MakeOrder
) -> None:
    server.answers[ONNX] = lambda handler: handler.begin(200, 200_000)
    with pytest.raises(SourceError, match="PRISM_SOURCE_MAX_BYTES"):
        fetch(make_order(f"{server.url}/fake", max_bytes=100_000))


def test_a_server_that_lies_about_sizes_is_stopped_at_the_bound(
    server: FileServer, make_order: MakeOrder
) -> None:
    sent = 0

    def endless(handler: Handler) -> None:
        nonlocal sent
        handler.begin(200, None)
        while True:
            sent += handler.wfile.write(b"x" * 10_000)

    server.answers[ONNX] = endless
    order = make_order(f"{server.url}/fake", max_bytes=300_000)
    with pytest.raises(SourceError, match="PRISM_SOURCE_MAX_BYTES"):
        fetch(order)
    assert not copies(order)


def test_the_bound_is_for_all_files_together(
    server: FileServer, make_order: MakeOrder, published: Path
) -> None:
    (published / artifact.CARD).write_bytes(b"c" * 150_000)
    artifact.write_manifest(published, artifact.read(published).manifest)
    server.publish(published, "fake")
    with pytest.raises(SourceError, match="PRISM_SOURCE_MAX_BYTES"):
        fetch(make_order(f"{server.url}/fake", max_bytes=250_000))


def test_an_endless_manifest_is_refused(order: Order, server: FileServer) -> None:
    server.files[MANIFEST] = b" " * (MAX_MANIFEST + 1)
    with pytest.raises(SourceError, match="manifest is far too long"):
        fetch(order)


@pytest.mark.parametrize(
    "name", ["../../../evil", "..", "a/b", "/etc/evil", "a\\b", ".hidden", "", "manifest.json"]
)
def test_a_name_that_leads_elsewhere_is_never_asked_for(
    name: str, order: Order, server: FileServer
) -> None:
    manifest = json.loads(server.files[MANIFEST])
    manifest["files"][name] = sha256(b"evil")
    server.files[MANIFEST] = json.dumps(manifest).encode()
    with pytest.raises(SourceError, match="not a plain file"):
        fetch(order)
    assert server.paths == [MANIFEST]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"format": 2, "new": 1}, "update Prism"),
        ({"labels": []}, "labels"),
        ({"files": {}}, "lists neither"),
    ],
)
def test_a_manifest_that_is_newer_or_wrong_says_so(
    change: dict[str, object], said: str, order: Order, server: FileServer
) -> None:
    server.files[MANIFEST] = json.dumps(json.loads(server.files[MANIFEST]) | change).encode()
    with pytest.raises(SourceError, match=said) as caught:
        fetch(order)
    assert str(caught.value).startswith(f"{server.url}/fake: ")
    assert str(order.cache) not in str(caught.value)


def test_reasons_hold_no_secrets(server: FileServer, make_order: MakeOrder) -> None:
    url = server.url.replace("//", "//me:secret@")
    for path in ("absent", "fake"):
        server.break_off(ONNX)
        with pytest.raises(SourceError) as caught:
            fetch(make_order(f"{url}/{path}?key=secret"))
        assert "secret" not in str(caught.value)
        assert server.url in str(caught.value)


def test_damage_in_the_cache_is_noticed_and_mended(order: Order, server: FileServer) -> None:
    folder = fetch(order).folder
    other = (folder / artifact.MANIFEST).read_bytes().replace(b'"version": "1"', b'"version": "2"')
    for name, damage in (
        (artifact.ONNX, b""), (artifact.MANIFEST, b"{}"), (artifact.MANIFEST, other)
    ):  # fmt: skip
        (folder / name).write_bytes(damage)
        assert fetch(order).folder == folder
        assert (folder / name).read_bytes() == server.files[f"fake/{name}"]


def test_damage_in_the_cache_is_not_served_offline(order: Order, server: FileServer) -> None:
    (fetch(order).folder / artifact.ONNX).write_bytes(b"{}")
    server.shutdown()
    server.answers[MANIFEST] = lambda handler: handler.answer(503)
    server.server_close()
    with pytest.raises(UnreachableError):
        fetch(order)


def test_a_pinned_folder_is_this_one_and_needs_nobody_once_it_is_here(
    server: FileServer, make_order: MakeOrder, tmp_path: Path
) -> None:
    order = make_order(f"{server.url}/fake@sha256={sha256(server.files[MANIFEST])}")
    first = fetch(order)
    asked = len(server.seen)
    assert fetch(order) == first
    assert len(server.seen) == asked
    server.publish(write_big(tmp_path / "later", b"later"), "fake")
    with pytest.raises(SourceError, match="not the one that the address pins"):
        fetch(make_order(f"{server.url}/fake@sha256={'0' * 64}"))


@pytest.fixture
def bare(server: FileServer, checkpoint: Path, make_order: MakeOrder) -> Order:
    """Of a bare checkpoint."""
    server.files["a/net.pt"] = checkpoint.read_bytes()
    return make_order(f"{server.url}/a/net.pt?key=1#mnist-net")


def test_a_bare_checkpoint_becomes_a_folder_once(bare: Order, server: FileServer) -> None:
    first = fetch(bare)
    model = artifact.read(first.folder)
    assert (model.manifest.architecture, model.manifest.title) == ("mnist-net", "net.pt")
    assert {path.name for path in first.folder.iterdir()} == {"manifest.json", artifact.WEIGHTS}
    assert fetch(bare) == first
    assert server.seen[1][1]["If-None-Match"]
    server.answers["a/net.pt"] = lambda handler: handler.answer(503)
    assert fetch(bare).folder == first.folder


def test_a_new_checkpoint_is_fetched_even_without_a_version(
    bare: Order, server: FileServer, tmp_path: Path
) -> None:
    def plainly(handler: Handler) -> None:
        handler.answer(200, server.files["a/net.pt"])

    server.answers["a/net.pt"] = plainly
    first = fetch(bare)
    assert fetch(bare) == first
    torch.save(networks.build("mnist-net").state_dict(), tmp_path / "other.pt")
    server.files["a/net.pt"] = (tmp_path / "other.pt").read_bytes()
    assert fetch(bare).folder != first.folder


def test_a_checkpoint_on_disk_is_packaged_once_and_again_when_it_changes(
    checkpoint: Path, make_order: MakeOrder, tmp_path: Path
) -> None:
    path = tmp_path / "weights.pth"
    path.write_bytes(checkpoint.read_bytes())
    order = make_order(f"{path}#mnist-net")
    first = fetch(order)
    assert fetch(order) == first
    torch.save({"state_dict": networks.build("mnist-net").state_dict()}, path)
    assert fetch(order).folder != first.folder
    path.unlink()
    with pytest.raises(SourceError, match="cannot be read"):
        fetch(order)


class Evil:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (print, ("run",))


def test_a_pickle_in_a_checkpoint_is_refused_and_not_run(
    bare: Order, server: FileServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save({"fc1.weight": Evil()}, tmp_path / "evil.pt")
    for evil in (pickle.dumps(Evil()), (tmp_path / "evil.pt").read_bytes()):
        server.files["a/net.pt"] = evil
        with pytest.raises(SourceError, match=r"net.pt: it (holds more than|cannot be read)"):
            fetch(bare)
    assert "run" not in capsys.readouterr().out
    assert not list(bare.cache.rglob(artifact.WEIGHTS))


def test_a_pinned_checkpoint_is_checked_before_torch_sees_it(
    server: FileServer, bare: Order, make_order: MakeOrder, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = make_order(f"{server.url}/a/net.pt#mnist-net@sha256={sha256(server.files['a/net.pt'])}")
    folder = fetch(right).folder
    asked = len(server.seen)
    assert fetch(right).folder == folder
    assert len(server.seen) == asked
    monkeypatch.setattr(torch, "load", None)
    with pytest.raises(SourceError, match="not the one that the address pins"):
        fetch(make_order(f"{server.url}/a/net.pt#mnist-net@sha256={'0' * 64}"))


def test_a_checkpoint_named_like_our_own_file_is_no_trouble(
    server: FileServer, checkpoint: Path, make_order: MakeOrder, tmp_path: Path
) -> None:
    from safetensors.torch import save_file

    save_file(torch.load(checkpoint, weights_only=True), tmp_path / "w")
    server.files["weights.safetensors"] = (tmp_path / "w").read_bytes()
    artifact.read(fetch(make_order(f"{server.url}/weights.safetensors#mnist-net")).folder)
