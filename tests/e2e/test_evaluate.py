"""The Evaluate page in a browser."""

import re
from contextlib import suppress
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect
from playwright.sync_api import TimeoutError as PlaywrightTimeoutError

from tests.e2e.conftest import Visit
from tests.e2e.pages import (
    announcement,
    button,
    expect_accessible,
    expect_no_horizontal_scrolling,
    main,
    upload_zip,
    wait_until_idle,
)
from tests.e2e.toggle_proxy import ToggleProxy
from tests.images import SEVEN, encoded, seven, sevens, zipped

pytestmark = pytest.mark.browser

MIXED = sevens(30, labeled_one=28, labeled_two=1, broken=1)
LARGE = 6_000  # images: the evaluation runs long enough to be interrupted
EXPORTS = {
    "Report (HTML)": ("report.html", b"<!doctype html>"),
    "Predictions (CSV)": ("predictions.csv", b"name,label,prediction"),
    "Metrics (JSON)": ("report.json", b'{"format"'),
    "Confusion matrix (PNG)": ("confusion.png", b"\x89png"),
    "Confusion matrix (SVG)": ("confusion.svg", b"<?xml"),
}


def expect_report(page: Page) -> None:
    expect(button(page, "Report (HTML)")).to_be_visible()


def wait_for_progress(page: Page, minimum: int = 1) -> None:
    """Wait until the running job has done at least `minimum` images."""
    page.wait_for_function(
        """minimum => {
            const progress = document.querySelector('[data-testid=stProgress]')?.innerText ?? '';
            return parseInt(progress.replaceAll(',', '')) >= minimum;
        }""",
        arg=minimum,
    )


def evaluate(visit: Visit, content: bytes = MIXED, **options: str | int) -> Page:
    page = visit("/evaluate", **options)
    upload_zip(page, content)
    expect_report(page)
    return page


def cell(page: Page, true: str, predicted: str) -> Locator:
    label = f"true {true}, predicted {predicted}:"
    return main(page).locator(f"path[aria-label^='{label}']")


def click_cell(page: Page, true: str, predicted: str) -> None:
    expect(cell(page, true, predicted)).to_have_count(1)  # the previous chart may still be there
    cell(page, true, predicted).click()


def selector(page: Page, label: str) -> Locator:
    return main(page).get_by_role("combobox", name=re.compile(label))


def select_by_keyboard(page: Page, label: str, option: str) -> None:
    """Select an option; try again if the list closed, as it does while the page scrolls."""
    combobox = page.get_by_role("combobox", name=re.compile(label))
    group = main(page).get_by_role("group").filter(has=combobox)
    selected = group.get_by_role("button", name="Clear value")
    for _ in range(10):
        wait_until_idle(page)
        selector(page, label).focus()
        selector(page, label).fill("")  # the same text again would not open the list
        selector(page, label).fill(option)
        with suppress(PlaywrightTimeoutError):
            page.get_by_role("option", name=option, exact=True).wait_for(timeout=3_000)
            selector(page, label).press("Enter")
            selected.wait_for(timeout=3_000)  # until then the value is only the typed text
            break
    expect(selected).to_be_visible()
    expect(selector(page, label)).to_have_value(option)


def text_in_matrix(page: Page, text: str) -> Locator:
    return main(page).locator("svg text", has_text=re.compile(f"^{text}$"))


def test_metrics_and_exports_of_a_zip(visit: Visit) -> None:
    page = evaluate(visit)
    heading = main(page).get_by_role("heading", name="Handwritten digits on digits.zip")
    expect(heading).to_be_visible()
    metrics = main(page).get_by_test_id("stMetric")
    expect(metrics.filter(has_text="Accuracy").first).to_contain_text("50.85%")  # 30 of 59
    for name in ("Macro F1", "Top-5 accuracy", "Expected calibration error", "Latency"):
        expect(metrics.filter(has_text=name)).to_be_visible()
    expect(main(page).get_by_text("1 image could not be classified")).to_be_visible()
    expect(announcement(page, "50.85% accuracy on 59 images")).to_have_count(1)
    for label, (name, prefix) in EXPORTS.items():
        with page.expect_download() as download:
            button(page, label).click()
        assert download.value.suggested_filename == name
        content = Path(download.value.path()).read_bytes()
        assert content.lower().startswith(prefix)
    upload_zip(page, zipped({"cat/a.png": SEVEN}))
    expect(main(page).get_by_role("alert").first).to_contain_text("unknown to the model: 'cat'")
    expect_report(page)


