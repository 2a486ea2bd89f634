"""What a person does on the page Evaluate, in a real browser."""

import re
from pathlib import Path

import pytest
from playwright.sync_api import FilePayload, Locator, Page, expect

from tests.e2e.conftest import Open
from tests.e2e.gate import Gate
from tests.e2e.pages import expect_accessible, expect_to_fit
from tests.labelled import SEVEN, sevens, zipped
from tests.pictures import encoded, seven

pytestmark = pytest.mark.browser

MIXED = sevens(30, called_one=28, called_two=1, broken=1)
LONG = 15_000  # pictures: long enough to do something in the middle


def upload(page: Page, content: bytes, name: str = "digits.zip") -> None:
    chooser = page.locator("input[type=file]").first
    expect(chooser).to_be_attached()
    file: FilePayload = {"name": name, "mimeType": "application/zip", "buffer": content}
    chooser.set_input_files(file)


def expect_measured(page: Page) -> None:
    expect(page.get_by_role("button", name="Report, HTML")).to_be_visible()


def expect_done(page: Page, least: int = 1) -> None:
    """Wait until so many pictures are done."""
    page.wait_for_function(
        """least => {
            const said = document.querySelector('[data-testid=stProgress]')?.innerText ?? '';
            return parseInt(said.replaceAll(',', '')) >= least;
        }""",
        arg=least,
    )


def measured(visit: Open, content: bytes = MIXED, **options: str | int) -> Page:
    page = visit("/evaluate", **options)
    upload(page, content)
    expect_measured(page)
    return page


def cell(page: Page, true: str, predicted: str) -> Locator:
    return page.locator(f"path[aria-label^='true {true}, predicted {predicted}:']")


def click(page: Page, true: str, predicted: str) -> None:
    expect(cell(page, true, predicted)).to_have_count(1)  # a chart before it may still be there
    cell(page, true, predicted).click()


def choose(page: Page, label: str, option: str) -> None:
    """Choose by keyboard alone."""
    box = page.get_by_role("combobox", name=re.compile(label))
    box.focus()
    box.press_sequentially(option)
    page.get_by_role("option", name=option, exact=True).wait_for()
    box.press("Enter")


def test_a_zip_is_measured_and_every_figure_is_there(visit: Open) -> None:
    page = measured(visit)
    expect(page.get_by_role("heading", name="Handwritten digits on digits.zip")).to_be_visible()
    figures = page.get_by_test_id("stMetric")
    expect(figures.filter(has_text="Accuracy").first).to_contain_text("50.85 %")  # 30 of 59
    for name in ("Macro F1", "Top-5 accuracy", "Calibration error", "Latency"):
        expect(figures.filter(has_text=name)).to_be_visible()
    expect(page.get_by_text("1 picture could not be classified")).to_be_visible()
    expect(page.get_by_role("status").filter(has_text="is right on 50.85 % of 59")).to_have_count(1)


def test_a_click_on_a_cell_shows_its_pictures_page_by_page(visit: Open) -> None:
    page = measured(visit)
    click(page, "1", "7")
    expect(page.get_by_text("28 pictures of 1 predicted 7")).to_be_visible()
    expect(page.get_by_text("Page 1 of 2")).to_be_visible()
    expect(page.get_by_alt_text("1/00000.png: labelled 1, predicted 7 with").first).to_be_visible()
    page.get_by_role("button", name="Next").click()
    expect(page.get_by_text("Page 2 of 2")).to_be_visible()
    expect(page.get_by_alt_text("1/00027.png: labelled 1, predicted 7 with").first).to_be_visible()
    click(page, "2", "7")
    expect(page.get_by_text("1 picture of 2 predicted 7")).to_be_visible()
    page.get_by_role("button", name="Close these pictures").click()
    expect(page.get_by_text("of 2 predicted 7")).to_have_count(0)
    click(page, "2", "7")
    expect(page.get_by_text("1 picture of 2 predicted 7")).to_be_visible()


def test_a_cell_is_chosen_by_keyboard_alone(visit: Open) -> None:
    page = measured(visit)
    choose(page, "True class", "1")
    choose(page, "Predicted as", "7")
    expect(page.get_by_text("28 pictures of 1 predicted 7")).to_be_visible()
    page.get_by_role("button", name="Next").press("Enter")
    expect(page.get_by_text("Page 2 of 2")).to_be_visible()


def test_the_diagonal_can_be_hidden(visit: Open) -> None:
    page = measured(visit)
    expect(page.locator("svg text", has_text=re.compile("^30$"))).to_be_visible()
    page.get_by_text("Hide what is right").click()
    expect(page.locator("svg text", has_text=re.compile("^30$"))).to_have_count(0)
    expect(page.locator("svg text", has_text=re.compile("^28$"))).to_be_visible()


def test_a_reload_keeps_the_result_and_what_is_looked_at(visit: Open) -> None:
    page = measured(visit)
    page.get_by_text("Hide what is right").click()
    click(page, "1", "7")
    page.get_by_role("button", name="Next").click()
    expect(page.get_by_text("Page 2 of 2")).to_be_visible()
    page.reload()
    expect_measured(page)
    expect(page.get_by_text("Page 2 of 2")).to_be_visible()
    expect(page.get_by_role("switch", name="Hide what is right")).to_be_checked()
    expect(page.get_by_role("combobox", name=re.compile("True class"))).to_have_value("1")


