"""The page Evaluate without a browser, against a real backend."""

from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from tests.conftest import free_port
from tests.frontend.app import shown
from tests.frontend.conftest import Start
from tests.labelled import SEVEN, sevens, zipped

EVALUATE = "views/evaluate/page.py"


def opened(start: Start, url: str) -> AppTest:
    return start(url).switch_page(EVALUATE).run()


def upload(app: AppTest, content: bytes, name: str = "digits.zip") -> AppTest:
    app.file_uploader[0].set_value((name, content, "application/zip")).run()
    return finished(app)


def finished(app: AppTest) -> AppTest:
    """Run the page until the work has ended."""
    while any(button.label == "Stop" for button in app.button):
        app.run()
    return app


def metric(app: AppTest, name: str) -> str:
    return next(one.value for one in app.metric if one.label == name)


def test_labelled_pictures_are_measured(start: Start, backend_url: str) -> None:
    app = upload(opened(start, backend_url), sevens(3, called_one=1, broken=1))
    assert metric(app, "Accuracy") == "75.00 %"
    assert "Handwritten digits on digits.zip" in app.header[0].value.replace("\\", "")
    assert "1 picture could not be classified" in shown(app)
    assert app.dataframe[-1].value["Picture"].tolist() == ["7/broken0.png"]
    assert app.dataframe[0].value["Class"].tolist() == ["1", "7"]


def test_a_zip_that_lies_in_a_folder_is_not_the_folder(start: Start, backend_url: str) -> None:
    app = opened(start, backend_url)
    next(one for one in app.radio if one.label == "Labelled pictures").set_value("A folder").run()
    files = [("digits/7/a.png", SEVEN), ("digits/7/b.png", SEVEN), ("digits/old.zip", sevens(5))]
    app.file_uploader[0].set_value([(name, data, "image/png") for name, data in files]).run()
    finished(app)
    assert "Handwritten digits on digits" in app.header[0].value.replace("\\", "")
    assert app.dataframe[0].value["Pictures"].tolist() == [2]


def test_a_cell_is_chosen_in_two_boxes_and_kept_in_the_address(
    start: Start, backend_url: str
) -> None:
    app = upload(opened(start, backend_url), sevens(3, called_one=2))
    next(box for box in app.selectbox if box.label == "True class").select("1").run()
    next(box for box in app.selectbox if box.label == "Predicted as").select("7").run()
    assert "2 pictures of 1 predicted 7" in shown(app)
    assert list(app.query_params["true"]) == ["1"]
    assert list(app.query_params["predicted"]) == ["7"]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (zipped({}), "“digits.zip” holds no class folders with pictures"),
        (b"not a zip", "“digits.zip” is not a zip that can be read"),
        (zipped({"cat/a.png": SEVEN}), "does not know these labels of the data: 'cat'; it knows"),
        (zipped({"all/digits/a.png": SEVEN}), "the folder 'all' above these was passed over"),
    ],
)
def test_data_that_cannot_be_measured_is_told_in_words(
    start: Start, backend_url: str, content: bytes, says: str
) -> None:
    app = upload(opened(start, backend_url), content)
    assert says in shown(app)
    assert "upload.zip" not in shown(app)
    assert "evaluation" not in app.query_params


def test_one_class_alone_is_measured(start: Start, backend_url: str) -> None:
    app = upload(opened(start, backend_url), sevens(4))
    assert metric(app, "Accuracy") == "100.00 %"
    assert "Every picture was right." in [one.value for one in app.success]


def test_pictures_none_of_which_can_be_read_are_listed(start: Start, backend_url: str) -> None:
    app = upload(opened(start, backend_url), sevens(0, broken=2))
    assert "No labelled picture has an answer" in shown(app)
    assert len(app.dataframe[0].value) == 2


def test_another_model_is_measured_on_the_same_pictures(start: Start, backend_url: str) -> None:
    app = upload(opened(start, backend_url), sevens(3))
    app.sidebar.selectbox[0].select("mnist-mlp").run()
    next(one for one in app.button if one.label.endswith("on the same pictures")).click().run()
    finished(app)
    assert "dense network on digits.zip" in app.header[0].value.replace("\\", "")
    assert metric(app, "Accuracy") == "100.00 %"


def test_without_a_backend_an_upload_waits_for_it(
    start: Start, backend_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = opened(start, f"http://127.0.0.1:{free_port()}")
    app.file_uploader[0].set_value(("digits.zip", sevens(3), "application/zip")).run()
    assert "as soon as the backend answers" in shown(app)
    monkeypatch.setenv("BACKEND", backend_url)
    finished(app.run())
    assert metric(app, "Accuracy") == "100.00 %"


def test_what_was_uploaded_is_removed_with_the_result(
    start: Start, backend_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    app = upload(opened(start, backend_url), sevens(3))
    kept = list(tmp_path.glob("prism-*"))
    assert len(kept) == 1
    upload(app, sevens(2))
    assert not kept[0].exists()


def test_an_address_with_nonsense_shows_the_result_all_the_same(
    start: Start, backend_url: str
) -> None:
    app = upload(opened(start, backend_url), sevens(3))
    nonsense: dict[str, Any] = {"true": "cat", "predicted": "7", "page": "-1", "diagonal": "?"}
    for name, value in nonsense.items():
        app.query_params[name] = value
    app.run()
    assert metric(app, "Accuracy") == "100.00 %"
    assert "pictures of cat" not in shown(app)
