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


def stored_ids(client: Client) -> set[str]:
    """Return the ids of the latest entries of the history."""
    return {item.id for item in client.history.page(limit=500).items}


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
    assert "Model input: 28 × 28 pixels" in page_text(app)


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
        assert before.correction == "7"
        again = start(backend_url, drawings=app.query_params["drawings"]).switch_page(DRAW).run()
        assert "Marked correct" in page_text(draw_on_pad(again, drawing, finished=True))
        (after, *_) = client.history.page().items
    assert after.id == before.id


def test_drawing_is_stored_once_when_it_is_finished(start: OpenPage, backend_url: str) -> None:
    app = start(backend_url).switch_page(DRAW).run()
    with Client(backend_url) as client:
        before = stored_ids(client)
        draw_on_pad(app, encoded(seven(80)))
        draw_on_pad(app, encoded(seven(81)))
        assert stored_ids(client) == before
        draw_on_pad(app, encoded(seven(81)), finished=True)
        app.run()
        assert len(stored_ids(client) - before) == 1


def test_drawing_is_not_stored_if_storing_is_off(start: OpenPage, backend_url: str) -> None:
    app = start(backend_url, storing="off").switch_page(DRAW).run()
    with Client(backend_url) as client:
        before = stored_ids(client)
        draw_on_pad(app, encoded(seven(87)), finished=True)
        assert "7, " in page_text(app)
        assert "Correct" not in [button.label for button in app.button]
        assert stored_ids(client) == before


def test_continued_drawing_replaces_its_stored_state(start: OpenPage, backend_url: str) -> None:
    app = start(backend_url).switch_page(DRAW).run()
    with Client(backend_url) as client:
        before = stored_ids(client)
        draw_on_pad(app, encoded(seven(82)), finished=True)
        first = stored_ids(client) - before
        draw_on_pad(app, encoded(seven(83)), finished=True)
        second = stored_ids(client) - before
    assert len(first) == len(second) == 1
    assert first != second


def test_stored_state_with_feedback_is_kept(start: OpenPage, backend_url: str) -> None:
    app = start(backend_url).switch_page(DRAW).run()
    with Client(backend_url) as client:
        before = stored_ids(client)
        click(draw_on_pad(app, encoded(seven(84))), "Correct")
        draw_on_pad(app, encoded(seven(85)), finished=True)
        assert len(stored_ids(client) - before) == 2


def test_cleared_drawing_is_stored(start: OpenPage, backend_url: str) -> None:
    app = start(backend_url).switch_page(DRAW).run()
    with Client(backend_url) as client:
        before = stored_ids(client)
        draw_on_pad(app, encoded(seven(86)))
        draw_on_pad(app, None, drawing_id="second")
        assert len(stored_ids(client) - before) == 1


def test_undone_drawing_is_not_stored(start: OpenPage, backend_url: str) -> None:
    app = start(backend_url).switch_page(DRAW).run()
    with Client(backend_url) as client:
        before = stored_ids(client)
        draw_on_pad(app, encoded(seven(87)))
        draw_on_pad(app, None)
        app.switch_page(CLASSIFY).run()
        assert stored_ids(client) == before


def test_drawing_is_stored_when_the_user_leaves_the_page(start: OpenPage, backend_url: str) -> None:
    app = draw_on_pad(start(backend_url).switch_page(DRAW).run(), encoded(seven(88)))
    with Client(backend_url) as client:
        before = stored_ids(client)
        app.switch_page(CLASSIFY).run()
        app.run()
        assert len(stored_ids(client) - before) == 1


def test_drawing_is_not_stored_if_the_user_turned_storing_off(
    start: OpenPage, backend_url: str
) -> None:
    app = start(backend_url, storing="off").switch_page(DRAW).run()
    with Client(backend_url) as client:
        before = stored_ids(client)
        draw_on_pad(app, encoded(seven(89)), finished=True)
        assert "7, " in page_text(app)
        assert "Correct" not in [button.label for button in app.button]
        app.switch_page(CLASSIFY).run()
        assert stored_ids(client) == before


def test_feedback_is_hidden_without_a_history(start: OpenPage) -> None:
    response = FakeResponse(CLASSIFICATION_JSON.replace(b'"stored": false', b'"stored": null'))
    with serving(models_response(first="digit"), classify=response) as (url, _):
        app = draw_on_pad(start(url).switch_page(DRAW).run(), finished=True)
        assert "1, 90% confidence" in page_text(app)
        assert "Correct" not in [button.label for button in app.button]


def test_expired_drawings_are_replaced(start: OpenPage, backend_url: str) -> None:
    app = draw_on_pad(start(backend_url, drawings="gone").switch_page(DRAW).run())
    assert "7, " in page_text(app)
    assert app.query_params["drawings"] != "gone"
