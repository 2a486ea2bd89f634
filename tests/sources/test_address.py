"""Parsing of model addresses."""

from pathlib import Path

import pytest

from backend.inference.errors import ArtifactError
from backend.sources.address import Address, parse_address, redact
from backend.sources.registered import RegisteredModel
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
        ("mlflow:models:/pets@champion", "mlflow", None, None),
        (f"mlflow:models:/my pets/3@sha256={PIN}", "mlflow", None, PIN),
        ("wandb:team/pets/net:latest", "wandb", None, None),
        (f"wandb:team/wandb-registry-model/net.pt:v3@sha256={PIN}", "wandb", None, PIN),
        ("ant", "file", None, None),
        (f"ant@sha256={PIN}", "file", None, PIN),
    ],
)  # fmt: skip
def test_address_has_location_architecture_and_pin(
    text: str, scheme: str, architecture: str | None, pin: str | None, models_dir: Path
) -> None:
    address = parse_address(text, models_dir)
    assert (address.scheme, address.architecture, address.pin) == (scheme, architecture, pin)
    assert "#" not in address.location
    assert "sha256" not in address.location


def test_absolute_and_dotted_paths_are_accepted(
    models_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(models_dir / "ant")
    for text in (str(models_dir / "ant"), "./../ant", "../ant", "ant"):
        folder = parse_address(text, models_dir).folder
        assert folder is not None
        assert folder.samefile(models_dir / "ant")
    assert parse_address("../net.pt#mnist-net", models_dir).folder is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("cat", "contains no model folder"),
        ("..", "neither a name nor an address"),
        ("a/b", "neither a name nor an address"),
        ("./absent", "this path does not exist"),
        ("ftp://host/a", "ftp:// is not supported"),
        ("file:///etc", "file:// is not supported"),
        ("https:///a", "not a valid address"),
        ("https://host:port/a", "not a valid address"),
        ("https://[host/a", "not a valid address"),
        ("https://host/a b", "not a valid address"),
        ("gs://B/a", "not a valid address"),
        ("gs:///a", "not a valid address"),
        ("gs://bucket/a.pt", "add its architecture"),
        ("gs://bucket/a.pt#", "name of an architecture"),
        ("gs://bucket/a.pt#../x", "name of an architecture"),
        ("gs://bucket/a#mnist-net", "requires a checkpoint"),
        ("gs://bucket/a@sha256=12", "64 hexadecimal digits"),
        ("mlflow:pets", "write mlflow:models:/NAME@ALIAS"),
        ("mlflow:models:/pets", "write mlflow:models:/NAME@ALIAS"),
        ("mlflow:models:/pets@", "write mlflow:models:/NAME@ALIAS"),
        ("mlflow:models:/pets/Production", "write mlflow:models:/NAME@ALIAS"),
        ("mlflow:models:/../a@b", "write mlflow:models:/NAME@ALIAS"),
        ("mlflow:models:/pets@a#mnist-net", "omit #mnist-net"),
        ("mlflow:models:/pets@sha256=12", "write mlflow:models:/NAME@ALIAS"),
        ("mlflow:models:/pets@a@sha256=12", "write mlflow:models:/NAME@ALIAS"),
        ("wandb:team/pets/net", "write wandb:ENTITY/PROJECT/NAME:ALIAS"),
        ("wandb:pets/net:latest", "write wandb:ENTITY/PROJECT/NAME:ALIAS"),
    ],
)
def test_invalid_address_raises_one_line(text: str, message: str, models_dir: Path) -> None:
    with pytest.raises(ArtifactError, match=message) as caught:
        parse_address(text, models_dir)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("control", ["\x00", " ", "\t", "\n"])
def test_control_characters_do_not_hide_secrets(control: str, models_dir: Path) -> None:
    assert redact("https:////me:secret@host/x") == "https:///host/x"
    for text in (f"{control}https://me:secret@host/x", f"ht{control}tps://me:secret@host/x"):
        assert "secret" not in redact(text)
        with pytest.raises(ArtifactError) as caught:
            parse_address(text, models_dir)
        assert "secret" not in str(caught.value)


def test_secrets_are_redacted(models_dir: Path) -> None:
    for text in (
        "https://me:secret@host/a?key=secret",
        "https://me:secret@host/a b?key=secret",
    ):
        try:
            message = parse_address(text, models_dir).redacted
        except ArtifactError as error:
            message = str(error)
        assert "secret" not in message
        assert "host/a" in message


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        ("mlflow:models:/pets@champion", {"name": "pets", "alias": "champion"}),
        ("models:/pets@champion", {"name": "pets", "alias": "champion"}),
        ("mlflow:models:/pets/3", {"name": "pets", "version": "3"}),
        ("mlflow:models:/pets/latest", {"name": "pets", "alias": "latest"}),
        ("wandb:team/cats/net:latest",
         {"entity": "team", "project": "cats", "name": "net", "alias": "latest"}),
        ("wandb:team/cats/net:v3",
         {"entity": "team", "project": "cats", "name": "net", "version": "v3"}),
    ],
)  # fmt: skip
def test_location_in_a_registry_names_a_version_or_an_alias(
    text: str, fields: dict[str, str], tmp_path: Path
) -> None:
    assert parse_address(text, tmp_path).registered == RegisteredModel(**fields)


def test_malformed_location_in_a_registry_is_not_repeated(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError) as caught:
        parse_address("mlflow:https://me:secret@host/models", tmp_path)
    assert "secret" not in str(caught.value)


def test_different_addresses_have_different_keys() -> None:
    addresses = [
        Address(location="https://host/a.pt"),
        Address(location="https://host/b.pt"),
        Address(location="https://host/a.pt", architecture="mnist-net"),
        Address(location="https://host/a.pt", pin=PIN),
    ]
    assert len({address.key for address in addresses}) == 4


def test_path_that_is_too_long_is_an_artifact_error(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="cannot be accessed"):
        parse_address("x" * 300, tmp_path)
