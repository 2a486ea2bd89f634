"""The pages with a multi-label model, against a real backend."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import run_backend
from tests.frontend.app import page_text, upload_files, wait_for_jobs
from tests.frontend.conftest import OpenPage
from tests.images import zipped
from tests.sigmoid_models import color, write_model


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder: Path = tmp_path_factory.mktemp("multi-label")
    write_model(folder / "models", title="Colors")
    with run_backend(PRISM_MODELS_DIR=str(folder / "models"), PRISM_HISTORY_OPEN="true") as url:
        yield url


def test_labels_above_their_thresholds_are_shown(start: OpenPage, url: str) -> None:
    app = upload_files(start(url), ("pink.png", color(1, 0, 0.9)))
    assert not app.exception
    assert app.header[0].value.replace("\\", "") == "“red” (98%) and “blue” (96%)"
    text = page_text(app)
    assert "An image may have several labels" in text
    assert "coverage" not in text
    assert not any(button.label == "Correct" for button in app.button)


def test_image_without_labels_says_so(start: OpenPage, url: str) -> None:
    app = upload_files(start(url), ("black.png", color(0, 0, 0)))
    assert app.header[0].value == "No label reaches its threshold"
    assert "The most probable label is" in page_text(app)


def test_several_images_are_listed_with_all_labels(start: OpenPage, url: str) -> None:
    files = (("a.png", color(1, 0, 0.9)), ("b.png", color(0, 0, 0)))
    app = wait_for_jobs(upload_files(start(url), *files))
    view = next(one for one in app.segmented_control if one.label == "View")
    table = view.set_value("Table").run().dataframe[0].value
    assert not app.exception
    assert table["prediction"].iloc[0] == "red; blue"
    assert table["prediction"].isna().tolist() == [False, True]


def test_sets_of_labels_are_evaluated(start: OpenPage, url: str) -> None:
    files = {
        "red;blue/1.png": color(1, 0, 1),
        "green/2.png": color(0, 1, 0),
        "green/3.png": color(0.9, 1, 0),
        "no_labels/4.png": color(0, 0, 0),
    }
    app = start(url).switch_page("views/evaluate/page.py").run()
    app.file_uploader[0].set_value(("colors.zip", zipped(files), "application/zip")).run()
    wait_for_jobs(app)
    assert not app.exception
    values = {metric.label: metric.value for metric in app.metric}
    assert values["Exact match"] == "75.00%"
    assert values["Mean average precision"] == "1.0000"
    table = app.dataframe[0].value
    assert table["Label"].tolist() == ["red", "green", "blue"]
    assert table["Images"].tolist() == [1, 2, 1]
    assert table["Precision"].tolist() == [0.5, 1, 1]


def test_model_is_not_compared(start: OpenPage, url: str) -> None:
    app = start(url).switch_page("views/compare/page.py").run()
    assert not app.exception
    assert not app.selectbox or all(box.label != "Model A" for box in app.selectbox)


def test_history_lists_all_labels(start: OpenPage, url: str) -> None:
    upload_files(start(url), ("violet.png", color(0.95, 0, 1)))
    app = start(url).switch_page("views/history/page.py").run()
    assert not app.exception
    assert "“blue”** (98%), **“red” (97%)".replace("*", "") in page_text(app).replace("*", "")
