"""The page Classify without a browser, against a real backend."""

import json
from collections.abc import Sequence
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from client import Client
from frontend.datasets import image_upload
from frontend.state.jobs import BusyError, Jobs
from frontend.ui.formatting import JOINER
from tests.client.fake_server import FakeResponse, serving
from tests.conftest import free_port
from tests.frontend.app import (
    APP,
    CLASSIFY,
    DRAW,
    ONE,
    SEVEN,
    models,
    press,
    shown,
    twenty,
    until_read,
    upload,
    zipped,
)
from tests.frontend.conftest import Start
from tests.images import encoded, noise, seven


def test_an_uploaded_seven_is_read(start: Start, backend_url: str) -> None:
    app = image_upload(start(backend_url), ("seven.png", SEVEN))
    assert "a 7 (" in app.subheader[0].value.replace("\\", "")
    assert "seven.png" in shown(app)
    assert "Decoded in" in shown(app)


def test_of_several_pictures_a_bad_one_is_a_bad_row(start: Start, backend_url: str) -> None:
    files = ("a.png", SEVEN), ("broken.png", SEVEN[:90]), ("notes.png", b"text"), ("b.png", SEVEN)
    app = image_upload(start(backend_url), *files)
    assert len(app.subheader) == 2
    assert len(app.error) == 2
    assert "2 pictures read, 2 could not be." in shown(app)
    assert "broken.png" in shown(app)
    assert "JPEG, PNG, WebP, BMP or GIF" in shown(app)


def test_clear_takes_the_answer_away(start: Start, backend_url: str) -> None:
    app = image_upload(start(backend_url), ("seven.png", SEVEN))
    press(app, "Clear")
    assert not app.subheader
    assert not app.exception


def test_a_file_name_is_not_markup(start: Start, backend_url: str) -> None:
    app = image_upload(start(backend_url), ("**:red[x]**.png", SEVEN))
    shown_as = [caption.value.replace(JOINER, "") for caption in app.caption]
    assert r"\*\*\:red\[x\]\*\*\.png" in shown_as


