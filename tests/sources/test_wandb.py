"""Models from artifacts of Weights & Biases, with a server that speaks its GraphQL API."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from backend.inference.errors import SourceError, UnreachableError
from backend.inference.models import artifact
from backend.sources.address import parse_address
from backend.sources.fetch import current_version, fetch
from tests.conftest import free_port
from tests.sources.conftest import MakeFetchRequest, write_large_model
from tests.sources.fake_wandb import ARTIFACT, KEY, FakeWandb, serving_wandb

LATEST = f"wandb:{ARTIFACT}:latest"


@pytest.fixture
def wandb(published: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeWandb]:
    """A server whose artifact has the published model as its only version."""
    with serving_wandb() as fake:
        monkeypatch.setenv("WANDB_BASE_URL", fake.url)
        monkeypatch.setenv("WANDB_API_KEY", KEY)
        fake.log_artifact(published, "best")
        yield fake


def version_of(address: str) -> str:
    return current_version(parse_address(address, Path()), allow_private=True)


def test_model_is_downloaded_and_follows_its_alias(
    wandb: FakeWandb, make_request: MakeFetchRequest, tmp_path: Path, published: Path
) -> None:
    request = make_request(f"wandb:{ARTIFACT}:best")
    first = fetch(request)
    assert first.version == version_of(f"wandb:{ARTIFACT}:best") == "v0"
    assert artifact.read(first.folder).manifest == artifact.read(published).manifest
    wandb.log_artifact(write_large_model(tmp_path / "later", version="2"), "best")
    assert version_of(f"wandb:{ARTIFACT}:best") == "v1"
    later = fetch(request)
    assert (later.version, artifact.read(later.folder).manifest.version) == ("v1", "2")
    assert fetch(make_request(f"wandb:{ARTIFACT}:v0")).version == "v0"


def test_model_may_be_one_folder_below_the_artifact(
    wandb: FakeWandb, make_request: MakeFetchRequest, published: Path
) -> None:
    wandb.log_artifact(published, prefix="model/")
    assert artifact.read(fetch(make_request(LATEST)).folder)
    wandb.versions[-1]["other/manifest.json"] = b"{}"
    with pytest.raises(SourceError, match="several model folders: model, other"):
        fetch(make_request(LATEST))
    wandb.versions[-1] = {"a/b/manifest.json": b"{}"}
    with pytest.raises(SourceError, match=r"contains no model folder \(manifest.json\)"):
        fetch(make_request(LATEST))


def test_key_is_sent_to_the_api_only(wandb: FakeWandb, make_request: MakeFetchRequest) -> None:
    fetch(make_request(LATEST))
    authorized = {path.partition("?")[0]: "Authorization" in h for path, h in wandb.server.requests}
    assert authorized["/graphql"]
    assert not authorized["/signed/0/manifest.json"]
    assert not authorized["/signed/0/model.onnx"]


@pytest.mark.parametrize(
    ("address", "message"),
    [
        (f"wandb:{ARTIFACT}:other", "no artifact of that name and alias"),
        ("wandb:team/pets/other:latest", "no artifact of that name and alias"),
        ("wandb:team/other/net:latest", "no such project"),
    ],
)
@pytest.mark.usefixtures("wandb")
def test_missing_artifact_raises(
    address: str, message: str, make_request: MakeFetchRequest
) -> None:
    for find in (lambda: fetch(make_request(address)), lambda: version_of(address)):
        with pytest.raises(SourceError, match=f"^{address}: .*{message}"):
            find()


def test_missing_or_wrong_key_raises_without_the_key(
    wandb: FakeWandb, make_request: MakeFetchRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "a wrong key")
    with pytest.raises(SourceError, match="check WANDB_API_KEY") as caught:
        fetch(make_request(LATEST))
    assert "a wrong key" not in str(caught.value)
    monkeypatch.delenv("WANDB_API_KEY")
    with pytest.raises(SourceError, match="set WANDB_API_KEY"):
        fetch(make_request(LATEST))
    assert [path for path, _ in wandb.server.requests] == ["/graphql"]


def test_changed_oversized_and_incomplete_artifacts_are_rejected(
    wandb: FakeWandb, make_request: MakeFetchRequest
) -> None:
    with pytest.raises(SourceError, match="PRISM_SOURCE_MAX_BYTES"):
        fetch(make_request(LATEST, max_bytes=100_000))
    wandb.server.files["signed/0/model.onnx"] = b"changed"
    with pytest.raises(SourceError, match="does not match the manifest"):
        fetch(make_request(LATEST))
    wandb.has_more_files = True
    with pytest.raises(SourceError, match="more than 1000 files"):
        fetch(make_request(LATEST))
    wandb.state = "PENDING"
    with pytest.raises(SourceError, match=r"not complete \(state PENDING\)"):
        fetch(make_request(LATEST))


def test_unreachable_server_falls_back_to_the_cache(
    wandb: FakeWandb, make_request: MakeFetchRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = fetch(make_request(LATEST)).folder
    monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{free_port()}")
    fetched = fetch(make_request(LATEST))
    assert (fetched.folder, fetched.version) == (folder, "v0")
    assert "using the cached copy" in fetched.note
    with pytest.raises(UnreachableError, match="cannot connect"):
        version_of(LATEST)


@pytest.mark.usefixtures("wandb")
def test_private_server_requires_permission(make_request: MakeFetchRequest) -> None:
    with pytest.raises(SourceError, match="PRISM_ALLOW_PRIVATE_SOURCES"):
        fetch(make_request(LATEST, allow_private=False))


@pytest.mark.parametrize("response", [b"<html>", b"[]", b'{"data": null}', b'{"data": {}}'])
def test_unexpected_response_raises(
    response: bytes, wandb: FakeWandb, make_request: MakeFetchRequest
) -> None:
    wandb.server.responders["graphql"] = lambda handler: handler.respond(200, response)
    with pytest.raises(SourceError, match=r"not JSON|unexpected|no such project"):
        fetch(make_request(LATEST))
