"""The smoke test passes for a working deployment and reports what fails."""

import sys
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
import requests

from benchmarks.load import local_services
from deploy import smoke
from tests.client.fake_server import FakeResponse, serving
from tests.conftest import free_port
from tests.e2e.toggle_proxy import ToggleProxy
from tests.frontend.private_backend import (
    AuthProxy,
    MetadataServer,
    run_auth_proxy,
    run_metadata_server,
)

AUDIENCE = "https://backend-abc-ew.a.run.app"


def test_passes_for_a_working_backend(backend_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert smoke.main([backend_url]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert all(line.startswith("ok ") for line in lines)
    assert "'7'" in lines[1]


def test_reports_every_failed_check(capsys: pytest.CaptureFixture[str]) -> None:
    unused = f"http://127.0.0.1:{free_port()}"
    assert smoke.main([unused, "--frontend", unused]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 5
    assert all(line.startswith("FAILED ") for line in lines)


REFUSAL = FakeResponse(b"<html>Forbidden</html>", 403, {"Content-Type": "text/html"})


def test_refusal_for_another_reason_fails(capsys: pytest.CaptureFixture[str]) -> None:
    with serving(REFUSAL) as (url, _):
        assert smoke.main([url]) == 1
    assert "FAILED  a damaged image is refused: 403" in capsys.readouterr().out


@pytest.fixture
def no_settling_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Accept or reject the first state of the page."""
    monkeypatch.setattr(smoke, "SETTLING_SECONDS", 0)


def run_with_page_of(
    backend_url: str, page_backend: str, capsys: pytest.CaptureFixture[str]
) -> tuple[int, str]:
    """Return exit status and last line for a page whose backend is `page_backend`."""
    with local_services.start_frontend(page_backend) as page:
        status = smoke.main([backend_url, "--frontend", page.url])
    *before, last = capsys.readouterr().out.splitlines()
    assert len(before) == 4
    assert all(line.startswith("ok ") for line in before)
    return status, last


def test_opens_the_page(backend_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    status, line = run_with_page_of(backend_url, backend_url, capsys)
    assert status == 0
    assert line == "ok      the frontend reaches the backend: it shows the model auto"


@pytest.mark.usefixtures("no_settling_time")
def test_page_without_access_to_its_backend_fails(
    backend_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with serving(REFUSAL) as (url, _):
        status, line = run_with_page_of(backend_url, url, capsys)
    assert status == 1
    assert line.startswith(
        "FAILED  the frontend reaches the backend: it shows: The frontend does not have permission"
    )


@pytest.mark.usefixtures("no_settling_time")
def test_page_with_a_wrong_backend_address_fails(
    backend_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    unused = f"http://127.0.0.1:{free_port()}"
    status, line = run_with_page_of(backend_url, unused, capsys)
    assert status == 1
    assert f"it shows: The backend is not reachable at {unused}." in line


@pytest.mark.usefixtures("no_settling_time")
def test_page_of_another_backend_fails(
    backend_url: str, calibrated_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    status, line = run_with_page_of(backend_url, calibrated_url, capsys)
    assert status == 1
    assert "it shows: Models This backend serves 2 models" in line


def test_waits_until_the_page_has_access(
    backend_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    target = urlsplit(backend_url)
    proxy = ToggleProxy((target.hostname or "", target.port or 0), free_port())
    monkeypatch.setattr(smoke, "sleep", lambda _: proxy.open())
    try:
        status, _ = run_with_page_of(backend_url, proxy.url, capsys)
    finally:
        proxy.close()
    assert status == 0


def test_missing_package_is_reported(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delitem(sys.modules, "deploy.page_session", raising=False)
    monkeypatch.setitem(sys.modules, "websockets.sync.client", None)
    with serving(FakeResponse()) as (url, _):
        assert smoke.main([url, "--frontend", url]) == 1
    line = capsys.readouterr().out.splitlines()[-1]
    assert line.startswith("FAILED  the frontend reaches the backend: not checked")
    assert "websockets" in line
    assert "make setup" in line


@pytest.fixture
def token() -> Iterator[tuple[str, str]]:
    """Return an ID token for AUDIENCE and the URL of its signing certificates."""
    with run_metadata_server(MetadataServer()) as server:
        answer = requests.get(
            f"http://{server.host}/computeMetadata/v1/instance/service-accounts/default/identity",
            params={"audience": AUDIENCE},
            headers={"MetadataServer-Flavor": "Google"},
            timeout=10,
        )
        yield answer.text, server.certificates


def test_private_backend_is_tested_with_an_id_token(
    backend_url: str,
    token: tuple[str, str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    shown, certificates = token
    with run_auth_proxy(AuthProxy(backend_url, AUDIENCE, certificates)) as url:
        monkeypatch.delenv("BACKEND_ID_TOKEN", raising=False)
        assert smoke.main([url]) == 1
        assert "403" in capsys.readouterr().out
        monkeypatch.setenv("BACKEND_ID_TOKEN", f"{shown}\n")
        assert smoke.main([url]) == 0


def test_private_page_is_tested_with_its_own_id_token(
    token: tuple[str, str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    shown, certificates = token
    unused = f"http://127.0.0.1:{free_port()}"
    health = FakeResponse(b"ok", headers={"Content-Type": "text/plain"})
    with (
        serving(health) as (page, _),
        run_auth_proxy(AuthProxy(page, AUDIENCE, certificates)) as url,
    ):
        monkeypatch.setenv("BACKEND_ID_TOKEN", shown)
        smoke.main([unused, "--frontend", url])
        assert "FAILED  the frontend is served: 403" in capsys.readouterr().out
        monkeypatch.setenv("FRONTEND_ID_TOKEN", shown)
        smoke.main([unused, "--frontend", url])
        assert "ok      the frontend is served: ok" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("backend", "token", "word"),
    [
        ("http://prism.example", "token", "https addresses only"),
        ("https://prism.example", "a token", "no spaces"),
        ("ftp://prism.example", "", "prism.example"),
    ],
)
def test_invalid_address_or_token_is_reported_before_any_request(
    backend: str,
    token: str,
    word: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("BACKEND_ID_TOKEN", token)
    with pytest.raises(SystemExit):
        smoke.main([backend])
    assert word in capsys.readouterr().err
