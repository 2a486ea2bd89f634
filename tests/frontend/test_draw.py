"""The page Draw without a browser, against a real backend."""

from typing import Any

import pytest

from tests.frontend.app import CLASSIFY, DRAW, draw, shown
from tests.frontend.conftest import Start


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
