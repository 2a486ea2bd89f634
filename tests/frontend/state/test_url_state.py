"""State in the URL of a page."""

from tests.frontend.app import page_text
from tests.frontend.conftest import OpenPage


def test_choices_are_written_to_and_read_from_the_url(start: OpenPage, calibrated_url: str) -> None:
    app = start(calibrated_url)
    app.sidebar.radio[0].set_value(0.99).run()
    app.sidebar.selectbox[0].select("plain").run()
    assert app.query_params["model"] == "plain"
    assert app.query_params["coverage"] == "0.99"
    shared = start(calibrated_url, model="calibrated", coverage="0.9")
    assert shared.sidebar.selectbox[0].value == "calibrated"
    assert shared.sidebar.radio[0].value == 0.9


def test_unknown_model_in_the_url_is_reported(start: OpenPage, backend_url: str) -> None:
    app = start(backend_url, model="gone")
    assert "The backend does not serve the model “gone”." in page_text(app)
    assert app.sidebar.selectbox[0].value == "auto"


def test_choice_returns_to_the_url_after_a_page_change(
    start: OpenPage, calibrated_url: str
) -> None:
    app = start(calibrated_url, model="plain")
    app.query_params.clear()  # as the browser does it
    app.switch_page("views/models/page.py").run()
    assert app.query_params["model"] == "plain"
    assert app.sidebar.selectbox[0].value == "plain"
