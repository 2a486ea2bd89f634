"""The Compare page without a browser."""

import json
import re

from streamlit.testing.v1 import AppTest

from frontend import examples
from tests.client.fake_server import FakeResponse, serving
from tests.conftest import free_port
from tests.frontend.app import (
    SEVEN,
    click,
    is_heading_revealed,
    models_response,
    page_text,
    wait_for_jobs,
)
from tests.frontend.conftest import OpenPage
from tests.images import sevens, zipped

COMPARE = "views/compare/page.py"


def open_page(start: OpenPage, url: str) -> AppTest:
    return start(url).switch_page(COMPARE).run()


def select_dataset(app: AppTest) -> AppTest:
    next(one for one in app.radio if one.label == "Compare on").set_value("set")
    return app.run()


def test_single_model_shows_how_to_add_another(start: OpenPage) -> None:
    with serving(models_response(only="digit")) as (url, _):
        app = open_page(start, url)
        assert "a comparison needs two" in page_text(app)
        assert "training.package" in page_text(app)
        assert not app.exception


def test_failed_model_is_reported(start: OpenPage) -> None:
    with serving(models_response(good="digit", bad="failed")) as (url, _):
        app = open_page(start, url)
        assert "The model BAD could not be loaded." in page_text(app)


def test_different_labels_are_listed(start: OpenPage) -> None:
    served = json.loads(models_response(first="digit", second="digit").body)
    served["models"][1]["labels"] = ["cat", "1"]
    with serving(FakeResponse(json.dumps(served).encode())) as (url, _):
        app = open_page(start, url)
        assert "Only FIRST has “0”." in page_text(app)
        assert "Only SECOND has “cat”." in page_text(app)


def test_image_is_classified_by_both_models(start: OpenPage, backend_url: str) -> None:
    app = open_page(start, backend_url)
    app.file_uploader[0].set_value([("seven.png", SEVEN, "image/png")]).run()
    assert "The models agree: 7." in page_text(app)
    assert page_text(app).count("% confidence") == 2


def test_image_of_no_class_has_advice_instead_of_probabilities(
    start: OpenPage, backend_url: str
) -> None:
    app = open_page(start, backend_url)
    cat = examples.load("image")[0]
    app.file_uploader[0].set_value([(cat.name, cat.content, cat.media_type)]).run()
    assert "The models agree: the image shows none of their classes." in page_text(app)
    assert "Choose models with other classes, or choose another image." in page_text(app)
    assert "Largest difference" not in page_text(app)


def test_models_are_compared_on_a_dataset(start: OpenPage, backend_url: str) -> None:
    app = select_dataset(open_page(start, backend_url))
    data = sevens(4, labeled_one=1)
    app.file_uploader[0].set_value(("digits.zip", data, "application/zip")).run()
    wait_for_jobs(app)
    assert [one.value for one in app.metric] == [
        "80.00%", "80.00%", "+0.00 points", "100.00%", "4", "1"
    ]  # fmt: skip
    assert re.search(r"95% interval of B minus A: −[\d.]+ to \+[\d.]+ points", page_text(app))
    assert "Both models are correct on the same images." in page_text(app)


def test_models_are_compared_on_the_example_dataset_with_one_click(
    start: OpenPage, backend_url: str
) -> None:
    app = wait_for_jobs(click(open_page(start, backend_url), "Try an example dataset"))
    assert "A and B on example-digits.zip" in app.header[0].value.replace("\\", "")
    assert "from 300 images" in page_text(app)
    assert is_heading_revealed(app)
    assert app.query_params["on"] == "set"


def test_unknown_labels_are_reported_with_the_model(start: OpenPage, backend_url: str) -> None:
    app = select_dataset(open_page(start, backend_url))
    data = zipped({"cat/a.png": SEVEN})
    app.file_uploader[0].set_value(("pets.zip", data, "application/zip")).run()
    assert "Handwritten digits: the data has labels that are unknown to the model" in page_text(app)


def test_errors_of_both_models_are_shown(start: OpenPage) -> None:
    busy = FakeResponse(b'{"status": 503, "code": "not_ready"}', status=503)
    with serving(models_response(one="digit", two="digit"), classify=busy) as (url, _):
        app = open_page(start, url)
        app.file_uploader[0].set_value([("seven.png", SEVEN, "image/png")]).run()
        assert "Neither model classified the image." in page_text(app)
        assert len(app.error) == 2


def test_unreachable_backend_shows_how_to_start_it(start: OpenPage) -> None:
    app = open_page(start, f"http://127.0.0.1:{free_port()}")
    assert "is not reachable at" in page_text(app)
    assert "`make run`" in app.error[0].value
