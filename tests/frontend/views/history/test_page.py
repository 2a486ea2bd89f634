"""The History page without a browser."""

import csv
import io
import zipfile
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient
from streamlit.testing.v1 import AppTest

from client import Client, HistoryStorage
from frontend.server.downloads import ROUTES
from frontend.views.history import storage
from tests.client.fake_server import FakeResponse, serving
from tests.e2e.backend_process import BackendProcess, backend_with_history
from tests.frontend.app import CLASSIFY, click, page_text, upload_files
from tests.frontend.conftest import OpenPage
from tests.images import encoded, seven

HISTORY = "views/history/page.py"
SEVEN = encoded(seven())


@pytest.fixture(scope="module")
def history_client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """A client of a backend with its own history, which stores images."""
    with backend_with_history(tmp_path_factory.mktemp("history")) as client:
        yield client


@pytest.fixture
def client(history_client: Client) -> Client:
    """The client, with three classifications: a.png, b.png and the newest, c.png."""
    history_client.history.clear()
    for name in ("a.png", "b.png", "c.png"):
        assert history_client.classify(SEVEN, filename=name).stored
    return history_client


def open_history(start: OpenPage, client: Client, **query: str) -> AppTest:
    return start(client.url, **query).switch_page(HISTORY).run()


def newest_id(client: Client) -> str:
    return client.history.page().items[0].id


def test_classifications_are_listed_newest_first_with_their_images(
    start: OpenPage, client: Client
) -> None:
    app = open_history(start, client)
    text = page_text(app)
    assert text.index("c.png") < text.index("b.png") < text.index("a.png")
    assert "**7 (" in text
    assert "mnist-cnn" in text
    assert "3 classifications" in text
    alts = [one.proto.imgs[0].alt for one in app.get("image")]
    assert all(alt.startswith("Image classified as 7 (9") for alt in alts)
    assert len(alts) == 3


def test_prediction_is_confirmed_undone_and_corrected(start: OpenPage, client: Client) -> None:
    app = open_history(start, client)
    stored_id = newest_id(client)
    app.button(key=f"right history {stored_id}").click().run()
    assert client.history.get(stored_id).correction == "7"
    assert "Marked correct" in page_text(app)
    app.button(key=f"back history {stored_id}").click().run()
    assert client.history.get(stored_id).correction is None
    app.button(key=f"search history {stored_id}").click().run()
    app.selectbox(key=f"choice history {stored_id}").select("1").run()
    assert client.history.get(stored_id).correction == "1"
    assert "Corrected to 1" in page_text(app)


def test_feedback_from_elsewhere_is_shown(start: OpenPage, client: Client) -> None:
    app = open_history(start, client)
    client.history.correct(newest_id(client), "1")
    assert "Corrected to 1" in page_text(app.run())


def test_accuracy_counts_classifications_with_feedback(start: OpenPage, client: Client) -> None:
    assert "Accuracy by day" not in page_text(open_history(start, client))
    first, second, _ = (stored.id for stored in client.history.page().items)
    client.history.correct(first, "7")
    client.history.correct(second, "1")
    app = open_history(start, client)
    assert "1 of 2 reviewed classifications correct (50%)." in page_text(app)
    assert len(app.get("vega_lite_chart")) == 1


def test_one_classification_is_deleted(start: OpenPage, client: Client) -> None:
    app = open_history(start, client)
    app.button(key=f"delete {newest_id(client)}").click().run()
    assert "c.png" not in page_text(app)
    assert [stored.filename for stored in client.history.page().items] == ["b.png", "a.png"]
    assert [toast.value for toast in app.toast] == ["Classification deleted."]


def test_all_history_is_deleted(start: OpenPage, client: Client) -> None:
    app = open_history(start, client)
    assert "This deletes 3 classifications of all users" in page_text(app)
    app.button(key="delete matching").click().run()
    assert "No classifications found." in page_text(app)
    assert [toast.value for toast in app.toast] == ["3 classifications deleted."]
    assert client.history.page().items == ()


def test_matching_classifications_are_deleted(start: OpenPage, client: Client) -> None:
    app = open_history(start, client, search="B.png")
    assert "This deletes 1 classification on all pages, that match" in page_text(app)
    app.button(key="delete matching").click().run()
    assert [stored.filename for stored in client.history.page().items] == ["c.png", "a.png"]