def test_what_was_answered_is_not_asked_again(
    start: Start, backend_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    classify = Client.classify

    def counted(self: Client, image: bytes, **options: Any) -> Any:
        asked.append(options["filename"])
        return classify(self, image, **options)

    monkeypatch.setattr(Client, "classify", counted)
    app = image_upload(start(backend_url), ("seven.png", SEVEN))
    app.run()
    app.run()
    assert asked == ["seven.png"]


def test_the_result_is_still_there_after_a_visit_to_another_page(
    start: Start, backend_url: str
) -> None:
    app = image_upload(start(backend_url), ("seven.png", SEVEN))
    app.switch_page(DRAW).run()
    assert "The answer will appear here." in shown(app)
    app.switch_page(CLASSIFY).run()
    assert "seven.png" in shown(app)


def test_a_calibrated_model_promises_labels_for_the_coverage_that_is_chosen(
    start: Start, calibrated_url: str
) -> None:
    app = image_upload(start(calibrated_url), ("seven.png", SEVEN))
    assert app.sidebar.radio[0].options == ["90 %", "95 %", "99 %"]
    assert "A 7, with 95 % coverage." in shown(app)
    app.sidebar.radio[0].set_value(0.99).run()
    assert ": one of these with 99 % coverage." in shown(app)
    assert "hold the right one for about 99 of 100 pictures" in shown(app)
    assert "off by 0.2 points on average" in shown(app)


def test_what_is_no_digit_is_said_to_be_none_and_nothing_is_promised(
    start: Start, calibrated_url: str
) -> None:
    app = image_upload(start(calibrated_url), ("noise.png", encoded(noise())))
    assert app.subheader[0].value.replace("\\", "") == "This does not look like a digit."
    assert "The closest would be a" in shown(app)
    assert "The bars only say which label is closer" in shown(app)
    assert "% coverage" not in shown(app)


def test_a_zip_is_read_in_the_background_and_a_bad_file_is_a_bad_row(
    start: Start, backend_url: str
) -> None:
    files = {f"digits/{i:02d}.png": encoded(seven(60 + i)) for i in range(20)}
    content = zipped(**files, **{"digits/broken.png": SEVEN[:90]})
    app = until_read(image_upload(start(backend_url), ("digits.zip", content)))
    assert "20 pictures read, 1 could not be." in shown(app)
    table = app.dataframe[0].value
    assert list(table["name"]) == [*files, "digits/broken.png"]
    assert list(table["prediction"][:20]) == ["7"] * 20
    assert "damaged" in table["problem"][20]
    assert len(app.subheader) == 12  # one page of cards


def test_only_some_of_the_results_are_shown_where_that_is_asked_for(
    start: Start, backend_url: str
) -> None:
    app = image_upload(start(backend_url), ("a.png", SEVEN), ("broken.png", SEVEN[:90]))
    chooser = app.segmented_control(key="filter")
    assert [option.content for option in chooser.proto.options] == [
        "All (2)",
        "Could not be read (1)",
    ]
    chooser.set_value("bad").run()
    assert list(app.dataframe[0].value["name"]) == ["broken.png"]
    assert not app.subheader


def test_a_zip_that_is_refused_is_told_and_the_page_goes_on(start: Start, backend_url: str) -> None:
    app = image_upload(start(backend_url), ("evil.zip", zipped(**{"../a.png": SEVEN})), ("b.png", SEVEN))
    assert "The zip evil.zip is not opened: '../a.png' leads out of the zip." in shown(app)
    assert "a 7 (" in app.subheader[0].value.replace("\\", "")


def test_a_reload_finds_the_pictures_and_their_answers_again(
    start: Start, backend_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = image_upload(start(backend_url), ("seven.png", SEVEN)).query_params["pictures"]
    monkeypatch.setattr(Client, "classify", None)  # it is not asked again
    again = AppTest.from_file(str(APP), default_timeout=30)
    again.query_params["pictures"] = token
    assert "seven.png" in shown(again.run())
    assert "a 7 (" in shown(again)


def test_pictures_that_are_no_longer_kept_are_said_to_be_gone(
    start: Start, backend_url: str
) -> None:
    app = start(backend_url)
    app.query_params["pictures"] = "gone"
    assert "These pictures are no longer kept here." in shown(app.run())


def test_an_answer_is_confirmed_and_that_is_taken_back(start: Start, backend_url: str) -> None:
    app = image_upload(start(backend_url), ("seven.png", encoded(seven(91))))
    press(app, "It is right")
    assert "Said to be right." in shown(app)
    with Client(backend_url) as client:
        (stored, *_) = client.history.page().items
        assert stored.correction == "7"
        press(app, "Take it back")
        assert client.history.get(stored.id).correction is None
    assert "Said to be" not in shown(app)
    assert "It is right" in [button.label for button in app.button]


def test_a_closed_history_is_told_in_words_and_the_answer_stays(
    start: Start, calibrated_url: str
) -> None:
    app = press(image_upload(start(calibrated_url), ("seven.png", SEVEN)), "It is right")
    assert "The history of this backend is not open to this page." in shown(app)
    assert "Set BACKEND_API_KEY" in shown(app)
    assert "a 7 (" in shown(app)


def test_what_is_not_stored_is_not_offered_for_correction(start: Start) -> None:
    with serving(models(first="digit"), classify=FakeResponse(ONE)) as (url, _):
        app = image_upload(start(url), ("seven.png", SEVEN))
        assert "a 1 (" in shown(app)
        assert "It is right" not in [button.label for button in app.button]


def test_a_busy_backend_is_told_and_asked_again_by_itself(start: Start) -> None:
    busy = FakeResponse(b'{"status": 429, "code": "queue_full"}', 429, {"Retry-After": "7"})
    with serving(models(first="digit"), classify=busy) as (url, asked):
        app = image_upload(start(url), ("seven.png", SEVEN))
        assert "The backend is busy." in shown(app)
        assert "Try again" in [button.label for button in app.button]
        countdowns = [one.proto for one in app.get("bidi_component")]
        assert [json.loads(one.json)["seconds"] for one in countdowns if "seconds" in one.json] == [
            7
        ]
        assert asked


def test_answers_stay_while_the_backend_is_away(
    start: Start, backend_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = image_upload(start(backend_url), ("seven.png", SEVEN))
    monkeypatch.setenv("BACKEND", f"http://127.0.0.1:{free_port()}")
    app.run()
    assert "not reachable" in shown(app)
    assert "a 7 (" in shown(app)


def test_another_model_is_asked_about_the_same_pictures(start: Start, backend_url: str) -> None:
    app = image_upload(start(backend_url), ("a.png", SEVEN), ("b.png", SEVEN))
    app.sidebar.selectbox[0].select("mnist-tree").run()
    assert len(app.subheader) == 2
    assert "2 pictures read." in shown(app)


def test_a_correction_is_in_the_table_and_can_be_changed(start: Start, backend_url: str) -> None:
    files = ("a.png", encoded(seven(93))), ("b.png", encoded(seven(94)))
    app = press(image_upload(start(backend_url), *files), "Wrong? Correct it")
    assert next(button for button in app.button if button.label == "Save").disabled
    app.main.selectbox[0].select("4").run()
    press(app, "Save")
    assert "Said to be a 4." in shown(app)
    assert app.dataframe[0].value["corrected to"][0] == "4"
    press(app, "Change it")
    app.main.selectbox[0].select("9").run()
    press(app, "Save")
    assert app.dataframe[0].value["corrected to"][0] == "9"


def test_another_model_reads_many_pictures_anew(start: Start, backend_url: str) -> None:
    files = {f"{i:02d}.png": encoded(seven(60 + i)) for i in range(20)}
    app = until_read(image_upload(start(backend_url), ("digits.zip", zipped(**files))))
    app.sidebar.selectbox[0].select("mnist-tree").run()
    assert "20 pictures read." in shown(until_read(app))
    with Client(backend_url) as client:
        asked = client.history.page(limit=20).items
    assert {one.model.name for one in asked} == {"mnist-tree"}


def test_where_too_many_are_at_work_the_pictures_wait(
    start: Start, backend_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def busy(*_: object) -> None:
        raise BusyError

    files = {f"{i:02d}.png": encoded(seven(60 + i)) for i in range(20)}
    with monkeypatch.context() as patch:
        patch.setattr(Jobs, "start", busy)
        app = image_upload(start(backend_url), ("digits.zip", zipped(**files)))
        assert "20 pictures are not read yet." in shown(app)
    press(app, "Go on")
    assert "20 pictures read." in shown(until_read(app))


def test_pictures_that_were_taken_are_not_kept_as_uploads_besides(
    start: Start, backend_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    released: list[str] = []
    release = image_upload.release_memory

    def noted(files: Sequence[Any]) -> None:
        released.extend(file.name for file in files)
        release(files)

    monkeypatch.setattr(image_upload, "release_memory", noted)
    app = image_upload(start(backend_url), ("seven.png", SEVEN), ("digits.zip", zipped(a=SEVEN)))
    assert released == ["seven.png", "digits.zip"]
    app.run()
    assert "seven.png" in shown(app)


def test_many_answers_stay_while_the_backend_is_away(
    start: Start, backend_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = until_read(image_upload(start(backend_url), twenty(220)))
    monkeypatch.setenv("BACKEND", f"http://127.0.0.1:{free_port()}")
    assert "20 pictures read." in shown(app.run())
