"""Settings: read from the environment, with a one-line error for invalid values."""

import os
import sys
from collections.abc import Callable
from subprocess import run

import pytest
from pydantic import ValidationError

from backend.server import entrypoint
from backend.settings import Settings
from tests.conftest import ROOT

StartError = Callable[[str, str], str]


@pytest.fixture
def start_error(monkeypatch: pytest.MonkeyPatch) -> StartError:
    """Return the line with which the backend ends if a setting is invalid."""
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr("backend.server.entrypoint.logs.configure", lambda *_: None)

    def start(variable: str, value: str) -> str:
        monkeypatch.setenv(variable, value)
        with pytest.raises(SystemExit) as caught:
            entrypoint.main()
        assert isinstance(caught.value.code, str)
        (line,) = caught.value.code.splitlines()
        return line

    return start


def test_backend_with_an_invalid_setting_prints_one_line() -> None:
    process = run(
        [sys.executable, "-m", "backend"],
        cwd=ROOT,
        env=os.environ | {"PORT": "many"},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert process.returncode == 1
    (line,) = process.stderr.splitlines()
    assert line.startswith("error: PORT=many: ")


def test_settings_are_read_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PRISM_MAX_BYTES", "123")
    monkeypatch.setenv("PRISM_RUNTIME", "torch")
    monkeypatch.setenv("PORT", "9000")
    settings = Settings()
    assert (settings.max_bytes, settings.runtime, settings.port) == (123, "torch", 9000)


def test_taught_models_are_open_on_the_loopback_interface_only() -> None:
    assert Settings(models_open=True).models_open
    with pytest.raises(ValidationError, match="loopback"):
        Settings(models_open=True, host="0.0.0.0")


@pytest.mark.parametrize("value", ["s3://bucket", "gs://", "gs://bucket/a b"])
def test_model_store_is_a_folder_or_a_bucket(value: str) -> None:
    with pytest.raises(ValidationError, match="gs://BUCKET/PREFIX"):
        Settings(model_store=value)


def test_settings_are_immutable() -> None:
    with pytest.raises(ValidationError):
        Settings().port = 1  # type: ignore[misc]


def test_data_folder_is_outside_repository() -> None:
    assert not Settings().data_dir.is_relative_to(ROOT)


def test_every_setting_has_a_description() -> None:
    assert all(field.description for field in Settings.model_fields.values())


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("PORT", "many"),
        ("PORT", "70000"),
        ("PRISM_MAX_BYTES", "0"),
        ("PRISM_TIMEOUT", "-1"),
        ("PRISM_RUNTIME", "tpu"),
        ("PRISM_QUEUE_SIZE", "1.5"),
        ("PRISM_MODELS_DIR", "nowhere"),
        ("PRISM_MODELS", "cats"),
        ("PRISM_ALLOWED_HOSTS", "https://prism.example.com"),
        ("PRISM_ALLOWED_HOSTS", "prism.example.com:8000"),
        ("PRISM_ALLOWED_HOSTS", "*,prism.example.com"),
        ("PRISM_DEFAULT_MODEL", "cats"),
    ],
)
def test_invalid_setting_is_named_in_one_line(
    variable: str, value: str, start_error: StartError
) -> None:
    line = start_error(variable, value)
    assert line.startswith("error: ")
    assert variable in line


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("PRISM_API_KEYS", "secret"),
        ("PRISM_API_KEYS", "secret" + 64 * "a"),
        ("PRISM_API_KEYS", f"{64 * 'a'},secret"),
        ("PRISM_API_KEYS", ","),
        ("PRISM_DATABASE_URL", "mysql://me:secret@here/prism"),
        ("PRISM_DATABASE_URL", "secret.db"),
    ],
)
def test_invalid_secret_is_not_shown(variable: str, value: str, start_error: StartError) -> None:
    line = start_error(variable, value)
    assert line.startswith(f"error: {variable}: ")
    assert "secret" not in line


@pytest.mark.parametrize(
    ("host", "names", "accepted"),
    [
        ("127.0.0.1", "", "localhost and other names of this machine (PRISM_ALLOWED_HOSTS is"),
        ("0.0.0.0", "", "all (PRISM_ALLOWED_HOSTS is empty, and PRISM_HOST is not"),
        ("0.0.0.0", "backend, Prism.example.com", "backend, prism.example.com, localhost and"),
        ("127.0.0.1", "*", "all, also from pages of other websites"),
    ],
)
def test_accepted_host_names_are_described(host: str, names: str, accepted: str) -> None:
    assert Settings(host=host, allowed_hosts=names).describe_hosts().startswith(accepted)


def test_keys_are_split_and_lowercased() -> None:
    settings = Settings(api_keys=f" {64 * 'A'} , {64 * 'b'}")
    assert [key.digest.hex() for key in settings.accepted_keys] == [64 * "a", 64 * "b"]
    assert "aaa" not in repr(settings)


def test_postgresql_without_driver_names_requirements(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("backend.settings.find_spec", lambda _: None)
    with pytest.raises(ValidationError, match=r"requirements/postgres\.txt"):
        Settings(database_url="postgres://me@here/prism")


def test_all_http_protocols_but_mcp_are_enabled() -> None:
    assert Settings().enabled_protocols == (
        "open-inference",
        "vertex",
        "tensorflow-serving",
        "torchserve",
        "huggingface",
    )


@pytest.mark.parametrize(
    ("value", "names"), [("", ()), (" Vertex, huggingface ,vertex", ("vertex", "huggingface"))]
)
def test_protocols_are_a_list_of_names(value: str, names: tuple[str, ...]) -> None:
    assert Settings(protocols=value).enabled_protocols == names


def test_unknown_protocol_is_refused_with_the_known_names() -> None:
    with pytest.raises(ValidationError, match="triton is not a protocol; use open-inference, "):
        Settings(protocols="vertex,triton")


def test_vertex_ai_sets_the_port(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORT", "9000")
    assert Settings().http_port == 9000
    monkeypatch.setenv("AIP_HTTP_PORT", "8080")
    assert Settings().http_port == 8080


@pytest.mark.parametrize("route", ["predict", "/pre dict", "/{name}", "//x"])
def test_routes_of_vertex_ai_are_paths(monkeypatch: pytest.MonkeyPatch, route: str) -> None:
    monkeypatch.setenv("AIP_PREDICT_ROUTE", route)
    with pytest.raises(ValidationError, match="must be a path"):
        Settings()


def test_grpc_needs_its_protocol_and_its_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Settings().grpc_port == 0
    with pytest.raises(ValidationError, match="requires open-inference in PRISM_PROTOCOLS"):
        Settings(grpc_port=8001, protocols="vertex")
    monkeypatch.setattr("backend.settings.find_spec", lambda _: None)
    with pytest.raises(ValidationError, match=r"requirements/grpc\.txt"):
        Settings(grpc_port=8001)
