"""The Evaluate page without a browser, against a real backend."""

import json
from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from tests.client.fake_server import FakeResponse, serving
from tests.conftest import free_port
from tests.frontend.app import (
    click,
    is_heading_revealed,
    models_response,
    page_text,
    wait_for_jobs,
)
from tests.frontend.conftest import OpenPage
from tests.images import SEVEN, sevens, zipped

EVALUATE = "views/evaluate/page.py"


def open_page(start: OpenPage, url: str) -> AppTest:
    return start(url).switch_page(EVALUATE).run()


def upload(app: AppTest, content: bytes, name: str = "digits.zip") -> AppTest:
    app.file_uploader[0].set_value((name, content, "application/zip")).run()
    return wait_for_jobs(app)


def metric(app: AppTest, name: str) -> str:
    return next(one.value for one in app.metric if one.label == name)


def test_dataset_is_evaluated(start: OpenPage, backend_url: str) -> None:
    app = upload(open_page(start, backend_url), sevens(3, labeled_one=1, broken=1))
    assert metric(app, "Accuracy") == "75.00%"
    assert "Handwritten digits on digits.zip" in app.header[0].value.replace("\\", "")
    assert is_heading_revealed(app)
    assert "1 image could not be classified" in page_text(app)
    assert app.dataframe[-1].value["Image"].tolist() == ["7/broken0.png"]
    assert app.dataframe[0].value["Class"].tolist() == ["1", "7"]


def test_zip_inside_an_uploaded_folder_is_ignored(start: OpenPage, backend_url: str) -> None:
    app = open_page(start, backend_url)
    next(one for one in app.radio if one.label == "Labeled images").set_value("Folder").run()
    files = [("digits/7/a.png", SEVEN), ("digits/7/b.png", SEVEN), ("digits/old.zip", sevens(5))]
    app.file_uploader[0].set_value([(name, data, "image/png") for name, data in files]).run()
    wait_for_jobs(app)
    assert "Handwritten digits on digits" in app.header[0].value.replace("\\", "")
    assert app.dataframe[0].value["Images"].tolist() == [2]


def test_selected_cell_is_stored_in_the_url(start: OpenPage, backend_url: str) -> None:
    app = upload(open_page(start, backend_url), sevens(3, labeled_one=2))
    next(box for box in app.selectbox if box.label == "True class").select("1").run()
    next(box for box in app.selectbox if box.label == "Predicted class").select("7").run()
    assert "2 images of 1 predicted as 7" in page_text(app)
    assert list(app.query_params["true"]) == ["1"]
    assert list(app.query_params["predicted"]) == ["7"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (zipped({}), "“digits.zip” contains no class folders with images"),
        (b"not a zip", "“digits.zip” is not a readable zip"),
        (zipped({"cat/a.png": SEVEN}), "labels that are unknown to the model: 'cat'"),
        (zipped({"all/digits/a.png": SEVEN}), "the top folder 'all' was not used as a class"),
    ],
)
def test_invalid_dataset_is_reported(
    start: OpenPage, backend_url: str, content: bytes, message: str
) -> None:
    app = upload(open_page(start, backend_url), content)
    assert message in page_text(app)
    assert "upload.zip" not in page_text(app)
    assert "evaluation" not in app.query_params


def test_dataset_of_one_class_is_evaluated(start: OpenPage, backend_url: str) -> None:
    app = upload(open_page(start, backend_url), sevens(4))
    assert metric(app, "Accuracy") == "100.00%"
    assert "All predictions are correct." in [one.value for one in app.success]


def test_unreadable_images_are_listed(start: OpenPage, backend_url: str) -> None:
    app = upload(open_page(start, backend_url), sevens(0, broken=2))
    assert "No labeled image was classified" in page_text(app)
    assert len(app.dataframe[0].value) == 2


def test_another_model_is_evaluated_on_the_same_images(start: OpenPage, backend_url: str) -> None:
    app = upload(open_page(start, backend_url), sevens(3))
    app.sidebar.selectbox[0].select("mnist-mlp").run()
    next(one for one in app.button if one.label.endswith("on the same images")).click().run()
    wait_for_jobs(app)
    assert "dense network on digits.zip" in app.header[0].value.replace("\\", "")
    assert metric(app, "Accuracy") == "100.00%"


def test_upload_waits_for_the_backend(
    start: OpenPage, backend_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = open_page(start, f"http://127.0.0.1:{free_port()}")
    app.file_uploader[0].set_value(("digits.zip", sevens(3), "application/zip")).run()
    assert "Processing starts when the backend is available again." in page_text(app)
    monkeypatch.setenv("BACKEND", backend_url)
    wait_for_jobs(app.run())
    assert metric(app, "Accuracy") == "100.00%"


def test_upload_is_removed_with_the_result(
    start: OpenPage, backend_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    app = upload(open_page(start, backend_url), sevens(3))
    folders = list(tmp_path.glob("prism-*"))
    assert len(folders) == 1
    upload(app, sevens(2))
    assert not folders[0].exists()


def test_example_dataset_is_evaluated_with_one_click(start: OpenPage, backend_url: str) -> None:
    app = wait_for_jobs(click(open_page(start, backend_url), "Try an example dataset"))
    assert "Handwritten digits on example-digits.zip" in app.header[0].value.replace("\\", "")
    assert float(metric(app, "Accuracy").rstrip("%")) > 90
    assert "95% interval of the accuracy: 9" in page_text(app)
    assert "from 300 images" in page_text(app)
    intervals = app.dataframe[0].value["95% interval of recall"]
    assert all("% to " in interval for interval in intervals)
    assert "Try an example dataset" not in [button.label for button in app.button]


def test_example_dataset_chooses_a_model_that_has_its_labels(
    start: OpenPage, backend_url: str
) -> None:
    served = json.loads(models_response(photos="image", digits="digit").body)
    served["models"][1]["labels"] = list("0123456789")
    with serving(FakeResponse(json.dumps(served).encode())) as (url, _):
        app = start(url, model="photos").switch_page(EVALUATE).run()
        assert "There is no example for PHOTOS, so it uses DIGITS." in page_text(app)
        app = click(app, "Try an example dataset")
        assert app.query_params["model"] == "digits"


def test_missing_example_dataset_is_explained(start: OpenPage) -> None:
    with serving(models_response(photos="image")) as (url, _):
        app = start(url).switch_page(EVALUATE).run()
        assert "There is no example dataset for PHOTOS: it contains digits." in page_text(app)
        assert "Try an example dataset" not in [button.label for button in app.button]


def test_images_scroll_into_view_only_after_a_choice(start: OpenPage, backend_url: str) -> None:
    app = upload(open_page(start, backend_url), sevens(3, labeled_one=2))
    next(box for box in app.selectbox if box.label == "True class").select("1").run()
    choice = app.session_state["confusion choice"]
    app.run()
    assert app.session_state["confusion choice"] == choice  # no scrolling without a new choice
    app.switch_page("views/draw/page.py").run().switch_page(EVALUATE).run()
    assert "2 images of 1" in page_text(app)
    assert "confusion choice" not in app.session_state


def test_invalid_url_parameters_are_ignored(start: OpenPage, backend_url: str) -> None:
    app = upload(open_page(start, backend_url), sevens(3))
    invalid: dict[str, Any] = {"true": "cat", "predicted": "7", "page": "-1", "diagonal": "?"}
    for name, value in invalid.items():
        app.query_params[name] = value
    app.run()
    assert metric(app, "Accuracy") == "100.00%"
    assert "images of cat" not in page_text(app)