def test_clicked_cell_shows_its_images(visit: Visit) -> None:
    page = evaluate(visit)
    click_cell(page, "1", "7")
    expect(main(page).get_by_role("heading", name="28 images of 1 predicted as 7")).to_be_visible()
    expect(main(page).get_by_text("Page 1 of 2")).to_be_visible()
    first = main(page).get_by_alt_text("1/00000.png: labeled 1, predicted 7")
    expect(first.first).to_be_visible()
    button(page, "Next").click()
    expect(main(page).get_by_text("Page 2 of 2")).to_be_visible()
    last = main(page).get_by_alt_text("1/00027.png: labeled 1, predicted 7")
    expect(last.first).to_be_visible()
    click_cell(page, "2", "7")
    expect(main(page).get_by_role("heading", name="1 image of 2 predicted as 7")).to_be_visible()
    button(page, "Close images").click()
    expect(main(page).get_by_role("heading", name="of 2 predicted as 7")).to_have_count(0)
    click_cell(page, "2", "7")
    expect(main(page).get_by_role("heading", name="1 image of 2 predicted as 7")).to_be_visible()


def scroll_position(page: Page) -> float:
    wait_until_idle(page)
    position: float = main(page).evaluate("element => element.scrollTop")
    return position


def wait_for_scrolling_to(page: Page, heading: Locator) -> None:
    """Wait until the heading is near the top, below the selectors."""
    page.wait_for_function(
        "heading => heading.getBoundingClientRect().top < 220", arg=heading.element_handle()
    )


def test_choice_of_a_cell_scrolls_to_its_images(visit: Visit) -> None:
    page = evaluate(visit)
    images = main(page).get_by_role("heading", name="images of 1 predicted as 7")
    click_cell(page, "1", "7")
    expect(main(page).get_by_alt_text("1/00000.png").first).to_be_in_viewport()
    expect(selector(page, "True class")).to_be_in_viewport()
    wait_for_scrolling_to(page, images)
    position = scroll_position(page)
    button(page, "Next").evaluate("button => button.click()")  # reruns the page, scrolls nothing
    expect(main(page).get_by_text("Page 2 of 2")).to_be_attached()
    assert scroll_position(page) == position


def test_choice_of_a_class_by_keyboard_scrolls_to_its_images(visit: Visit) -> None:
    page = evaluate(visit)
    selector(page, "True class").evaluate(
        "element => { element.focus(); element.scrollIntoView({block: 'end'}); }"
    )
    select_by_keyboard(page, "True class", "1")
    wait_for_scrolling_to(page, main(page).get_by_role("heading", name="images of 1"))
    expect(selector(page, "True class")).to_be_in_viewport()


def test_open_cell_does_not_scroll_after_a_reload(visit: Visit) -> None:
    page = evaluate(visit)
    click_cell(page, "1", "7")
    expect(main(page).get_by_alt_text("1/00000.png").first).to_be_in_viewport()
    page.reload()
    expect_report(page)
    expect(main(page).get_by_role("heading", name="images of 1 predicted as 7")).to_be_attached()
    assert scroll_position(page) == 0


def test_selection_by_keyboard_survives_a_reload(visit: Visit) -> None:
    page = evaluate(visit)
    expect(text_in_matrix(page, "30")).to_be_visible()
    main(page).get_by_text("Show mistakes only").click()
    expect(text_in_matrix(page, "30")).to_have_count(0)
    expect(text_in_matrix(page, "28")).to_be_visible()
    select_by_keyboard(page, "True class", "1")
    select_by_keyboard(page, "Predicted class", "7")
    expect(main(page).get_by_role("heading", name="28 images of 1 predicted as 7")).to_be_visible()
    button(page, "Next").press("Enter")
    expect(main(page).get_by_text("Page 2 of 2")).to_be_visible()
    page.reload()
    expect_report(page)
    expect(main(page).get_by_text("Page 2 of 2")).to_be_visible()
    expect(main(page).get_by_role("switch", name="Show mistakes only")).to_be_checked()
    expect(selector(page, "True class")).to_have_value("1")


def start_and_interrupt(page: Page, proxy: ToggleProxy) -> None:
    """Start a job, and disconnect the backend while it runs, so that the job cannot finish."""
    upload_zip(page, sevens(LARGE))
    wait_for_progress(page, 100)
    proxy.close()
    expect(main(page).get_by_text("Waiting for the backend")).to_be_visible()


