"""The Classify page against a real backend, without a browser."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from client import Client
from frontend.datasets import archives, image_upload, kept_selections
from frontend.state import store_settings
from frontend.state.jobs import BusyError, Jobs
from frontend.ui.formatting import JOINER
from tests.client.fake_server import FakeResponse, serving
from tests.conftest import free_port
from tests.frontend.app import (
    APP,
    CLASSIFICATION_JSON,
    CLASSIFY,
    DRAW,
    SEVEN,
    click,
    models_response,
    page_text,
    upload_files,
    wait_for_jobs,
    zip_of_sevens,
    zipped,
)
from tests.frontend.conftest import OpenPage
from tests.images import encoded, noise, seven


def show_as(app: AppTest, view: str) -> AppTest:
    """Choose the view of many results."""
    control = next(one for one in app.segmented_control if one.label == "View")
    return control.set_value(view).run()


def captions_of_tiles(app: AppTest) -> list[str]:
    return [button.label for button in app.button if (button.key or "").startswith("tile ")]


def selection_token(app: AppTest) -> str:
    token = app.query_params["pictures"]
    return token if isinstance(token, str) else token[0]  # a list after an event


def test_uploaded_image_is_classified(start: OpenPage, backend_url: str) -> None:
    app = upload_files(start(backend_url), ("seven.png", SEVEN))
    assert app.header[0].value.startswith(r"7\, ")
    assert "seven.png" in page_text(app)
    assert "Decoding" in page_text(app)


def test_bad_images_fail_alone(start: OpenPage, backend_url: str) -> None:
    files = ("a.png", SEVEN), ("broken.png", SEVEN[:90]), ("notes.png", b"text"), ("b.png", SEVEN)
    app = upload_files(start(backend_url), *files)
    assert len(app.header) == 2
    assert len(app.error) == 2
    assert "4 images: 2 recognized, 2 unreadable." in page_text(app)
    assert "broken.png" in page_text(app)
    assert "This is a text file" in page_text(app)


def test_page_says_what_a_file_is_that_is_no_image(start: OpenPage, backend_url: str) -> None:
    pdf = b"%PDF-1.7 "
    app = upload_files(start(backend_url), ("scan.pdf", pdf))
    assert "This is a PDF." in page_text(app)
    assert "Export the page as PNG or JPEG." in page_text(app)
    app = upload_files(start(backend_url), ("a.png", SEVEN), ("scan.pdf", pdf), ("b.png", SEVEN))
    assert len(app.header) == 2
    assert "This is a PDF." in page_text(app)
    archive = zipped(**{"a.png": SEVEN, "scan.pdf": pdf, "notes.txt": b"not shown"})
    app = upload_files(start(backend_url), ("mine.zip", archive))
    assert "This is a PDF." in page_text(app)
    assert "notes.txt" not in page_text(app)


def test_clear_removes_the_result(start: OpenPage, backend_url: str) -> None:
    app = upload_files(start(backend_url), ("seven.png", SEVEN))
    click(app, "Clear")
    assert not app.header
    assert not app.exception


def test_replaced_and_cleared_images_are_deleted_from_the_store(
    start: OpenPage, backend_url: str, tmp_path: Path
) -> None:
    def is_stored(token: str) -> bool:
        kept_selections.wait()
        return kept_selections.find(token) is not None

    store_settings.start({"PRISM_PAGE_STORE": f"sqlite:///{tmp_path / 'page.db'}"})
    try:
        app = upload_files(start(backend_url), ("seven.png", SEVEN))
        first = selection_token(app)
        assert is_stored(first)
        upload_files(app, ("seven.png", SEVEN), ("second.png", SEVEN))
        second = selection_token(app)
        assert is_stored(second)
        assert not is_stored(first)
        click(app, "Clear")
        assert not is_stored(second)
    finally:
        store_settings.start({})


def test_file_name_is_not_rendered_as_markdown(start: OpenPage, backend_url: str) -> None:
    app = upload_files(start(backend_url), ("**:red[x]**.png", SEVEN))
    shown_as = [caption.value.replace(JOINER, "") for caption in app.caption]
    assert r"\*\*\:red\[x\]\*\*\.png" in shown_as


def test_rerun_sends_no_second_request(
    start: OpenPage, backend_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    requests: list[str] = []
    classify = Client.classify

    def record(self: Client, image: bytes, **options: Any) -> Any:
        requests.append(options["filename"])
        return classify(self, image, **options)

    monkeypatch.setattr(Client, "classify", record)
    app = upload_files(start(backend_url), ("seven.png", SEVEN))
    app.run()
    app.run()
    assert requests == ["seven.png"]


def test_result_persists_across_pages(start: OpenPage, backend_url: str) -> None:
    app = upload_files(start(backend_url), ("seven.png", SEVEN))
    app.switch_page(DRAW).run()
    assert "The prediction appears here." in page_text(app)
    app.switch_page(CLASSIFY).run()
    assert "seven.png" in page_text(app)


def test_calibrated_model_shows_the_prediction_set_at_the_chosen_coverage(
    start: OpenPage, calibrated_url: str
) -> None:
    app = upload_files(start(calibrated_url), ("seven.png", SEVEN))
    assert app.sidebar.radio[0].options == ["90%", "95%", "99%"]
    assert "7 (95% coverage)" in page_text(app)
    app.sidebar.radio[0].set_value(0.99).run()
    assert " (99% coverage)" in page_text(app)
    assert "include the right one for about 99 of 100 images" in page_text(app)
    assert "within 0.2 points (test set)" in page_text(app)


def test_out_of_distribution_image_has_no_prediction_set(
    start: OpenPage, calibrated_url: str
) -> None:
    app = upload_files(start(calibrated_url), ("noise.png", encoded(noise())))
    assert app.header[0].value == "Not a digit"
    assert "This image does not show one of the model's classes." in page_text(app)
    assert "Closest labels. None of them is a prediction." in page_text(app)
    components = [json.loads(one.proto.json) for one in app.get("bidi_component")]
    (bars,) = (one for one in components if "rows" in one)
    assert bars["muted"]
    assert {row["text"] for row in bars["rows"]} == {""}
    assert "% coverage)" not in page_text(app)


REJECTED_JSON = CLASSIFICATION_JSON.replace(b'"stored"', b'"in_distribution": false, "stored"')


def test_rejected_image_offers_the_other_model(start: OpenPage) -> None:
    models = models_response(digits="digit", photos="image")
    with serving(models, classify=FakeResponse(REJECTED_JSON)) as (url, _):
        app = upload_files(start(url), ("cat.png", encoded(noise())))
        assert "Crop the image to one digit, or choose another image." in page_text(app)
    models.body = models.body.replace(b'["0", "1"]', b'["cat", "dog"]', 1)
    with serving(models, classify=FakeResponse(REJECTED_JSON)) as (url, _):
        app = upload_files(start(url), ("cat.png", encoded(noise())))
        assert app.header[0].value == "Not a digit"
        click(app, "Try PHOTOS")
        assert app.sidebar.selectbox[0].value == "photos"
        assert r"does not show one of the model\'s classes" in app.header[0].value


def test_rejected_images_are_counted_and_have_no_prediction(
    start: OpenPage, calibrated_url: str
) -> None:
    files = ("a.png", SEVEN), ("noise.png", encoded(noise()))
    app = upload_files(start(calibrated_url), *files)
    assert "2 images: 1 recognized, 1 not of the model's classes." in page_text(app)
    table = show_as(app, "Table").dataframe[0].value
    assert table["prediction"].isna().tolist() == [False, True]
    assert list(table["in distribution"]) == ["yes", "no"]
    show_as(app, "Grid")
    assert captions_of_tiles(app)[0].startswith(r"7\, ")
    assert captions_of_tiles(app)[1] == "Not a digit"


def test_thumbnails_are_sorted_and_open_the_result(start: OpenPage, backend_url: str) -> None:
    files = {name: encoded(seven(60)) for name in ("img10.png", "img2.png")}
    app = show_as(upload_files(start(backend_url), *files.items()), "Grid")
    names = [caption.value.replace("\\", "") for caption in app.caption]
    assert names.index("img2.png") < names.index("img10.png")
    assert not app.header
    next(button for button in app.button if button.key == "tile 0").click().run()
    assert app.header[0].value.startswith(r"7\, ")
    assert any("img2.png" in code.value for code in app.code)


def test_code_names_the_file_and_the_chosen_model(start: OpenPage, backend_url: str) -> None:
    app = upload_files(start(backend_url, model="mnist-tree"), ("my seven.png", SEVEN))
    curl, python = (code.value for code in app.code)
    assert '"my seven.png"' in curl
    assert f"{backend_url}/classify?model=mnist-tree&probabilities=false" in curl
    assert '"my seven.png"' in python


def test_zip_is_classified_in_the_background_and_a_bad_image_fails_alone(
    start: OpenPage, backend_url: str
) -> None:
    files = {f"digits/{i:02d}.png": encoded(seven(60 + i)) for i in range(20)}
    content = zipped(**files, **{"digits/broken.png": SEVEN[:90]})
    app = wait_for_jobs(upload_files(start(backend_url), ("digits.zip", content)))
    assert len(captions_of_tiles(app)) == 21
    show_as(app, "Table")
    assert "21 images: 20 recognized, 1 unreadable." in page_text(app)
    table = app.dataframe[0].value
    assert list(table["name"]) == [*files, "digits/broken.png"]
    assert list(table["prediction"][:20]) == ["7"] * 20
    assert "file ends early" in table["error"][20]
    assert len(show_as(app, "List").header) == 12  # one page of cards


def test_filter_narrows_the_results(start: OpenPage, backend_url: str) -> None:
    app = upload_files(start(backend_url), ("a.png", SEVEN), ("broken.png", SEVEN[:90]))
    chooser = app.segmented_control(key="filter")
    assert [option.content for option in chooser.proto.options] == [
        "All (2)",
        "Failed (1)",
    ]
    chooser.set_value("failed").run()
    show_as(app, "Table")
    assert list(app.dataframe[0].value["name"]) == ["broken.png"]
    assert not app.header


def test_rejected_zip_is_reported_and_other_files_are_classified(
    start: OpenPage, backend_url: str
) -> None:
    app = upload_files(
        start(backend_url), ("evil.zip", zipped(**{"../a.png": SEVEN})), ("b.png", SEVEN)
    )
    assert "evil.zip was rejected: '../a.png' leads out of the zip." in page_text(app)
    assert app.header[0].value.startswith(r"7\, ")


def test_reload_restores_the_images_and_their_results(
    start: OpenPage, backend_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = upload_files(start(backend_url), ("seven.png", SEVEN)).query_params["pictures"]
    monkeypatch.setattr(Client, "classify", None)  # no second request
    again = AppTest.from_file(str(APP), default_timeout=30)
    again.query_params["pictures"] = token
    assert "seven.png" in page_text(again.run())
    assert "7, " in page_text(again)


def test_expired_selection_is_reported(start: OpenPage, backend_url: str) -> None:
    app = start(backend_url)
    app.query_params["pictures"] = "gone"
    assert "These images have expired." in page_text(app.run())


def test_prediction_is_confirmed_and_undone(start: OpenPage, backend_url: str) -> None:
    app = upload_files(start(backend_url), ("seven.png", encoded(seven(91))))
    click(app, "Correct")
    assert "Marked correct" in page_text(app)
    with Client(backend_url) as client:
        (stored, *_) = client.history.page().items
        assert stored.correction == "7"
        click(app, "Undo")
        assert client.history.get(stored.id).correction is None
    assert "Marked correct" not in page_text(app)
    assert "Correct" in [button.label for button in app.button]


def test_closed_history_is_reported_and_the_result_stays(
    start: OpenPage, calibrated_url: str
) -> None:
    app = click(upload_files(start(calibrated_url), ("seven.png", SEVEN)), "Correct")
    assert "The frontend does not have access to the backend's history." in page_text(app)
    assert "Set BACKEND_API_KEY" in page_text(app)
    assert "7, " in page_text(app)


def test_unstored_classification_has_no_feedback_buttons(start: OpenPage) -> None:
    with serving(models_response(first="digit"), classify=FakeResponse(CLASSIFICATION_JSON)) as (
        url,
        _,
    ):
        app = upload_files(start(url), ("seven.png", SEVEN))
        assert "1, 90% confidence" in page_text(app)
        assert "Correct" not in [button.label for button in app.button]


def test_busy_backend_is_reported_with_a_countdown(start: OpenPage) -> None:
    busy = FakeResponse(b'{"status": 429, "code": "queue_full"}', 429, {"Retry-After": "7"})
    with serving(models_response(first="digit"), classify=busy) as (url, requests):
        app = upload_files(start(url), ("seven.png", SEVEN))
        assert "The backend is busy." in page_text(app)
        assert "Try again" in [button.label for button in app.button]
        countdowns = [one.proto for one in app.get("bidi_component")]
        assert [json.loads(one.json)["seconds"] for one in countdowns if "seconds" in one.json] == [
            7
        ]
        assert requests


def test_result_stays_while_the_backend_is_unreachable(
    start: OpenPage, backend_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = upload_files(start(backend_url), ("seven.png", SEVEN))
    monkeypatch.setenv("BACKEND", f"http://127.0.0.1:{free_port()}")
    app.run()
    assert "not reachable" in page_text(app)
    assert "7, " in page_text(app)


def test_another_model_classifies_the_same_images(start: OpenPage, backend_url: str) -> None:
    app = upload_files(start(backend_url), ("a.png", SEVEN), ("b.png", SEVEN))
    app.sidebar.selectbox[0].select("mnist-tree").run()
    assert len(app.header) == 2
    assert "2 images: 2 recognized." in page_text(app)


def test_correction_is_in_the_table_and_can_be_changed(start: OpenPage, backend_url: str) -> None:
    files = ("a.png", encoded(seven(93))), ("b.png", encoded(seven(94)))
    app = upload_files(start(backend_url), *files)
    for label in ("4", "9"):
        click(app, "Other label")
        next(box for box in app.main.selectbox if box.label == "Right label").select(label).run()
        assert f"Corrected to {label}" in page_text(app)
        assert show_as(app, "Table").dataframe[0].value["correction"][0] == label
        click(show_as(app, "List"), "Undo")


def test_another_model_classifies_many_images_again(start: OpenPage, backend_url: str) -> None:
    files = {f"{i:02d}.png": encoded(seven(60 + i)) for i in range(20)}
    app = wait_for_jobs(upload_files(start(backend_url), ("digits.zip", zipped(**files))))
    app.sidebar.selectbox[0].select("mnist-tree").run()
    assert "20 images: 20 recognized." in page_text(wait_for_jobs(app))
    with Client(backend_url) as client:
        stored = client.history.page(limit=20).items
    assert {one.model.name for one in stored} == {"mnist-tree"}


def test_images_wait_while_the_server_runs_too_many_jobs(
    start: OpenPage, backend_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def busy(*_: object) -> None:
        raise BusyError

    files = {f"{i:02d}.png": encoded(seven(60 + i)) for i in range(20)}
    with monkeypatch.context() as patch:
        patch.setattr(Jobs, "start", busy)
        app = upload_files(start(backend_url), ("digits.zip", zipped(**files)))
        assert "20 images are not classified yet." in page_text(app)
    click(app, "Continue")
    assert "20 images: 20 recognized." in page_text(wait_for_jobs(app))


def test_uploads_release_their_memory(
    start: OpenPage, backend_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    released: list[str] = []
    release = image_upload.release_memory

    def record(files: Sequence[Any]) -> None:
        released.extend(file.name for file in files)
        release(files)

    monkeypatch.setattr(image_upload, "release_memory", record)
    app = upload_files(start(backend_url), ("seven.png", SEVEN), ("digits.zip", zipped(a=SEVEN)))
    assert released == ["seven.png", "digits.zip"]
    app.run()
    assert "seven.png" in page_text(app)


def test_many_results_stay_while_the_backend_is_unreachable(
    start: OpenPage, backend_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = wait_for_jobs(upload_files(start(backend_url), zip_of_sevens(220)))
    monkeypatch.setenv("BACKEND", f"http://127.0.0.1:{free_port()}")
    assert "20 images: 20 recognized." in page_text(app.run())


def test_too_many_zips_are_rejected(
    start: OpenPage, backend_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archives, "MAX_ZIPS", 1)
    app = start(backend_url)
    upload_files(app, zip_of_sevens(1), ("more.zip", zip_of_sevens(2)[1]))
    assert "The upload has 2 zips; the limit is 1." in page_text(app)
    assert "recognized" not in page_text(app)
