"""The page and the way to its backend, on Cloud Run and elsewhere."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import grpc
import pytest
from streamlit.testing.v1 import AppTest

from frontend.service import session
from frontend.service.discovery import Discovery
from tests.client.fake_server import FakeResponse
from tests.client.fake_server import serving as answering
from tests.conftest import free_port
from tests.frontend.app import models, shown
from tests.frontend.cloud import NUMBER, REGION, AdminApi

APP = Path(__file__).parents[3] / "frontend" / "app.py"


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nothing found before, and no waiting between two searches."""
    monkeypatch.setattr(session, "Discovery", partial(Discovery, interval=0))
    session.backend_discovery.clear()
    yield
    session.backend_discovery.clear()


@pytest.fixture
def on_cloud_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """The variables of a service on Cloud Run."""
    monkeypatch.delenv("BACKEND", raising=False)
    monkeypatch.setenv("K_SERVICE", "frontend")
    monkeypatch.setenv("PRISM_PROJECT", NUMBER)
    monkeypatch.setenv("PRISM_REGION", REGION)


def opened() -> AppTest:
    return AppTest.from_file(str(APP), default_timeout=30).run()


def move(api: AdminApi, url: str) -> None:
    """Let Cloud Run say that the backend is at `url`."""
    api.services = dict.fromkeys(api.services, url)


def test_the_sidebar_says_that_the_address_was_set(monkeypatch: pytest.MonkeyPatch) -> None:
    with answering(models(digits="digit")) as (url, _):
        monkeypatch.setenv("BACKEND", url)
        assert f"Backend: {url} (set by BACKEND)" in shown(opened())


@pytest.mark.usefixtures("on_cloud_run")
def test_the_sidebar_says_that_cloud_run_was_asked(api: AdminApi) -> None:
    with answering(models(digits="digit")) as (url, _):
        move(api, url)
        app = opened()
        assert f"Backend: {url} (found through Cloud Run)" in shown(app)
        app.run()
    assert len(api.asked) == 1


@pytest.mark.usefixtures("on_cloud_run")
def test_without_a_backend_the_page_says_where_it_looked(api: AdminApi) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    move(api, url)
    text = shown(opened())
    assert f"The backend is not reachable at {url}." in text
    assert f"Backend: {url} (found through Cloud Run)" in text
    assert "make run" not in text


@pytest.mark.usefixtures("on_cloud_run")
def test_the_page_says_what_went_wrong_on_the_way(
    api: AdminApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    api.error = grpc.StatusCode.PERMISSION_DENIED
    monkeypatch.setattr(
        "frontend.service.cloud_run.deterministic_url", lambda _: "http://127.0.0.1:1"
    )
    text = shown(opened())
    assert "(Cloud Run's usual address for this service)" in text
    assert "needs the permission run.services.get" in text


@pytest.mark.usefixtures("on_cloud_run")
@pytest.mark.parametrize("answer", [None, FakeResponse(b"<html>", status=404)])
def test_a_backend_that_has_moved_is_found_again(api: AdminApi, answer: FakeResponse | None) -> None:
    with answering(models(digits="digit")) as (url, _):
        with answering(answer or FakeResponse()) as (old, _):
            move(api, old if answer else f"http://127.0.0.1:{free_port()}")
            app = opened()
            assert app.error
            move(api, url)
            next(button for button in app.button if button.label == "Try again").click().run()
        assert not app.error
        assert f"Backend: {url} (found through Cloud Run)" in shown(app)


def test_a_wrong_setting_is_told_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BACKEND", raising=False)
    monkeypatch.setenv("K_SERVICE", "frontend")
    monkeypatch.setenv("PRISM_BACKEND_SERVICE", "my backend")
    assert "The setting PRISM_BACKEND_SERVICE cannot be used" in shown(opened())
