"""What an operator may write as an address."""

from pathlib import Path

import pytest

from backend.inference.errors import ArtifactError
from backend.sources.address import Address, parse
from tests.fake_models import write_model

PIN = "ab" * 32


@pytest.fixture
def models_dir(tmp_path: Path) -> Path:
    write_model(tmp_path, "ant")
    (tmp_path / "net.pt").touch()
    return tmp_path


@pytest.mark.parametrize(
    ("text", "scheme", "architecture", "pin"),
    [
        ("https://host/a/b?token=1", "https", None, None),
        ("https://host:8443/a.pt?token=1#mnist-net", "https", "mnist-net", None),
        (f"https://user@host/a@sha256={PIN.upper()}", "https", None, PIN),
        ("http://10.0.0.1/a", "http", None, None),
        ("gs://bucket", "gs", None, None),
        ("gs://bucket/a/b/", "gs", None, None),
        (f"gs://bucket/a.SafeTensors#torchvision/mobilenet_v2@sha256={PIN}",
         "gs", "torchvision/mobilenet_v2", PIN),
        ("ant", "file", None, None),
        (f"ant@sha256={PIN}", "file", None, PIN),
    ],
)  # fmt: skip
def test_an_address_is_a_location_an_architecture_and_a_pin(
    text: str, scheme: str, architecture: str | None, pin: str | None, models_dir: Path
) -> None:
    address = parse(text, models_dir)
    assert (address.scheme, address.architecture, address.pin) == (scheme, architecture, pin)
    assert "#" not in address.location
    assert "sha256" not in address.location


def test_a_path_is_absolute_or_begins_with_a_dot(
    models_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(models_dir / "ant")
    for text in (str(models_dir / "ant"), "./../ant", "../ant", "ant"):
        folder = parse(text, models_dir).folder
        assert folder is not None
        assert folder.samefile(models_dir / "ant")
    assert parse("../net.pt#mnist-net", models_dir).folder is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("cat", "holds no model folder"),
        ("..", "neither a name nor an address"),
        ("a/b", "neither a name nor an address"),
        ("./absent", "nothing at this path"),
        ("ftp://host/a", "ftp:// is not read"),
        ("file:///etc", "file:// is not read"),
        ("https:///a", "not a well-formed"),
        ("https://host:port/a", "not a well-formed"),
        ("https://[host/a", "not a well-formed"),
        ("https://host/a b", "not a well-formed"),
        ("gs://B/a", "not a well-formed"),
        ("gs:///a", "not a well-formed"),
        ("gs://bucket/a.pt", "add its architecture"),
        ("gs://bucket/a.pt#", "name of an architecture"),
        ("gs://bucket/a.pt#../x", "name of an architecture"),
        ("gs://bucket/a#mnist-net", "with a checkpoint"),
        ("gs://bucket/a@sha256=12", "64 hexadecimal digits"),
    ],
)
def test_what_is_malformed_or_not_there_is_one_line(text: str, said: str, models_dir: Path) -> None:
    with pytest.raises(ArtifactError, match=said) as caught:
        parse(text, models_dir)
    assert "\n" not in str(caught.value)


def test_secrets_are_never_shown(models_dir: Path) -> None:
    for text in ("https://me:secret@host/a?key=secret", "https://me:secret@host/a b?key=secret"):
        try:
            said = parse(text, models_dir).shown
        except ArtifactError as error:
            said = str(error)
        assert "secret" not in said
        assert "host/a" in said


def test_addresses_that_differ_have_shelves_that_differ() -> None:
    addresses = [
        Address(location="https://host/a.pt"),
        Address(location="https://host/b.pt"),
        Address(location="https://host/a.pt", architecture="mnist-net"),
        Address(location="https://host/a.pt", pin=PIN),
    ]
    assert len({address.key for address in addresses}) == 4
