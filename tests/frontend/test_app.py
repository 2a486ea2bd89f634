"""The pages without a browser, against a real backend."""

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from client import Client
from tests.client.server import Answer, serving
from tests.conftest import free_port
from tests.pictures import encoded, noise, seven

APP = Path(__file__).parents[2] / "frontend" / "app.py"
SEVEN = encoded(seven())
DRAW = "views/draw.py"

Start = Callable[[str], AppTest]


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch) -> Start:
    """Return a function that opens the app on the backend at an address."""

    def opened(url: str) -> AppTest:
        monkeypatch.setenv("BACKEND", url)
        return AppTest.from_file(str(APP), default_timeout=30).run()

    return opened


def shown(app: AppTest) -> str:
    """Return all that the page says."""
    assert not app.exception
    kinds: tuple[Any, ...] = (app.title, app.subheader, app.markdown, app.caption)
    notices: tuple[Any, ...] = (app.error, app.info, app.warning)
    text = "\n".join(element.value for kind in kinds + notices for element in kind)
    return text.replace("\\", "")


def upload(app: AppTest, *files: tuple[str, bytes]) -> AppTest:
    app.file_uploader[0].set_value([(name, content, "image/png") for name, content in files])
    return app.run()


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
    next(button for button in app.button if button.label == "Clear").click().run()
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
    app.switch_page("views/classify.py").run()
    assert "seven.png" in shown(app)


def test_a_drawing_is_read_and_kept(start: Start, backend_url: str) -> None:
    app = start(backend_url).switch_page(DRAW).run()
    url = "data:image/png;base64," + base64.b64encode(SEVEN).decode()
    app.session_state["pad"] = {"drawing": {"png": url, "strokes": []}}
    app.run()
    assert "a 7 (" in shown(app)
    app.switch_page("views/classify.py").run()
    app.switch_page(DRAW).run()
    assert "a 7 (" in shown(app)


@pytest.mark.parametrize("news", [{"png": 5}, {"png": "data:image/png;base64,?"}, {"png": None}])
def test_what_is_no_drawing_is_an_empty_pad(
    start: Start, backend_url: str, news: dict[str, Any]
) -> None:
    app = start(backend_url).switch_page(DRAW).run()
    app.session_state["pad"] = {"drawing": news}
    app.run()
    assert "The answer will appear here." in shown(app)


def test_the_model_can_be_chosen(start: Start, backend_url: str) -> None:
    app = start(backend_url)
    with Client(backend_url) as client:
        served = client.models()
    assert app.sidebar.selectbox[0].value == served.default
    assert app.sidebar.selectbox[0].options == [model.title for model in served.models]


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


def test_the_coverage_is_kept_on_another_page_and_behind_a_model_without_one(
    start: Start, calibrated_url: str
) -> None:
    app = start(calibrated_url)
    app.sidebar.radio[0].set_value(0.9).run()
    app.switch_page(DRAW).run()
    assert app.sidebar.radio[0].value == 0.9
    url = "data:image/png;base64," + base64.b64encode(SEVEN).decode()
    app.session_state["pad"] = {"drawing": {"png": url, "strokes": []}}
    app.run()
    assert "A 7, with 90 % coverage." in shown(app)
    app.sidebar.selectbox[0].select("plain").run()
    assert not app.sidebar.radio
    assert "a 7 (" in shown(app)
    assert "coverage" not in shown(app)
    app.sidebar.selectbox[0].select("calibrated").run()
    assert app.sidebar.radio[0].value == 0.9


def test_what_is_no_digit_is_said_to_be_none_and_nothing_is_promised(
    start: Start, calibrated_url: str
) -> None:
    app = upload(start(calibrated_url), ("noise.png", encoded(noise())))
    assert app.subheader[0].value.replace("\\", "") == "This does not look like a digit."
    assert "The closest would be a" in shown(app)
    assert "The bars only say which label is closer" in shown(app)
    assert "% coverage" not in shown(app)


def models(**states: str) -> Answer:
    """Return an answer to /models: names with their state, or their kind of input if ready."""
    served = [
        {
            "name": name,
            "title": name.upper(),
            "state": state if state in ("loading", "failed") else "ready",
            "error": "The weights are damaged." if state == "failed" else None,
            "labels": ["0", "1"],
            "input": {"kind": "image" if state == "image" else "digit", "shape": [1, 28, 28]},
        }
        for name, state in states.items()
    ]
    return Answer(json.dumps({"default": next(iter(states), None), "models": served}).encode())


def test_the_choice_is_kept_on_another_page(start: Start) -> None:
    with serving(models(first="digit", second="image")) as (url, _):
        app = start(url)
        assert "a handwritten digit" in shown(app)
        app.sidebar.selectbox[0].select("second").run()
        assert "Give it a picture" in shown(app)
        app.switch_page(DRAW).run()
        assert app.sidebar.selectbox[0].value == "second"
        assert "not made for drawings of digits" in shown(app)


@pytest.mark.parametrize("page", ["views/classify.py", DRAW])
def test_a_model_that_cannot_answer_yet_or_at_all_is_told(start: Start, page: str) -> None:
    with serving(models(big="loading", bad="failed")) as (url, _):
        app = start(url).switch_page(page).run()
        assert "The model BIG is still loading." in shown(app)
        assert app.sidebar.selectbox[0].options == ["BIG (loading)", "BAD (failed)"]
        app.sidebar.selectbox[0].select("bad").run()
        assert "The weights are damaged." in shown(app)
        assert "Choose another model" in shown(app)


def test_a_backend_without_models_is_told(start: Start) -> None:
    with serving(models()) as (url, _):
        assert "The backend serves no model yet." in shown(start(url))


def test_something_else_at_the_address_is_told_in_words(start: Start) -> None:
    with serving(Answer(b"<html>")) as (url, _):
        assert "does not speak as our backend" in shown(start(url))


@pytest.mark.parametrize("page", ["views/classify.py", DRAW])
def test_without_a_backend_the_page_says_how_to_start_it(start: Start, page: str) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    app = start(url).switch_page(page).run()
    assert f"The backend is not reachable at {url}." in shown(app)
    assert "`make run`" in app.error[0].value
    assert "Try again" in [button.label for button in app.button]


def test_the_page_recovers_when_the_backend_is_there(
    start: Start, backend_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = upload(start(f"http://127.0.0.1:{free_port()}"), ("seven.png", SEVEN))
    monkeypatch.setenv("BACKEND", backend_url)
    next(button for button in app.button if button.label == "Try again").click().run()
    assert not app.error
    assert "a 7 (" in shown(app)


def test_a_wrong_setting_is_told_in_words(start: Start) -> None:
    app = start("localhost:8000")
    assert "The setting BACKEND cannot be used" in shown(app)
