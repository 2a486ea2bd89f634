"""The Teach page without a browser."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from client import BackendError
from client.history import History
from frontend.datasets.checked_images import is_held_out
from frontend.service import teaching
from tests.client.fake_server import FakeResponse, serving
from tests.frontend.app import SEVEN, click, models_response, page_text, wait_for_jobs
from tests.frontend.conftest import OpenPage
from tests.frontend.views.teach.fakes import FakeRegistry, fake_teach, registry
from tests.images import encoded, seven, zipped

__all__ = ["registry"]

TEACH = "views/teach/page.py"
IMAGES = {
    f"{label}/{i}.png": encoded(seven(60 + 10 * j + i))
    for j, label in enumerate("ab")
    for i in range(3)
}


@pytest.fixture
def backend() -> Iterator[str]:
    """The URL of a backend that serves the photo model and one of digits."""
    with serving(models_response(photos="image", digits="digit")) as (url, _):
        yield url


@pytest.fixture(autouse=True)
def _fake_training(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(teaching, "teach", fake_teach)


def open_page(start: OpenPage, url: str, **query: str) -> AppTest:
    return start(url, **query).switch_page(TEACH).run()


def choose_source(app: AppTest, name: str) -> AppTest:
    app.segmented_control(key="teach source").set_value(name)
    return app.run()


def add_class(app: AppTest, label: str) -> AppTest:
    """Type the name of a class; AppTest accepts only options of a select box."""
    box = app.selectbox(key="teach class choice")
    box.options.append(label)
    return box.set_value(label).run()


def upload_zip(app: AppTest, content: bytes) -> AppTest:
    app = choose_source(app, "Zip or folder")
    app.file_uploader[0].set_value(("letters.zip", content, "application/zip"))
    return app.run()


def taught(start: OpenPage, url: str, files: dict[str, bytes] = IMAGES) -> AppTest:
    app = upload_zip(open_page(start, url), zipped(files))
    return wait_for_jobs(app.button(key="teach").click().run())


def test_example_becomes_a_served_model_with_a_curl_command(
    start: OpenPage, backend: str, registry: FakeRegistry
) -> None:
    app = wait_for_jobs(click(open_page(start, backend), "Try with example images"))
    assert "Report of example" in page_text(app)
    app = click(app, "Serve this model")
    assert "The model example is served: version 1, 2 classes." in app.success[0].value.replace(
        "\\", ""
    )
    assert f"'{backend}/classify?model=example&probabilities=false'" in app.code[0].value
    assert registry.active == 1


def test_zip_of_class_folders_is_taught(start: OpenPage, backend: str) -> None:
    app = upload_zip(open_page(start, backend), zipped(IMAGES))
    assert "Added 6 images from letters.zip." in page_text(app)
    assert "2 classes, 6 images." in page_text(app)
    text = page_text(wait_for_jobs(app.button(key="teach").click().run()))
    assert "95% interval of the accuracy" in text
    assert "Too few images for a promise" in text
    assert "Most common mistakes: a predicted as b (1)" in text
    assert "notes.txt" in text


def test_images_are_added_class_by_class(start: OpenPage, backend: str) -> None:
    app = open_page(start, backend)
    assert not app.file_uploader  # until the class has a name
    for label, first in (("ant", 1), (" bee ", 5)):
        add_class(app, label)
        files = [(f"{i}.png", encoded(seven(60 + first + i)), "image/png") for i in range(2)]
        app.file_uploader[0].set_value(files)
        app.run()
    text = page_text(app)
    assert "2 classes, 4 images." in text
    assert "bee: 2 images" in text
    assert not app.button(key="teach").disabled


def test_checked_images_of_the_history_are_added(
    start: OpenPage, backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    exported = {"unlabeled/x.png": SEVEN}
    monkeypatch.setattr(History, "export", lambda *_, **__: iter([zipped(exported)]))
    app = click(choose_source(open_page(start, backend), "History"), "Add checked images")
    assert "The history has no checked images of photos." in page_text(app)
    exported |= IMAGES
    assert "Added 6 images from the history" in page_text(click(app, "Add checked images"))


def test_missing_images_are_named(start: OpenPage, backend: str) -> None:
    app = upload_zip(
        open_page(start, backend), zipped({"a/1.png": SEVEN, "b/2.png": IMAGES["a/1.png"]})
    )
    assert app.button(key="teach").disabled
    assert "Each class needs at least 2 images: add some to “a”, “b”." in page_text(app)


def test_relabeled_image_is_used_when_taught_again(start: OpenPage, backend: str) -> None:
    app = taught(start, backend)
    assert "labeled “a” (4%), predicted “b”" in page_text(app)
    app = click(app, "It is b")
    assert "Moved to b." in page_text(app)
    assert "The images have changed. Teach again" in page_text(app)
    app = wait_for_jobs(click(app, "Teach again"))
    assert "The images have changed" not in page_text(app)
    assert "2 classes, 6 images." in page_text(app)


def test_suspect_is_removed(start: OpenPage, backend: str) -> None:
    app = click(taught(start, backend), "Remove")
    assert "2 classes, 5 images." in page_text(app)
    assert "Probably mislabeled" not in page_text(app)


def test_class_is_renamed_and_removed(start: OpenPage, backend: str) -> None:
    app = upload_zip(open_page(start, backend), zipped(IMAGES))
    app.button(key="class 0").click().run()
    assert "a: 3 images" in page_text(app)
    app.text_input(key="name of a").set_value("ant").run()
    assert "ant: 3 images" in page_text(app)
    app = click(app, "Remove class")
    assert "1 class, 3 images." in page_text(app)


def test_error_of_training_is_shown_and_images_are_kept(start: OpenPage, backend: str) -> None:
    app = taught(
        start, backend, {name.replace("b/", "broken/"): one for name, one in IMAGES.items()}
    )
    assert "The class “broken” has no readable image. Add some." in page_text(app)
    assert "2 classes, 6 images." in page_text(app)


def test_result_is_found_again_after_a_reload(start: OpenPage, backend: str) -> None:
    app = taught(start, backend)
    query = {name: app.query_params[name] for name in ("classes", "teaching")}
    text = page_text(open_page(start, backend, **query))
    assert "Report of my-model" in text
    assert "2 classes, 6 images." in text


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("digits", "The name digits belongs to a model of this service."),
        ("auto", "The name auto belongs to a model of this service."),
        ("ä/b", "Use a name of lower-case letters"),
    ],
)
def test_unusable_name_is_rejected(start: OpenPage, backend: str, name: str, message: str) -> None:
    app = upload_zip(open_page(start, backend), zipped(IMAGES))
    app.text_input(key="teach name").set_value(name).run()
    assert message in page_text(app)
    assert app.button(key="teach").disabled


def test_name_is_turned_into_one_that_the_url_can_contain(start: OpenPage, backend: str) -> None:
    app = upload_zip(open_page(start, backend), zipped(IMAGES))
    app.text_input(key="teach name").set_value(" Ants and Bees ").run()
    assert app.text_input(key="teach name").value == "ants-and-bees"


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (BackendError(status=401, code="key_missing"), "PRISM_MODELS_OPEN=true"),
        (BackendError(status=403, code="scope_missing"), "Add the scope `models`"),
        (
            BackendError(status=409, code="reserved", detail="The name is taken. Choose another."),
            "The name is taken. Choose another.",
        ),
    ],
)
def test_refused_upload_is_explained(
    start: OpenPage, backend: str, registry: FakeRegistry, error: BackendError, message: str
) -> None:
    registry.error = error
    app = click(taught(start, backend), "Serve this model")
    assert message.replace("`", "") in page_text(app).replace("`", "").replace("  \n", " ")
    registry.error = None
    assert click(app, "Serve this model").success


def test_backend_without_the_photo_model_is_explained(start: OpenPage) -> None:
    with serving(models_response(digits="digit")) as (url, _):
        app = open_page(start, url)
        assert "does not serve the model photos" in page_text(app)
        assert "Try with example images" not in [button.label for button in app.button]


def test_stopped_training_keeps_the_images_and_is_found_after_a_reload(
    start: OpenPage, backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def teach(*arguments: Any) -> None:
        arguments[4].stop.wait()
        raise teaching.TeachingCanceledError

    monkeypatch.setattr(teaching, "teach", teach)
    app = upload_zip(open_page(start, backend), zipped(IMAGES))
    app.button(key="teach").click().run()
    query = {name: app.query_params[name] for name in ("classes", "teaching")}
    reloaded = open_page(start, backend, **query)
    assert reloaded.button(key="teach").disabled
    text = page_text(wait_for_jobs(click(reloaded, "Stop")))
    assert "Teaching was stopped. The images were kept." in text
    assert "2 classes, 6 images." in text


def test_new_version_of_a_served_model_can_be_stored_only(
    start: OpenPage, registry: FakeRegistry
) -> None:
    body = json.loads(models_response(photos="image", letters="image").body)
    body["models"][1]["taught"] = True
    registry.put_model("letters", {"labels": ["a", "b"]}, b"", reason=None)
    with serving(FakeResponse(json.dumps(body).encode())) as (url, _):
        app = upload_zip(open_page(start, url, name="letters"), zipped(IMAGES))
        app = click(wait_for_jobs(app.button(key="teach").click().run()), "Store only")
        message = app.success[0].value.replace("\\", "")
        assert "Version 2 of letters is stored. It is not served yet." in message
    assert registry.active == 1


def test_checked_images_of_a_taught_model_leave_out_the_held_out_ones(
    start: OpenPage, registry: FakeRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = json.loads(models_response(photos="image", letters="image").body)
    body["models"][1]["taught"] = True
    registry.put_model("letters", {"labels": ["a", "b"]}, b"", reason=None)
    files = {f"{'ab'[n % 2]}/{n}.png": encoded(seven(40 + n)) for n in range(30)}
    kept = sum(is_held_out(content) for content in files.values())
    assert kept
    monkeypatch.setattr(History, "export", lambda *_, **__: iter([zipped(files)]))
    with serving(FakeResponse(json.dumps(body).encode())) as (url, _):
        app = click(choose_source(open_page(start, url), "History"), "Add checked images")
        assert f"Added {30 - kept} images from the history" in page_text(app)
        assert f"kept to compare versions: {kept}." in page_text(app)