def test_selected_classifications_are_deleted(start: OpenPage, client: Client) -> None:
    newest, _, oldest = (stored.id for stored in client.history.page().items)
    app = open_history(start, client)
    assert "delete selected" not in [button.key for button in app.button]
    for one in (newest, oldest):
        app.checkbox(key=f"select {one}").check().run()
    client.history.delete(oldest)  # by another user
    app.button(key="delete selected").click().run()
    assert [stored.filename for stored in client.history.page().items] == ["b.png"]
    assert "c.png" not in page_text(app)
    assert [toast.value for toast in app.toast] == ["2 classifications deleted."]


def test_whole_page_is_selected(start: OpenPage, client: Client) -> None:
    app = open_history(start, client)
    app.checkbox(key="select all").check().run()
    assert all(box.value for box in app.checkbox)
    app.checkbox(key=f"select {newest_id(client)}").uncheck().run()
    assert not app.checkbox(key="select all").value
    assert "Delete 2 classifications" in [button.label for button in app.button]


def test_filters_narrow_the_list(start: OpenPage, client: Client) -> None:
    client.history.correct(newest_id(client), "1")
    app = open_history(start, client)
    app.selectbox(key="corrections").select("Without feedback").run()
    text = page_text(app)
    assert "c.png" not in text
    assert "b.png" in text
    app.text_input(key="answer").set_value(" 3 ").run()
    assert "No classifications found." in page_text(app)


def test_wrong_answers_are_filtered(start: OpenPage, client: Client) -> None:
    first, second, third = (stored.id for stored in client.history.page().items)
    client.history.correct(first, "1")
    client.history.none_of_these(second)
    client.history.correct(third, "7")
    app = open_history(start, client, corrections="Wrong")
    text = page_text(app)
    assert "2 classifications" in text
    assert "Corrected to 1" in text
    assert "Marked as none of these" in text
    assert "a.png" not in text


def test_search_finds_file_names_and_labels(start: OpenPage, client: Client) -> None:
    client.history.correct(newest_id(client), "9")
    app = open_history(start, client, search="A.PNG")
    assert "1 classification" in page_text(app)
    assert "a.png" in page_text(app)
    app.text_input(key="search").set_value("9").run()
    assert "c.png" in page_text(app)
    assert "a.png" not in page_text(app)


def test_storage_is_described_and_turned_off_for_the_session(
    start: OpenPage, client: Client
) -> None:
    app = open_history(start, client)
    text = page_text(app)
    assert "small copies of the images are kept for 30 days in" in text
    assert "history.db" in text
    app.toggle[0].set_value(False).run()
    assert app.query_params["storing"] == "off"
    app = upload_files(app.switch_page(CLASSIFY).run(), ("d.png", SEVEN))
    assert "7, " in page_text(app)
    assert "Correct" not in [button.label for button in app.button]
    assert client.history.page().items[0].filename == "c.png"
    app = app.switch_page(HISTORY).run()
    assert not app.toggle[0].value
    app.toggle[0].set_value(True).run()
    assert "storing" not in app.query_params


def test_filter_is_read_from_the_url(start: OpenPage, client: Client) -> None:
    client.history.correct(newest_id(client), "1")
    app = open_history(start, client, corrections="With feedback")
    assert "c.png" in page_text(app)
    assert "b.png" not in page_text(app)


def test_filter_by_out_of_distribution(start: OpenPage, client: Client) -> None:
    assert "No classifications found." in page_text(
        open_history(start, client, known="Not one of its classes")
    )


def test_selection_of_another_page_is_not_a_filter(start: OpenPage, client: Client) -> None:
    app = open_history(start, client, pictures="their-token")
    assert "c.png" in page_text(app)
    assert not app.expander[0].proto.expanded


def test_date_filters_include_both_days(start: OpenPage, client: Client) -> None:
    day = client.history.page().items[0].time.date()
    app = open_history(start, client)
    app.date_input(key="to").set_value(day).run()
    app.date_input(key="from").set_value(day).run()
    assert "c.png" in page_text(app)
    app.date_input(key="from").set_value(day.replace(year=day.year + 1)).run()
    assert "No classifications found." in page_text(app)


def test_pagination_restarts_when_the_filter_changes(start: OpenPage, client: Client) -> None:
    for number in range(20):
        client.classify(SEVEN, filename=f"more{number}.png")
    app = open_history(start, client)
    assert "a.png" not in page_text(app)
    assert "Newer" not in [one.label for one in app.button]
    click(app, "Older")
    text = page_text(app)
    assert "a.png" in text
    assert "more19.png" not in text
    assert "Older" not in [one.label for one in app.button]
    click(app, "Newer")
    assert "more19.png" in page_text(app)
    click(app, "Older")
    app.text_input(key="answer").set_value("7").run()
    assert "more19.png" in page_text(app)


