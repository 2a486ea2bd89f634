"""What all pages share, without a browser, against a real backend."""

import pytest

from client import Client
from tests.client.fake_server import FakeResponse, serving
from tests.conftest import free_port
from tests.frontend.app import CLASSIFY, DRAW, SEVEN, draw, models, press, shown, upload
from tests.frontend.conftest import Start


def test_the_model_can_be_chosen(start: Start, backend_url: str) -> None:
    app = start(backend_url)
    with Client(backend_url) as client:
        served = client.models()
    assert app.sidebar.selectbox[0].value == served.default
    assert app.sidebar.selectbox[0].options == [model.title for model in served.models]


def test_the_coverage_is_kept_on_another_page_and_behind_a_model_without_one(
    start: Start, calibrated_url: str
) -> None:
    app = start(calibrated_url)
    app.sidebar.radio[0].set_value(0.9).run()
    app.switch_page(DRAW).run()
    assert app.sidebar.radio[0].value == 0.9
    draw(app)
    assert "A 7, with 90 % coverage." in shown(app)
    app.sidebar.selectbox[0].select("plain").run()
    assert not app.sidebar.radio
    assert "a 7 (" in shown(app)
    assert "coverage" not in shown(app)
    app.sidebar.selectbox[0].select("calibrated").run()
    assert app.sidebar.radio[0].value == 0.9


def test_the_choice_is_kept_on_another_page(start: Start) -> None:
    with serving(models(first="digit", second="image")) as (url, _):
        app = start(url)
        assert "handwritten digits" in shown(app)
        app.sidebar.selectbox[0].select("second").run()
        assert "Give it pictures" in shown(app)
        app.switch_page(DRAW).run()
        assert app.sidebar.selectbox[0].value == "second"
        assert "not made for drawings of digits" in shown(app)


@pytest.mark.parametrize("page", [CLASSIFY, DRAW])
def test_a_model_that_cannot_answer_yet_or_at_all_is_told(start: Start, page: str) -> None:
    with serving(models(big="loading", bad="failed")) as (url, _):
        app = start(url).switch_page(page).run()
        assert "The model BIG is still loading." in shown(app)
        assert app.sidebar.selectbox[0].options == ["BIG (loading)", "BAD (failed)"]
        app.sidebar.selectbox[0].select("bad").run()
        assert "The weights are damaged." in shown(app)
        assert "Choose another model" in shown(app)


def test_a_backend_without_models_is_told(start: Start) -> None:
    with serving(models()) as (url, _):
        assert "The backend serves no model yet." in shown(start(url))


def test_something_else_at_the_address_is_told_in_words(start: Start) -> None:
    with serving(FakeResponse(b"<html>")) as (url, _):
        assert "does not speak as our backend" in shown(start(url))


@pytest.mark.parametrize("page", [CLASSIFY, DRAW])
def test_without_a_backend_the_page_says_how_to_start_it(start: Start, page: str) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    app = start(url).switch_page(page).run()
    assert f"The backend is not reachable at {url}." in shown(app)
    assert "`make run`" in app.error[0].value
    assert "Try again" in [button.label for button in app.button]


def test_the_page_recovers_when_the_backend_is_there(
    start: Start, backend_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = upload(start(f"http://127.0.0.1:{free_port()}"), ("seven.png", SEVEN))
    monkeypatch.setenv("BACKEND", backend_url)
    press(app, "Try again")
    assert not app.error
    assert "a 7 (" in shown(app)


def test_a_wrong_setting_is_told_in_words(start: Start) -> None:
    app = start("localhost:8000")
    assert "The setting BACKEND cannot be used" in shown(app)
