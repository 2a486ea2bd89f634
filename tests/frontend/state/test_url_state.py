"""What is in the address of a page."""

from tests.frontend.app import shown
from tests.frontend.conftest import Start


def test_the_choices_are_in_the_address_and_are_taken_from_it(
    start: Start, calibrated_url: str
) -> None:
    app = start(calibrated_url)
    app.sidebar.radio[0].set_value(0.99).run()
    app.sidebar.selectbox[0].select("plain").run()
    assert app.query_params["model"] == "plain"
    assert app.query_params["coverage"] == "0.99"
    shared = start(calibrated_url, model="calibrated", coverage="0.9")
    assert shared.sidebar.selectbox[0].value == "calibrated"
    assert shared.sidebar.radio[0].value == 0.9


def test_a_model_of_the_address_that_is_not_served_is_told(start: Start, backend_url: str) -> None:
    app = start(backend_url, model="gone")
    assert "The backend does not serve a model 'gone'." in shown(app)
    assert app.sidebar.selectbox[0].value == "mnist-cnn"


def test_the_choice_comes_back_into_the_address_after_a_change_of_page(
    start: Start, calibrated_url: str
) -> None:
    app = start(calibrated_url, model="plain")
    app.query_params.clear()  # as the browser does it
    app.switch_page("views/models/page.py").run()
    assert app.query_params["model"] == "plain"
    assert app.sidebar.selectbox[0].value == "plain"
