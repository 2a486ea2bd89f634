"""The smoke test passes where Prism works, and says what does not."""

import sys
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
import requests

from benchmarks.load import local_services
from deploy import smoke
from tests.client.fake_server import FakeResponse, serving
from tests.conftest import free_port
from tests.e2e.gate import Gate
from tests.frontend.guard import Guard, Metadata, guarded, metadata

AUDIENCE = "https://backend-abc-ew.a.run.app"


def test_it_passes_against_a_backend_that_works(
    backend_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert smoke.main([backend_url]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert all(line.startswith("ok ") for line in lines)
    assert "'7'" in lines[1]


def test_it_names_what_does_not_work(capsys: pytest.CaptureFixture[str]) -> None:
    nobody = f"http://127.0.0.1:{free_port()}"
    assert smoke.main([nobody, "--frontend", nobody]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 5
    assert all(line.startswith("FAILED ") for line in lines)


REFUSAL = FakeResponse(b"<html>Forbidden</html>", 403, {"Content-Type": "text/html"})


def test_a_refusal_for_another_reason_is_no_right_one(capsys: pytest.CaptureFixture[str]) -> None:
    with serving(REFUSAL) as (url, _):
        assert smoke.main([url]) == 1
    assert "FAILED  a broken picture is refused: 403" in capsys.readouterr().out


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the page shows first counts."""
    monkeypatch.setattr(smoke, "SETTLING", 0)


def said_of_the_page(
    backend_url: str, asked: str, capsys: pytest.CaptureFixture[str]
) -> tuple[int, str]:
    """The exit status, and the last line, where the page asks what is at `asked`."""
    with local_services.frontend(asked) as page:
        status = smoke.main([backend_url, "--frontend", page.url])
    *before, last = capsys.readouterr().out.splitlines()
    assert len(before) == 4
    assert all(line.startswith("ok ") for line in before)
    return status, last


def test_it_visits_the_page(backend_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    status, said = said_of_the_page(backend_url, backend_url, capsys)
    assert status == 0
    assert said == "ok      the page asks the backend: it shows the model mnist-cnn"


@pytest.mark.usefixtures("at_once")
def test_a_page_that_may_not_ask_its_backend_is_a_failure(
    backend_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with serving(REFUSAL) as (url, _):
        status, said = said_of_the_page(backend_url, url, capsys)
    assert status == 1
    assert said.startswith(
        "FAILED  the page asks the backend: it shows: The frontend is not allowed"
    )


@pytest.mark.usefixtures("at_once")
def test_a_page_whose_backend_is_elsewhere_is_a_failure(
    backend_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    nobody = f"http://127.0.0.1:{free_port()}"
    status, said = said_of_the_page(backend_url, nobody, capsys)
    assert status == 1
    assert f"it shows: The backend is not reachable at {nobody}." in said


@pytest.mark.usefixtures("at_once")
def test_a_page_of_another_backend_is_a_failure(
    backend_url: str, calibrated_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    status, said = said_of_the_page(backend_url, calibrated_url, capsys)
    assert status == 1
    assert "it shows: Models 2 models are served" in said


def test_a_page_that_is_about_to_be_let_in_is_waited_for(
    backend_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    target = urlsplit(backend_url)
    gate = Gate((target.hostname or "", target.port or 0), free_port())
    monkeypatch.setattr(smoke, "sleep", lambda _: gate.open())
    try:
        status, _ = said_of_the_page(backend_url, gate.url, capsys)
    finally:
        gate.shut()
    assert status == 0


def test_what_is_missing_to_visit_the_page_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delitem(sys.modules, "deploy.page_client", raising=False)
    monkeypatch.setitem(sys.modules, "websockets.sync.client", None)
    with serving(FakeResponse()) as (url, _):
        assert smoke.main([url, "--frontend", url]) == 1
    said = capsys.readouterr().out.splitlines()[-1]
    assert said.startswith("FAILED  the page asks the backend: not tried")
    assert "websockets" in said
    assert "make setup" in said


@pytest.fixture
def token() -> Iterator[tuple[str, str]]:
    """An ID token for AUDIENCE, and where the keys are that it is signed with."""
    with metadata(Metadata()) as server:
        answer = requests.get(
            f"http://{server.host}/computeMetadata/v1/instance/service-accounts/default/identity",
            params={"audience": AUDIENCE},
            headers={"Metadata-Flavor": "Google"},
            timeout=10,
        )
        yield answer.text, server.certificates


def test_a_private_backend_is_tried_with_an_id_token(
    backend_url: str,
    token: tuple[str, str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    shown, certificates = token
    with guarded(Guard(backend_url, AUDIENCE, certificates)) as url:
        monkeypatch.delenv("BACKEND_ID_TOKEN", raising=False)
        assert smoke.main([url]) == 1
        assert "403" in capsys.readouterr().out
        monkeypatch.setenv("BACKEND_ID_TOKEN", f"{shown}\n")
        assert smoke.main([url]) == 0


def test_a_private_page_is_tried_with_an_id_token_of_its_own(
    token: tuple[str, str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    shown, certificates = token
    nobody = f"http://127.0.0.1:{free_port()}"
    health = FakeResponse(b"ok", headers={"Content-Type": "text/plain"})
    with serving(health) as (page, _), guarded(Guard(page, AUDIENCE, certificates)) as url:
        monkeypatch.setenv("BACKEND_ID_TOKEN", shown)
        smoke.main([nobody, "--frontend", url])
        assert "FAILED  the page is served: 403" in capsys.readouterr().out
        monkeypatch.setenv("FRONTEND_ID_TOKEN", shown)
        smoke.main([nobody, "--frontend", url])
        assert "ok      the page is served: ok" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("backend", "token", "word"),
    [
        ("http://prism.example", "token", "https addresses only"),
        ("https://prism.example", "a token", "no spaces"),
        ("ftp://prism.example", "", "prism.example"),
    ],
)
def test_what_cannot_be_used_is_said_before_anything_is_asked(
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