def test_running_job_waits_for_the_backend_and_survives_a_reload(
    visit: Visit, proxy: ToggleProxy
) -> None:
    page = visit("/evaluate")
    start_and_interrupt(page, proxy)
    page.reload()
    expect(main(page).get_by_text("of 6,000 images")).to_be_visible()
    proxy.open()
    expect_report(page)
    expect(main(page).get_by_text("Partial result")).to_have_count(0)
    accuracy = main(page).get_by_test_id("stMetric").filter(has_text="Accuracy").first
    expect(accuracy).to_contain_text("100.00%")
    expect(cell(page, "7", "7")).to_have_attribute("aria-label", "true 7, predicted 7: 6,000")


def test_stopped_job_has_a_partial_result(visit: Visit, proxy: ToggleProxy) -> None:
    page = visit("/evaluate")
    start_and_interrupt(page, proxy)
    button(page, "Stop", exact=True).click()
    expect_report(page)
    partial = main(page).get_by_text(re.compile(r"Partial result: [\d,]+ of 6,000 images"))
    expect(partial).to_be_visible()
    proxy.open()
    expect(button(page, "on the same images")).to_be_visible()


def test_result_stays_and_an_upload_waits_while_the_backend_is_unreachable(
    visit: Visit, proxy: ToggleProxy
) -> None:
    page = evaluate(visit)
    proxy.close()
    click_cell(page, "1", "7")
    expect(main(page).get_by_role("alert").filter(has_text="not reachable")).to_be_visible()
    expect(main(page).get_by_role("heading", name="28 images of 1 predicted as 7")).to_be_visible()
    upload_zip(page, MIXED)
    note = main(page).get_by_text("Processing starts when the backend is available again")
    expect(note).to_be_visible()
    proxy.open()
    expect(main(page).get_by_role("heading", name="28 images of 1 predicted as 7")).to_have_count(0)
    expect_report(page)


def select_folder_upload(page: Page) -> None:
    main(page).get_by_text("Folder", exact=True).click()
    main(page).get_by_text("Folder with one folder per class").wait_for()
    expect(main(page).locator("input[type=file][webkitdirectory]")).to_be_attached()
    expect(page.locator(".st-key-labeled-packer p")).to_be_attached()  # the packer is ready


def test_large_folder_is_packed_by_the_browser(visit: Visit, tmp_path: Path) -> None:
    for i in range(120):
        path = tmp_path / "digits" / "7" / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encoded(seven(60 + i)))
    page = visit("/evaluate")
    select_folder_upload(page)
    main(page).locator("input[type=file][webkitdirectory]").set_input_files(tmp_path / "digits")
    heading = main(page).get_by_role("heading", name="120 images from digits.zip")
    expect(heading).to_be_visible()
    expect(main(page).get_by_text("100.00%").first).to_be_visible()


def test_folder_is_evaluated_without_files_outside_class_folders(
    visit: Visit, tmp_path: Path
) -> None:
    for number, label in enumerate(("7", "7", "1")):
        (tmp_path / "digits" / label).mkdir(parents=True, exist_ok=True)
        (tmp_path / "digits" / label / f"{number}.png").write_bytes(SEVEN)
    (tmp_path / "digits" / "stray.png").write_bytes(SEVEN)
    page = visit("/evaluate")
    select_folder_upload(page)
    main(page).locator("input[type=file][webkitdirectory]").set_input_files(tmp_path / "digits")
    expect_report(page)
    expect(main(page).get_by_role("heading", name="on digits")).to_be_visible()
    note = main(page).get_by_text("Images skipped (not in a class folder): 1.")
    expect(note).to_be_visible()
    expect(cell(page, "1", "7")).to_have_attribute("aria-label", "true 1, predicted 7: 1")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_page_is_accessible(visit: Visit, scheme: str) -> None:
    page = visit("/evaluate", scheme=scheme)
    expect(main(page).locator("input[type=file]").first).to_be_attached()
    expect_accessible(page)
    upload_zip(page, MIXED)
    expect_report(page)
    click_cell(page, "1", "7")
    expect(main(page).get_by_text("Page 1 of 2")).to_be_visible()
    expect_accessible(page)


def test_page_fits_a_phone(visit: Visit) -> None:
    page = evaluate(visit, width=360)
    select_by_keyboard(page, "True class", "1")
    select_by_keyboard(page, "Predicted class", "7")
    expect(main(page).get_by_text("Page 1 of 2")).to_be_visible()
    expect_no_horizontal_scrolling(page)
