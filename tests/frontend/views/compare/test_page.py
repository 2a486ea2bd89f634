"""The page Compare without a browser."""

import json

from streamlit.testing.v1 import AppTest

from tests.client.fake_server import FakeResponse, serving
from tests.conftest import free_port
from tests.frontend.app import SEVEN, models, shown
from tests.frontend.conftest import Start
from tests.labeled_images import sevens, zipped

COMPARE = "views/compare/page.py"


def opened(start: Start, url: str) -> AppTest:
    return start(url).switch_page(COMPARE).run()


def on_a_set(app: AppTest) -> AppTest:
    next(one for one in app.radio if one.label == "Compare them on").set_value("set")
    return app.run()


def finished(app: AppTest) -> AppTest:
    while any(button.label == "Stop" for button in app.button):
        app.run()
    return app


def test_one_model_alone_cannot_be_compared_and_what_to_do_is_told(start: Start) -> None:
    with serving(models(only="digit")) as (url, _):
        app = opened(start, url)
        assert "comparing needs a second one" in shown(app)
        assert "training.package" in shown(app)
        assert not app.exception


def test_a_model_that_cannot_answer_is_told(start: Start) -> None:
    with serving(models(good="digit", bad="failed")) as (url, _):
        app = opened(start, url)
        assert "The model BAD could not be loaded." in shown(app)


def test_models_of_different_labels_say_which(start: Start) -> None:
    served = json.loads(models(first="digit", second="digit").body)
    served["models"][1]["labels"] = ["cat", "1"]
    with serving(FakeResponse(json.dumps(served).encode())) as (url, _):
        app = opened(start, url)
        assert "FIRST knows “0”, SECOND does not" in shown(app)
        assert "SECOND knows “cat”, FIRST does not" in shown(app)


def test_a_picture_is_answered_by_both(start: Start, backend_url: str) -> None:
    app = opened(start, backend_url)
    app.file_uploader[0].set_value([("seven.png", SEVEN, "image/png")]).run()
    assert "They agree: both read a 7." in shown(app)
    assert shown(app).count("This is a 7") == 2


def test_labelled_pictures_are_compared_on(start: Start, backend_url: str) -> None:
    app = on_a_set(opened(start, backend_url))
    data = sevens(4, called_one=1)
    app.file_uploader[0].set_value(("digits.zip", data, "application/zip")).run()
    finished(app)
    assert [one.value for one in app.metric] == ["80.00 %", "80.00 %", "100.00 %", "4", "1"]
    assert "Both are right on the very same pictures." in shown(app)


def test_labels_that_a_model_does_not_know_are_told_with_its_name(
    start: Start, backend_url: str
) -> None:
    app = on_a_set(opened(start, backend_url))
    data = zipped({"cat/a.png": SEVEN})
    app.file_uploader[0].set_value(("pets.zip", data, "application/zip")).run()
    assert "Handwritten digits: the model does not know these labels" in shown(app)


def test_two_models_that_do_not_answer_are_both_told(start: Start) -> None:
    busy = FakeResponse(b'{"status": 503, "code": "not_ready"}', status=503)
    with serving(models(one="digit", two="digit"), classify=busy) as (url, _):
        app = opened(start, url)
        app.file_uploader[0].set_value([("seven.png", SEVEN, "image/png")]).run()
        assert "Neither has an answer." in shown(app)
        assert len(app.error) == 2


def test_without_a_backend_the_page_says_how_to_start_it(start: Start) -> None:
    app = opened(start, f"http://127.0.0.1:{free_port()}")
    assert "is not reachable at" in shown(app)
    assert "`make run`" in app.error[0].value
