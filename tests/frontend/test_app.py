"""Functions that all pages share, without a browser, with a real backend."""

import json

import pytest

from client import Client
from tests.client.fake_server import FakeResponse, serving
from tests.conftest import free_port
from tests.frontend.app import (
    CLASSIFY,
    DRAW,
    SEVEN,
    click,
    draw_on_pad,
    models_response,
    page_text,
    upload_files,
)
from tests.frontend.conftest import OpenPage

EVALUATE, VIDEO = "views/evaluate/page.py", "views/video/page.py"


def test_model_can_be_chosen(start: OpenPage, backend_url: str) -> None:
    app = start(backend_url)
    with Client(backend_url) as client:
        served = client.models()
    assert app.sidebar.selectbox[0].value == served.default
    titles = [model.title for model in served.models]
    assert app.sidebar.selectbox[0].options == ["Automatic", *titles]


def test_coverage_persists_across_pages_and_models(start: OpenPage, calibrated_url: str) -> None:
    app = start(calibrated_url)
    app.sidebar.radio[0].set_value(0.9).run()
    app.switch_page(DRAW).run()
    assert app.sidebar.radio[0].value == 0.9
    draw_on_pad(app)
    assert "7 (90% coverage)" in page_text(app)
    app.sidebar.selectbox[0].select("plain").run()
    assert not app.sidebar.radio
    assert "7, " in page_text(app)
    assert "coverage" not in page_text(app)
    app.sidebar.selectbox[0].select("calibrated").run()
    assert app.sidebar.radio[0].value == 0.9


def test_model_choice_persists_across_pages(start: OpenPage) -> None:
    with serving(models_response(first="digit", second="image")) as (url, _):
        app = start(url)
        app.sidebar.selectbox[0].select("second").run()
        app.switch_page(DRAW).run()
        assert app.sidebar.selectbox[0].options == ["FIRST"]
        assert "Draw one large digit" in page_text(app)
        app.switch_page(CLASSIFY).run()
        assert app.sidebar.selectbox[0].value == "second"


def test_draw_page_uses_any_model_if_none_is_for_digits(start: OpenPage) -> None:
    with serving(models_response(second="image")) as (url, _):
        assert "not trained on drawings of digits" in page_text(start(url).switch_page(DRAW).run())


def test_automatic_choice_is_the_default_on_classify_only(start: OpenPage) -> None:
    response = models_response(first="digit", second="image")
    models = json.loads(response.body) | {"default": "auto", "auto": ["first", "second"]}
    with serving(FakeResponse(json.dumps(models).encode())) as (url, _):
        app = start(url)
        assert app.sidebar.selectbox[0].value == "auto"
        assert app.sidebar.selectbox[0].options == ["Automatic", "FIRST", "SECOND"]
        for page, chosen in ((DRAW, "first"), (EVALUATE, "first"), (VIDEO, "second")):
            assert app.switch_page(page).run().sidebar.selectbox[0].value == chosen
        assert app.switch_page(CLASSIFY).run().sidebar.selectbox[0].value == "auto"


@pytest.mark.parametrize("page", [CLASSIFY, DRAW])
def test_loading_and_failed_models_are_reported(start: OpenPage, page: str) -> None:
    with serving(models_response(big="loading", bad="failed")) as (url, _):
        app = start(url).switch_page(page).run()
        assert "The model BIG is still loading." in page_text(app)
        assert app.sidebar.selectbox[0].options == ["BIG (loading)", "BAD (failed)"]
        app.sidebar.selectbox[0].select("bad").run()
        assert "The weights are damaged." in page_text(app)
        assert "Choose another model" in page_text(app)


def test_backend_without_models_is_reported(start: OpenPage) -> None:
    with serving(models_response()) as (url, _):
        assert "The backend has no models." in page_text(start(url))


def test_foreign_server_at_the_address_is_reported(start: OpenPage) -> None:
    with serving(FakeResponse(b"<html>")) as (url, _):
        assert "is not a Prism backend" in page_text(start(url))


@pytest.mark.parametrize("page", [CLASSIFY, DRAW])
def test_page_without_backend_says_how_to_start_it(start: OpenPage, page: str) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    app = start(url).switch_page(page).run()
    assert f"The backend is not reachable at {url}." in page_text(app)
    assert "`make run`" in app.error[0].value
    assert "Try again" in [button.label for button in app.button]


def test_page_recovers_when_the_backend_is_back(
    start: OpenPage, backend_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = upload_files(start(f"http://127.0.0.1:{free_port()}"), ("seven.png", SEVEN))
    monkeypatch.setenv("BACKEND", backend_url)
    click(app, "Try again")
    assert not app.error
    assert "7, " in page_text(app)


def test_invalid_setting_is_reported(start: OpenPage) -> None:
    app = start("localhost:8000")
    assert "The setting BACKEND is invalid" in page_text(app)
