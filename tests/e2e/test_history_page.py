"""What a person does with the history, in a real browser."""

from collections.abc import Iterator
from zoneinfo import ZoneInfo

import pytest
from playwright.sync_api import Locator, Page, expect

from client import Client
from tests.e2e.backend import remembering
from tests.e2e.conftest import Open
from tests.e2e.gate import Gate
from tests.e2e.pages import SEVEN, expect_accessible, expect_to_fit

pytestmark = pytest.mark.browser


@pytest.fixture(scope="session")
def backend_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The pages of this file have a history of their own before them."""
    with remembering(tmp_path_factory.mktemp("history")) as client:
        yield client.url


@pytest.fixture
def answers(backend_url: str) -> Iterator[Client]:
    """A history of two answers: a.png, which is corrected, and the newer b.png."""
    with Client(backend_url) as client:
        client.history.clear()
        first = client.classify(SEVEN, filename="a.png")
        client.history.correct(first.id, "1")
        client.classify(SEVEN, filename="b.png")
        yield client


def row(page: Page, name: str) -> Locator:
    """Return the box of the answer for a file."""
    return page.locator("[class*=st-key-answer]").filter(has_text=name)


def test_an_answer_is_corrected_with_the_keyboard_alone(visit: Open, answers: Client) -> None:
    page = visit("/history")
    wrong = row(page, "b.png").get_by_role("button", name="Wrong? Correct it")
    wrong.focus()
    page.keyboard.press("Enter")
    page.get_by_role("combobox", name="The right label").focus()
    page.keyboard.type("3")
    page.keyboard.press("Enter")
    save = page.get_by_role("button", name="Save", exact=True)
    expect(save).to_be_enabled()
    save.focus()
    page.keyboard.press("Enter")
    expect(row(page, "b.png")).to_contain_text("Said to be a 3.")
    assert answers.history.page().answers[0].correction == "3"


def test_a_filter_is_in_the_address_and_a_reload_keeps_it(visit: Open, answers: Client) -> None:
    page = visit("/history")
    expect(row(page, "b.png")).to_be_visible()
    page.get_by_text("Filter", exact=True).click()
    page.get_by_role("combobox", name="Corrections").click()
    page.get_by_role("option", name="Said right or wrong").click()
    expect(row(page, "b.png")).to_have_count(0)
    assert "corrections=" in page.url
    page.reload()
    expect(row(page, "a.png")).to_be_visible()
    expect(row(page, "b.png")).to_have_count(0)
    expect(page.get_by_role("combobox", name="Corrections")).to_be_visible()


def test_an_answer_is_deleted_only_after_a_second_click(visit: Open, answers: Client) -> None:
    page = visit("/history")
    row(page, "b.png").get_by_role("button", name="Delete").click()
    assert len(answers.history.page().answers) == 2
    page.get_by_role("button", name="Delete this answer").click()
    expect(row(page, "b.png")).to_have_count(0)
    expect(row(page, "a.png")).to_be_visible()
    assert [answer.filename for answer in answers.history.page().answers] == ["a.png"]


def test_the_history_is_downloaded(visit: Open, answers: Client) -> None:
    page = visit("/history")
    with page.expect_download() as download:
        page.get_by_role("button", name="Download as CSV").click()
    lines = download.value.path().read_text().splitlines()
    assert len(lines) == 3
    assert lines[1].endswith("b.png")


def test_times_are_those_of_whoever_looks(visit: Open, answers: Client) -> None:
    page = visit("/history", zone="Asia/Tokyo")
    answered = answers.history.page().answers[0].time.astimezone(ZoneInfo("Asia/Tokyo"))
    expect(row(page, "b.png")).to_contain_text(answered.strftime("%d %b %Y, %H:%M:%S"))


def test_the_page_waits_for_a_backend_that_went_away(
    visit: Open, gate: Gate, answers: Client
) -> None:
    page = visit("/history")
    expect(row(page, "b.png")).to_be_visible()
    gate.shut()
    row(page, "b.png").get_by_role("button", name="It is right").click()
    expect(page.get_by_role("alert").filter(has_text="not reachable").first).to_be_visible()
    gate.open()
    expect(row(page, "b.png").get_by_role("button", name="It is right")).to_be_visible()


@pytest.mark.parametrize("path", ["/history", "/models"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_is_accessible(visit: Open, answers: Client, path: str, scheme: str) -> None:
    page = visit(path, scheme=scheme)
    if path == "/history":
        expect(page.get_by_role("heading", name="Accuracy by day")).to_be_visible()
        expect(row(page, "b.png").get_by_role("img")).to_be_visible()
    else:
        page.get_by_text("Model card").last.click()
        expect(page.get_by_role("heading", level=4).first).to_be_visible()
    expect_accessible(page)


@pytest.mark.parametrize("path", ["/history", "/models"])
def test_a_phone_shows_the_page_without_scrolling_sideways(
    visit: Open, answers: Client, path: str
) -> None:
    page = visit(path, width=360)
    landmark = "Answers" if path == "/history" else "Handwritten digits"
    expect(page.get_by_role("heading", name=landmark, exact=True)).to_be_visible()
    expect_to_fit(page)
