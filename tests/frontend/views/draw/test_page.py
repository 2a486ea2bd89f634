"""The page Draw without a browser, against a real backend."""

from typing import Any

import pytest

from client import Client
from tests.client.fake_server import FakeResponse, serving
from tests.frontend.app import CLASSIFY, DRAW, ONE, draw, models, press, shown
from tests.frontend.conftest import Start
from tests.images import encoded, seven


def test_a_drawing_is_read_and_kept(start: Start, backend_url: str) -> None:
    app = start(backend_url).switch_page(DRAW).run()
    draw(app)
    assert "a 7 (" in shown(app)
    app.switch_page(CLASSIFY).run()
    app.switch_page(DRAW).run()
    assert "a 7 (" in shown(app)


@pytest.mark.parametrize("news", [{"png": 5}, {"png": "data:image/png;base64,?"}, {"png": None}])
def test_what_is_no_drawing_is_an_empty_pad(
    start: Start, backend_url: str, news: dict[str, Any]
) -> None:
    app = start(backend_url).switch_page(DRAW).run()
    app.session_state["pad"] = {"drawing": news}
    app.run()
    assert "The answer will appear here." in shown(app)


def test_what_the_model_sees_stands_beside_the_answer(start: Start, backend_url: str) -> None:
    app = draw(start(backend_url).switch_page(DRAW).run())
    assert "What the model sees: 28x28 pixels" in shown(app)


def test_a_backend_that_fails_at_a_stroke_is_told_beside_the_pad(start: Start) -> None:
    late = FakeResponse(b'{"status": 504, "code": "deadline_passed"}', 504)
    with serving(models(first="digit"), classify=late) as (url, _):
        app = draw(start(url).switch_page(DRAW).run())
        assert "The answer took too long." in shown(app)
        assert "Try again" in [button.label for button in app.button]
        late.status, late.body = 200, ONE
        press(app, "Try again")
        assert "a 1 (" in shown(app)


def test_a_drawing_that_was_read_wrongly_is_corrected(start: Start, backend_url: str) -> None:
    app = press(draw(start(backend_url).switch_page(DRAW).run()), "It is right")
    assert "Said to be right." in shown(app)
    assert "It is right" in [button.label for button in draw(app, encoded(seven(77))).button]


def test_a_reload_keeps_the_correction_and_stores_the_drawing_once(
    start: Start, backend_url: str
) -> None:
    drawn = encoded(seven(78))
    app = press(draw(start(backend_url).switch_page(DRAW).run(), drawn), "It is right")
    with Client(backend_url) as client:
        (before, *_) = client.history.page().items
        again = start(backend_url, drawings=app.query_params["drawings"]).switch_page(DRAW).run()
        assert "Said to be right." in shown(draw(again, drawn))
        (after, *_) = client.history.page().items
    assert after.id == before.id


def test_what_is_no_longer_told_is_asked_again(start: Start, backend_url: str) -> None:
    app = draw(start(backend_url, drawings="gone").switch_page(DRAW).run())
    assert "a 7 (" in shown(app)
    assert app.query_params["drawings"] != "gone"
