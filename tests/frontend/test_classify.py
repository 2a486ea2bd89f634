"""The page Classify without a browser, against a real backend."""

from typing import Any

import pytest

from client import Client
from tests.frontend.app import CLASSIFY, DRAW, SEVEN, press, shown, upload
from tests.frontend.conftest import Start
from tests.pictures import encoded, noise


def test_an_uploaded_seven_is_read(start: Start, backend_url: str) -> None:
    app = upload(start(backend_url), ("seven.png", SEVEN))
    assert "a 7 (" in app.subheader[0].value.replace("\\", "")
    assert "seven.png" in shown(app)
    assert "Decoded in" in shown(app)


def test_of_several_pictures_a_bad_one_is_a_bad_row(start: Start, backend_url: str) -> None:
    files = ("a.png", SEVEN), ("broken.png", SEVEN[:90]), ("notes.png", b"text"), ("b.png", SEVEN)
    app = upload(start(backend_url), *files)
    assert len(app.subheader) == 2
    assert len(app.error) == 2
    assert "2 pictures read, 2 could not be." in shown(app)
    assert "broken.png" in shown(app)
    assert "JPEG, PNG, WebP, BMP or GIF" in shown(app)


def test_clear_takes_the_answer_away(start: Start, backend_url: str) -> None:
    app = upload(start(backend_url), ("seven.png", SEVEN))
    press(app, "Clear")
    assert not app.subheader
    assert not app.exception


def test_a_file_name_is_not_markup(start: Start, backend_url: str) -> None:
    app = upload(start(backend_url), ("**:red[x]**.png", SEVEN))
    assert r"\*\*\:red\[x\]\*\*\.png" in [caption.value for caption in app.caption]


def test_what_was_answered_is_not_asked_again(
    start: Start, backend_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    classify = Client.classify

    def counted(self: Client, image: bytes, **options: Any) -> Any:
        asked.append(options["filename"])
        return classify(self, image, **options)

    monkeypatch.setattr(Client, "classify", counted)
    app = upload(start(backend_url), ("seven.png", SEVEN))
    app.run()
    app.run()
    assert asked == ["seven.png"]


def test_the_result_is_still_there_after_a_visit_to_another_page(
    start: Start, backend_url: str
) -> None:
    app = upload(start(backend_url), ("seven.png", SEVEN))
    app.switch_page(DRAW).run()
    assert "The answer will appear here." in shown(app)
    app.switch_page(CLASSIFY).run()
    assert "seven.png" in shown(app)


def test_a_calibrated_model_promises_labels_for_the_coverage_that_is_chosen(
    start: Start, calibrated_url: str
) -> None:
    app = upload(start(calibrated_url), ("seven.png", SEVEN))
    assert app.sidebar.radio[0].options == ["90 %", "95 %", "99 %"]
    assert "A 7, with 95 % coverage." in shown(app)
    app.sidebar.radio[0].set_value(0.99).run()
    assert ": one of these with 99 % coverage." in shown(app)
    assert "hold the right one for about 99 of 100 pictures" in shown(app)
    assert "off by 0.2 points on average" in shown(app)


def test_what_is_no_digit_is_said_to_be_none_and_nothing_is_promised(
    start: Start, calibrated_url: str
) -> None:
    app = upload(start(calibrated_url), ("noise.png", encoded(noise())))
    assert app.subheader[0].value.replace("\\", "") == "This does not look like a digit."
    assert "The closest would be a" in shown(app)
    assert "The bars only say which label is closer" in shown(app)
    assert "% coverage" not in shown(app)
