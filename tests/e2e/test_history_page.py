"""The History and Models pages in a browser."""

import csv
import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from playwright.sync_api import Locator, Page, expect
from ulid import ULID

from client import Client
from tests.e2e.backend_process import backend_with_history
from tests.e2e.conftest import Visit
from tests.e2e.pages import (
    SEVEN,
    choose_option,
    expect_accessible,
    expect_no_horizontal_scrolling,
    main,
    wait_until_idle,
)
from tests.e2e.toggle_proxy import ToggleProxy

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The database of the history."""
    return tmp_path_factory.mktemp("history") / "history.db"


@pytest.fixture(scope="module")
def history_client(session_proxy: ToggleProxy, database: Path) -> Iterator[Client]:
    """A client of a backend with a history of its own, which the frontend uses."""
    with (
        backend_with_history(database.parent) as client,
        session_proxy.redirected_to(client.url),
    ):
        yield client


@pytest.fixture
def client(history_client: Client) -> Client:
    """The client, with two classifications: a.png, which is corrected, and the newer b.png."""
    history_client.history.clear()
    first = history_client.classify(SEVEN, filename="a.png")
    history_client.history.correct(first.id, "1")
    history_client.classify(SEVEN, filename="b.png")
    return history_client


def fill(database: Path, rows: int) -> None:
    """Insert classifications of 0.png, 1.png, … faster than the backend could."""
    top = [{"label": str(label), "index": label, "probability": 0.1} for label in range(10)]
    values = {
        "id": "",
        "time": datetime.now(UTC).replace(tzinfo=None).isoformat(" "),
        "model": "mnist-cnn",
        "version": "1",
        "prediction": "7",
        "confidence": 0.9,
        "top": json.dumps(top),
        "timings": "{}",
        "sha256": 64 * "0",
        "filename": "",
    }
    names, parameters = ", ".join(values), ", ".join(f":{name}" for name in values)
    start = ULID().milliseconds.to_bytes(6, "big")
    records = (
        {**values, "id": str(ULID(start + n.to_bytes(10, "big"))), "filename": f"{n}.png"}
        for n in range(rows)
    )
    with closing(sqlite3.connect(database, timeout=60)) as connection, connection:
        connection.executemany(f"INSERT INTO answers ({names}) VALUES ({parameters})", records)


def row(page: Page, name: str) -> Locator:
    """Return the list item of a file."""
    return main(page).locator("[class*=st-key-classification]").filter(has_text=name)


def test_prediction_is_corrected_with_the_keyboard(visit: Visit, client: Client) -> None:
    page = visit("/history")
    row(page, "b.png").get_by_role("button", name="Other label").focus()
    page.keyboard.press("Enter")
    page.get_by_role("combobox", name="Right label").focus()
    page.keyboard.type("3")
    page.keyboard.press("Enter")
    expect(row(page, "b.png")).to_contain_text("Corrected to 3")
    assert client.history.page().items[0].correction == "3"


def test_filter_is_in_the_url_and_persists_across_a_reload(visit: Visit, client: Client) -> None:
    page = visit("/history")
    expect(row(page, "b.png")).to_be_visible()
    feedback = page.get_by_role("combobox", name="Feedback")
    choose_option(page, feedback, "With feedback")
    expect(row(page, "b.png")).to_have_count(0)
    assert "corrections=" in page.url
    page.reload()
    expect(row(page, "a.png")).to_be_visible()
    expect(row(page, "b.png")).to_have_count(0)
    choose_option(page, feedback, "Any")
    expect(row(page, "b.png")).to_be_visible()


def test_option_list_stays_open_while_the_filters_expand(visit: Visit, client: Client) -> None:
    page = visit("/history")
    expect(row(page, "b.png")).to_be_visible()
    wait_until_idle(page)
    main(page).get_by_text("More filters").click()
    page.get_by_role("combobox", name="Image").click()  # while the expander is opening
    option = page.get_by_role("option", name="Not one of its classes")
    expect(option).to_be_visible()
    wait_until_idle(page)
    expect(option).to_be_visible()


def test_deletion_needs_a_second_click(visit: Visit, client: Client) -> None:
    page = visit("/history")
    row(page, "b.png").get_by_role("button", name="Delete").click()
    assert len(client.history.page().items) == 2
    page.get_by_role("button", name="Delete this classification").click()
    expect(row(page, "b.png")).to_have_count(0)
    expect(row(page, "a.png")).to_be_visible()
    assert [stored.filename for stored in client.history.page().items] == ["a.png"]


def test_history_is_exported(visit: Visit, client: Client) -> None:
    page = visit("/history")
    with page.expect_download() as download:
        main(page).get_by_role("link", name="Download CSV").click()
    with download.value.path().open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [each["filename"] for each in rows] == ["b.png", "a.png"]


def test_times_are_in_the_time_zone_of_the_browser(visit: Visit, client: Client) -> None:
    page = visit("/history", zone="Asia/Tokyo")
    time = client.history.page().items[0].time.astimezone(ZoneInfo("Asia/Tokyo"))
    expect(row(page, "b.png")).to_contain_text(time.strftime("%d %b %Y, %H:%M:%S"))


def test_page_recovers_when_the_backend_is_back(
    visit: Visit, proxy: ToggleProxy, client: Client
) -> None:
    page = visit("/history")
    expect(row(page, "b.png")).to_be_visible()
    proxy.close()
    row(page, "b.png").get_by_role("button", name="Correct", exact=True).click()
    expect(main(page).get_by_role("alert").filter(has_text="not reachable").first).to_be_visible()
    proxy.open()
    expect(row(page, "b.png").get_by_role("button", name="Correct", exact=True)).to_be_visible()


@pytest.mark.parametrize("path", ["/history", "/models"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_page_is_accessible(visit: Visit, client: Client, path: str, scheme: str) -> None:
    page = visit(path, scheme=scheme)
    if path == "/history":
        main(page).get_by_text("Accuracy by day").click()
        expect(row(page, "b.png").get_by_role("img")).to_be_visible()
    else:
        main(page).get_by_text("Model card").last.click()
        expect(main(page).get_by_role("heading", level=4).first).to_be_visible()
    expect_accessible(page)


@pytest.mark.parametrize("path", ["/history", "/models"])
def test_page_fits_a_phone(visit: Visit, client: Client, path: str) -> None:
    page = visit(path, width=360)
    landmark = "2 classifications" if path == "/history" else "Handwritten digits"
    expect(main(page).get_by_role("heading", name=landmark, exact=True)).to_be_visible()
    expect_no_horizontal_scrolling(page)


def test_export_larger_than_the_memory_for_it_is_complete(
    visit: Visit, client: Client, database: Path
) -> None:
    """A file of more than 100 MB streams through the page."""
    client.history.clear()
    rows = 150_000
    fill(database, rows)
    page = visit("/history")
    with page.expect_download(timeout=300_000) as download:
        main(page).get_by_role("link", name="Download CSV").click()
    with download.value.path().open(newline="") as file:
        names = {row["filename"] for row in csv.DictReader(file)}
    assert names == {f"{number}.png" for number in range(rows)}
