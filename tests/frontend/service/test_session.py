"""The page with a backend that is found, moved or unreachable."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import grpc
import pytest
from streamlit.testing.v1 import AppTest

from frontend.service import session
from frontend.service.discovery import Discovery
from tests.client.fake_server import FakeResponse, serving
from tests.conftest import free_port
from tests.frontend.app import models_response, page_text
from tests.frontend.cloud_run_fakes import NUMBER, REGION, AdminApi

APP = Path(__file__).parents[3] / "frontend" / "navigation.py"


@pytest.fixture(autouse=True)
def reset_discovery(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Start without a cached address, and search without an interval."""
    monkeypatch.setattr(session, "Discovery", partial(Discovery, interval=0))
    session.backend_discovery.clear()
    yield
    session.backend_discovery.clear()


@pytest.fixture
def on_cloud_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """Set the variables of a Cloud Run service."""
    monkeypatch.delenv("BACKEND", raising=False)
    monkeypatch.setenv("K_SERVICE", "frontend")
    monkeypatch.setenv("PRISM_PROJECT", NUMBER)
    monkeypatch.setenv("PRISM_REGION", REGION)


def open_app() -> AppTest:
    return AppTest.from_file(str(APP), default_timeout=30).run()


def set_service_url(api: AdminApi, url: str) -> None:
    """Set the backend's URL in Cloud Run."""
    api.services = dict.fromkeys(api.services, url)


def test_sidebar_shows_address_from_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(models_response(digits="digit")) as (url, _):
        monkeypatch.setenv("BACKEND", url)
        assert f"Backend: {url} (set by BACKEND)" in page_text(open_app())


@pytest.mark.usefixtures("on_cloud_run")
def test_sidebar_shows_address_from_cloud_run(api: AdminApi) -> None:
    with serving(models_response(digits="digit")) as (url, _):
        set_service_url(api, url)
        app = open_app()
        assert f"Backend: {url} (found through Cloud Run)" in page_text(app)
        app.run()
    assert len(api.requests) == 1


@pytest.mark.usefixtures("on_cloud_run")
def test_unreachable_backend_is_shown_with_its_address_source(api: AdminApi) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    set_service_url(api, url)
    text = page_text(open_app())
    assert f"The backend is not reachable at {url}." in text
    assert f"Backend: {url} (found through Cloud Run)" in text
    assert "make run" not in text


@pytest.mark.usefixtures("on_cloud_run")
def test_failed_lookup_is_shown(api: AdminApi, monkeypatch: pytest.MonkeyPatch) -> None:
    api.error = grpc.StatusCode.PERMISSION_DENIED
    monkeypatch.setattr(
        "frontend.service.cloud_run.deterministic_url", lambda _: "http://127.0.0.1:1"
    )
    text = page_text(open_app())
    assert "(Cloud Run's deterministic URL)" in text
    assert "needs the permission run.services.get" in text


@pytest.mark.usefixtures("on_cloud_run")
@pytest.mark.parametrize("response", [None, FakeResponse(b"<html>", status=404)])
def test_moved_backend_is_found_again(api: AdminApi, response: FakeResponse | None) -> None:
    with serving(models_response(digits="digit")) as (url, _):
        with serving(response or FakeResponse()) as (old, _):
            set_service_url(api, old if response else f"http://127.0.0.1:{free_port()}")
            app = open_app()
            assert app.error
            set_service_url(api, url)
            next(button for button in app.button if button.label == "Try again").click().run()
        assert not app.error
        assert f"Backend: {url} (found through Cloud Run)" in page_text(app)


def test_invalid_setting_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BACKEND", raising=False)
    monkeypatch.setenv("K_SERVICE", "frontend")
    monkeypatch.setenv("PRISM_BACKEND_SERVICE", "my backend")
    assert "The setting PRISM_BACKEND_SERVICE is invalid" in page_text(open_app())


def test_backend_that_hangs_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    assert sum(session.MODELS_TIMEOUT) < 3
    monkeypatch.setattr(session, "MODELS_TIMEOUT", (1.0, 0.05))
    with serving(FakeResponse(delay=1)) as (url, requests):
        monkeypatch.setenv("BACKEND", url)
        app = open_app()
        text = page_text(app)
        assert f"The backend at {url} does not respond in time." in text
        assert "The page retries automatically." in text
        assert app.title[0].value == "Classify"
        assert len(requests) == 1  # the rest of the page does not wait for a second one
