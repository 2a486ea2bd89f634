"""The Draw page against a real backend, without a browser."""

from typing import Any

import pytest

from client import Client
from tests.client.fake_server import FakeResponse, serving
from tests.frontend.app import (
    CLASSIFICATION_JSON,
    CLASSIFY,
    DRAW,
    click,
    draw_on_pad,
    models_response,
    page_text,
)
from tests.frontend.conftest import OpenPage
from tests.images import encoded, seven


def test_drawing_is_classified_and_persists_across_pages(start: OpenPage, backend_url: str) -> None:
    app = start(backend_url).switch_page(DRAW).run()
    draw_on_pad(app)
    assert "7, " in page_text(app)
    app.switch_page(CLASSIFY).run()
    app.switch_page(DRAW).run()
    assert "7, " in page_text(app)


@pytest.mark.parametrize("value", [{"png": 5}, {"png": "data:image/png;base64,?"}, {"png": None}])
def test_invalid_drawing_leaves_the_pad_empty(
    start: OpenPage, backend_url: str, value: dict[str, Any]
) -> None:
    app = start(backend_url).switch_page(DRAW).run()
    app.session_state["pad"] = {"drawing": value}
    app.run()
    assert "The prediction appears here." in page_text(app)


def test_model_input_is_shown(start: OpenPage, backend_url: str) -> None:
    app = draw_on_pad(start(backend_url).switch_page(DRAW).run())
    assert "Model input: 28x28 pixels" in page_text(app)


def test_failed_request_is_reported_and_retried(start: OpenPage) -> None:
    response = FakeResponse(b'{"status": 504, "code": "deadline_passed"}', 504)
    with serving(models_response(first="digit"), classify=response) as (url, _):
        app = draw_on_pad(start(url).switch_page(DRAW).run())
        assert "The request took too long." in page_text(app)
        assert "Try again" in [button.label for button in app.button]
        response.status, response.body = 200, CLASSIFICATION_JSON
        click(app, "Try again")
        assert "1, 90% confidence" in page_text(app)


def test_feedback_applies_to_one_drawing(start: OpenPage, backend_url: str) -> None:
    app = click(draw_on_pad(start(backend_url).switch_page(DRAW).run()), "Correct")
    assert "Marked correct" in page_text(app)
    assert "Correct" in [button.label for button in draw_on_pad(app, encoded(seven(77))).button]


def test_reload_keeps_the_feedback_and_stores_the_drawing_once(
    start: OpenPage, backend_url: str
) -> None:
    drawing = encoded(seven(78))
    app = click(draw_on_pad(start(backend_url).switch_page(DRAW).run(), drawing), "Correct")
    with Client(backend_url) as client:
        (before, *_) = client.history.page().items
        again = start(backend_url, drawings=app.query_params["drawings"]).switch_page(DRAW).run()
        assert "Marked correct" in page_text(draw_on_pad(again, drawing))
        (after, *_) = client.history.page().items
    assert after.id == before.id


def test_expired_drawings_are_replaced(start: OpenPage, backend_url: str) -> None:
    app = draw_on_pad(start(backend_url, drawings="gone").switch_page(DRAW).run())
    assert "7, " in page_text(app)
    assert app.query_params["drawings"] != "gone"