def test_a_reload_in_the_middle_goes_on_watching(visit: Open) -> None:
    page = visit("/evaluate")
    upload(page, sevens(LONG))
    expect_done(page)
    page.reload()
    expect(page.get_by_text(re.compile("of 15,000 pictures"))).to_be_visible()
    page.get_by_role("button", name="Stop").click()
    expect_measured(page)


def test_what_is_stopped_in_the_middle_shows_what_was_measured(visit: Open) -> None:
    page = visit("/evaluate")
    upload(page, sevens(LONG, broken=1))
    expect_done(page, 100)
    page.get_by_role("button", name="Stop").click()
    expect_measured(page)
    expect(page.get_by_text(re.compile(r"This is a part only, [\d,]+ of 15,001"))).to_be_visible()
    expect(page.get_by_role("button", name="on the same pictures")).to_be_visible()


def test_a_backend_that_goes_away_in_the_middle_is_waited_for(visit: Open, gate: Gate) -> None:
    page = visit("/evaluate")
    upload(page, sevens(6_000))
    expect_done(page, 100)
    gate.shut()
    expect(page.get_by_text("Waiting for the backend")).to_be_visible()
    gate.open()
    expect_measured(page)
    expect(page.get_by_text("This is a part only")).to_have_count(0)
    accuracy = page.get_by_test_id("stMetric").filter(has_text="Accuracy").first
    expect(accuracy).to_contain_text("100.00 %")
    expect(cell(page, "7", "7")).to_have_attribute("aria-label", "true 7, predicted 7: 6,000")


def test_a_result_can_be_looked_at_without_the_backend(visit: Open, gate: Gate) -> None:
    page = measured(visit)
    gate.shut()
    click(page, "1", "7")
    expect(page.get_by_role("alert").filter(has_text="not reachable")).to_be_visible()
    expect(page.get_by_text("28 pictures of 1 predicted 7")).to_be_visible()
    upload(page, MIXED)
    expect(page.get_by_text("as soon as the backend answers")).to_be_visible()
    gate.open()
    expect(page.get_by_text("28 pictures of 1 predicted 7")).to_have_count(0)  # measured anew
    expect_measured(page)


@pytest.mark.parametrize(
    ("label", "name", "begins"),
    [
        ("Report, HTML", "report.html", b"<!doctype html>"),
        ("Predictions, CSV", "predictions.csv", b"name,label,prediction"),
        ("Figures, JSON", "report.json", b'{"format"'),
        ("Confusion matrix, PNG", "confusion.png", b"\x89PNG"),
        ("Confusion matrix, SVG", "confusion.svg", b"<?xml"),
    ],
)
def test_the_result_can_be_taken_away(visit: Open, label: str, name: str, begins: bytes) -> None:
    page = measured(visit)
    with page.expect_download() as download:
        page.get_by_role("button", name=label).click()
    assert download.value.suggested_filename == name
    content = Path(download.value.path()).read_bytes()
    assert content.lower().startswith(begins.lower())


def test_a_folder_of_hundreds_is_packed_by_the_browser(visit: Open, tmp_path: Path) -> None:
    for i in range(120):
        path = tmp_path / "digits" / "7" / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encoded(seven(60 + i)))
    page = visit("/evaluate")
    page.get_by_text("A folder", exact=True).click()
    chooser = page.locator("input[type=file][webkitdirectory]")
    expect(chooser).to_be_attached()
    expect(page.locator(".st-key-labelled-packer p")).to_be_attached()  # it packs from then on
    chooser.set_input_files(tmp_path / "digits")
    expect(page.get_by_role("heading", name="120 pictures of digits.zip")).to_be_visible()
    expect(page.get_by_text("100.00 %").first).to_be_visible()


def test_a_folder_is_measured(visit: Open, tmp_path: Path) -> None:
    for number, label in enumerate(("7", "7", "1")):
        (tmp_path / "digits" / label).mkdir(parents=True, exist_ok=True)
        (tmp_path / "digits" / label / f"{number}.png").write_bytes(SEVEN)
    (tmp_path / "digits" / "stray.png").write_bytes(SEVEN)
    page = visit("/evaluate")
    page.get_by_text("A folder", exact=True).click()
    page.get_by_text("A folder with one folder for each class").wait_for()
    page.locator("input[type=file]").first.set_input_files(tmp_path / "digits")
    expect_measured(page)
    expect(page.get_by_role("heading", name="on digits")).to_be_visible()
    expect(page.get_by_text("Pictures left out, in no class folder: 1.")).to_be_visible()
    expect(cell(page, "1", "7")).to_have_attribute("aria-label", "true 1, predicted 7: 1")


def test_a_wrong_zip_is_told_and_the_result_before_it_stays(visit: Open) -> None:
    page = measured(visit)
    upload(page, zipped({"cat/a.png": SEVEN}))
    expect(page.get_by_role("alert").first).to_contain_text("does not know these labels")
    expect_measured(page)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_is_accessible(visit: Open, scheme: str) -> None:
    page = visit("/evaluate", scheme=scheme)
    expect(page.locator("input[type=file]").first).to_be_attached()
    expect_accessible(page)
    upload(page, MIXED)
    expect_measured(page)
    click(page, "1", "7")
    expect(page.get_by_text("Page 1 of 2")).to_be_visible()
    expect_accessible(page)


def test_a_phone_shows_the_page_without_scrolling_sideways(visit: Open) -> None:
    page = measured(visit, width=360)
    choose(page, "True class", "1")
    choose(page, "Predicted as", "7")
    expect(page.get_by_text("Page 1 of 2")).to_be_visible()
    expect_to_fit(page)
