"""The page of the history without a browser."""

import csv
from collections.abc import Iterator
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from client import Client, HistoryFilters
from tests.client.fake_server import FakeResponse, serving
from tests.e2e.backend import Backend, remembering
from tests.frontend.app import press, shown
from tests.frontend.conftest import Start
from tests.images import encoded, seven

HISTORY = "views/history/page.py"
SEVEN = encoded(seven())


@pytest.fixture(scope="module")
def past(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """A client of a backend with a history of its own, which keeps the pictures."""
    with remembering(tmp_path_factory.mktemp("history")) as client:
        yield client


@pytest.fixture
def answers(past: Client) -> Client:
    """The same, with three answers: a.png, b.png and the newest, c.png."""
    past.history.clear()
    for name in ("a.png", "b.png", "c.png"):
        assert past.classify(SEVEN, filename=name).stored
    return past


def opened(start: Start, client: Client, **query: str) -> AppTest:
    return start(client.url, **query).switch_page(HISTORY).run()


def newest(client: Client) -> str:
    return client.history.page().items[0].id


def test_answers_are_shown_the_newest_first_with_their_pictures(
    start: Start, answers: Client
) -> None:
    app = opened(start, answers)
    text = shown(app)
    assert text.index("c.png") < text.index("b.png") < text.index("a.png")
    assert "**A 7 (" in text
    assert "mnist-cnn" in text
    alts = [one.proto.imgs[0].alt for one in app.get("image")]
    assert all(alt.startswith("The picture that was answered 7 with 9") for alt in alts)
    assert len(alts) == 3


def test_an_answer_is_confirmed_corrected_and_taken_back(start: Start, answers: Client) -> None:
    app = opened(start, answers)
    newest_id = newest(answers)
    app.button(key=f"right history {newest_id}").click().run()
    assert answers.history.get(newest_id).correction == "7"
    assert "Said to be right." in shown(app)
    app.button(key=f"back history {newest_id}").click().run()
    assert answers.history.get(newest_id).correction is None
    app.button(key=f"wrong history {newest_id}").click().run()
    assert app.button(key=f"save history {newest_id}").disabled
    app.selectbox(key=f"label history {newest_id}").select("1").run()
    app.button(key=f"save history {newest_id}").click().run()
    assert answers.history.get(newest_id).correction == "1"
    assert "Said to be a 1." in shown(app)


def test_what_another_person_says_is_shown(start: Start, answers: Client) -> None:
    app = opened(start, answers)
    answers.history.correct(newest(answers), "1")
    assert "Said to be a 1." in shown(app.run())


def test_the_accuracy_by_day_counts_what_people_looked_at(start: Start, answers: Client) -> None:
    assert "Accuracy by day" not in shown(opened(start, answers))
    first, second, _ = (answer.id for answer in answers.history.page().items)
    answers.history.correct(first, "7")
    answers.history.correct(second, "1")
    app = opened(start, answers)
    assert "Of 2 answers that people looked at, 1 was right: 50 %." in shown(app)
    assert len(app.get("vega_lite_chart")) == 1


def test_an_answer_is_deleted_alone(start: Start, answers: Client) -> None:
    app = opened(start, answers)
    app.button(key=f"delete {newest(answers)}").click().run()
    assert "c.png" not in shown(app)
    assert [answer.filename for answer in answers.history.page().items] == ["b.png", "a.png"]
    assert [toast.value for toast in app.toast] == ["The answer was deleted."]


def test_all_answers_are_deleted(start: Start, answers: Client) -> None:
    app = opened(start, answers)
    press(app, "Delete all for good")
    assert "There are no answers here." in shown(app)
    assert answers.history.page().items == ()


def test_a_filter_narrows_the_answers(start: Start, answers: Client) -> None:
    answers.history.correct(newest(answers), "1")
    app = opened(start, answers)
    app.selectbox(key="corrections").select("Nothing said yet").run()
    text = shown(app)
    assert "c.png" not in text
    assert "b.png" in text
    app.text_input(key="answer").set_value(" 3 ").run()
    assert "There are no answers here." in shown(app)


def test_a_filter_of_the_address_is_taken(start: Start, answers: Client) -> None:
    answers.history.correct(newest(answers), "1")
    app = opened(start, answers, corrections="Said right or wrong")
    assert "c.png" in shown(app)
    assert "b.png" not in shown(app)


def test_answers_unlike_what_the_model_knows_can_be_asked_for(
    start: Start, answers: Client
) -> None:
    assert "There are no answers here." in shown(opened(start, answers, known="Not like it"))


def test_the_pictures_of_another_page_are_no_filter(start: Start, answers: Client) -> None:
    app = opened(start, answers, pictures="their-token")
    assert "c.png" in shown(app)
    assert not app.expander[0].proto.expanded


def test_days_are_those_of_whoever_looks_and_the_last_is_included(
    start: Start, answers: Client
) -> None:
    day = answers.history.page().items[0].time.date()
    app = opened(start, answers)
    app.date_input(key="to").set_value(day).run()
    app.date_input(key="from").set_value(day).run()
    assert "c.png" in shown(app)
    app.date_input(key="from").set_value(day.replace(year=day.year + 1)).run()
    assert "There are no answers here." in shown(app)


def test_pages_are_turned_and_another_filter_begins_anew(start: Start, answers: Client) -> None:
    for number in range(20):
        answers.classify(SEVEN, filename=f"more{number}.png")
    app = opened(start, answers)
    assert "a.png" not in shown(app)
    assert "Newer" not in [one.label for one in app.button]
    press(app, "Older")
    text = shown(app)
    assert "a.png" in text
    assert "more19.png" not in text
    assert "Older" not in [one.label for one in app.button]
    press(app, "Newer")
    assert "more19.png" in shown(app)
    press(app, "Older")
    app.text_input(key="answer").set_value("7").run()
    assert "more19.png" in shown(app)


def test_a_place_that_is_none_is_the_newest_page(start: Start, answers: Client) -> None:
    app = opened(start, answers, before="zzz")
    assert "c.png" in shown(app)
    assert "before" not in app.query_params


def test_the_download_has_all_that_fits_and_not_only_a_page(answers: Client) -> None:
    from frontend.views.history import page

    for number in range(20):
        answers.classify(SEVEN, filename=f"more{number}.png")
    content = page._export(answers, HistoryFilters(label="7"), "csv").decode()
    assert len(list(csv.DictReader(content.splitlines()))) == 23


@pytest.mark.parametrize(
    ("status", "code", "said"),
    [
        (401, "api_key_missing", "The history of this backend is not open to this page."),
        (404, "history_off", "This backend keeps no history."),
        (503, "history_unavailable", "The backend cannot reach its history."),
    ],
)
def test_a_history_that_cannot_be_read_says_why(
    start: Start,
    monkeypatch: pytest.MonkeyPatch,
    answers: Client,
    status: int,
    code: str,
    said: str,
) -> None:
    body = f'{{"status": {status}, "code": "{code}", "title": "x", "detail": "y"}}'.encode()
    with serving(FakeResponse(body, status=status)) as (url, _), Client(url) as broken:
        monkeypatch.setattr(Client, "history", broken.history, raising=False)
        page = broken.history
        monkeypatch.setattr("client.client.History", lambda _: page)
        from frontend.service import session as frontend_serving

        frontend_serving._client.clear()
        text = shown(opened(start, answers))
        frontend_serving._client.clear()
    assert said in text


def test_a_picture_that_was_not_kept_is_said_so(start: Start, tmp_path: Path) -> None:
    with (
        Backend(PRISM_DATA_DIR=str(tmp_path), PRISM_HISTORY_OPEN="true") as backend,
        Client(backend.url) as client,
    ):
        backend.wait_until_ready()
        while client.classify(SEVEN, filename="a.png").stored is not True:
            pass
        assert "Picture not kept" in shown(opened(start, client))