def test_invalid_cursor_shows_the_newest_page(start: OpenPage, client: Client) -> None:
    app = open_history(start, client, before="zzz")
    assert "c.png" in page_text(app)
    assert "before" not in app.query_params


def download(app: AppTest, name: str) -> bytes:
    """Return the file behind a download button."""
    (link,) = (one.proto for one in app.get("link_button") if one.proto.label == name)
    assert not link.disabled
    return TestClient(Starlette(routes=ROUTES)).get(link.url).content


def test_export_has_all_matching_classifications(start: OpenPage, client: Client) -> None:
    for number in range(20):
        client.classify(SEVEN, filename=f"more{number}.png")
    content = download(open_history(start, client, answer="7"), "Download CSV").decode()
    assert len(list(csv.DictReader(content.splitlines()))) == 23
    content = download(open_history(start, client, search="more1"), "Download JSON lines").decode()
    assert len(content.splitlines()) == 11


def test_export_link_remains_the_same_while_the_filters_do(start: OpenPage, client: Client) -> None:
    def urls(app: AppTest) -> list[str]:
        return [one.proto.url for one in app.get("link_button")]

    app = open_history(start, client)
    before = urls(app)
    assert len(set(before)) == 3
    assert urls(app.run()) == before
    app.text_input(key="search").set_value("a.png").run()
    assert not set(urls(app)) & set(before)


def test_images_are_exported_in_class_folders(start: OpenPage, client: Client) -> None:
    client.history.correct(newest_id(client), "1")
    app = open_history(start, client, corrections="With feedback")
    content = download(app, "Download images")
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert [name.partition("_")[0] for name in archive.namelist()] == ["1/c"]


@pytest.mark.parametrize(
    ("stored", "text"),
    [
        (HistoryStorage(False, 1, None), "kept for 1 day in the backend's database. Images are no"),
        (HistoryStorage(True, None, "/data/history.db"), r"kept until deleted in \/data\/history"),
    ],
)
def test_storage_in_words(stored: HistoryStorage, text: str) -> None:
    assert text in storage.describe(stored)


@pytest.mark.parametrize(
    ("status", "code", "message"),
    [
        (401, "api_key_missing", "The frontend does not have access to the backend's history."),
        (404, "history_off", "The history is turned off on this backend."),
        (503, "history_unavailable", "The backend cannot reach its history database."),
    ],
)
def test_history_error_is_described(
    start: OpenPage,
    monkeypatch: pytest.MonkeyPatch,
    client: Client,
    status: int,
    code: str,
    message: str,
) -> None:
    body = f'{{"status": {status}, "code": "{code}", "title": "x", "detail": "y"}}'.encode()
    with serving(FakeResponse(body, status=status)) as (url, _), Client(url) as broken:
        monkeypatch.setattr(Client, "history", broken.history, raising=False)
        page = broken.history
        monkeypatch.setattr("client.client.History", lambda _: page)
        from frontend.service import session

        session._client.clear()
        text = page_text(open_history(start, client))
        session._client.clear()
    assert message in text


def test_missing_image_is_reported(start: OpenPage, tmp_path: Path) -> None:
    with (
        BackendProcess(PRISM_DATA_DIR=str(tmp_path), PRISM_HISTORY_OPEN="true") as backend,
        Client(backend.url) as client,
    ):
        backend.wait_until_ready()
        while client.classify(SEVEN, filename="a.png").stored is not True:
            pass
        assert "Image not stored" in page_text(open_history(start, client))


def test_days_are_those_of_the_viewer(start: OpenPage, client: Client) -> None:
    client.history.correct(newest_id(client), "7")
    time = client.history.page().items[0].time
    for name in ("Pacific/Kiritimati", "Pacific/Niue", "America"):  # the last one is no zone
        zone = ZoneInfo("UTC" if name == "America" else name)
        app = start(client.url)
        app.context = {"timezone": name}
        app.switch_page(HISTORY).run()
        local = time.astimezone(zone)
        assert local.strftime("%d %b %Y, %H:%M:%S") in page_text(app)
        (chart,) = app.get("arrow_vega_lite_chart") or app.get("vega_lite_chart")
        assert f"{local.date().isoformat()}: 100%" in str(chart.proto)
        app.date_input(key="from").set_value(local.date()).run()
        app.date_input(key="to").set_value(local.date()).run()
        assert "c.png" in page_text(app)
        app.date_input(key="from").set_value(local.date() + timedelta(days=1)).run()
        assert "c.png" not in page_text(app)
