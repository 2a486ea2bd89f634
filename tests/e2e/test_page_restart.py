"""Results of the page after a restart of its process: PRISM_PAGE_STORE."""

import re
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.conftest import free_port
from tests.e2e.conftest import TIMEOUT_MS, run_frontend
from tests.e2e.pages import (
    announcement,
    button,
    expect_accessible,
    expect_no_horizontal_scrolling,
    expect_seven,
    file,
    main,
    upload,
    upload_zip,
)
from tests.e2e.test_evaluate import LARGE, expect_report, wait_for_progress
from tests.images import sevens

pytestmark = pytest.mark.browser


def open_tab(browser: Browser, url: str) -> Page:
    page = browser.new_context(viewport={"width": 1280, "height": 900}).new_page()
    page.set_default_timeout(TIMEOUT_MS)
    page.goto(url)
    page.get_by_role("heading", level=1).wait_for()
    return page


def figures(page: Page) -> list[str]:
    return main(page).get_by_test_id("stMetricValue").all_inner_texts()


def test_results_are_shown_again_after_a_restart(
    browser: Browser, backend_url: str, tmp_path: Path
) -> None:
    port, log = free_port(), tmp_path / "log"
    store = f"sqlite:///{tmp_path / 'page.db'}"
    with run_frontend(backend_url, log, port, PRISM_PAGE_STORE=store) as url:
        evaluated = open_tab(browser, f"{url}/evaluate")
        button(evaluated, "Try an example dataset").click()
        expect_report(evaluated)
        before = figures(evaluated)
        assert len(before) == 6
        classified = open_tab(browser, url)
        upload(classified, file("seven.png"))
        expect_seven(classified)
        interrupted = open_tab(browser, f"{url}/evaluate")
        upload_zip(interrupted, sevens(LARGE))
        wait_for_progress(interrupted)
    with run_frontend(backend_url, log, port, PRISM_PAGE_STORE=store):
        evaluated.reload()
        expect_report(evaluated)
        assert figures(evaluated) == before
        expect(main(evaluated).get_by_text("upload the dataset again")).to_be_visible()
        expect(announcement(evaluated, "accuracy on 300 images")).to_have_count(1)
        expect_accessible(evaluated)
        evaluated.set_viewport_size({"width": 360, "height": 740})
        expect_no_horizontal_scrolling(evaluated)
        classified.reload()
        expect_seven(classified)
        interrupted.reload()
        partial = main(interrupted).get_by_text(re.compile(r"Partial result: [\d,]+ of 6,000"))
        expect(partial).to_contain_text("The server of this page stopped.")
        expect_report(interrupted)
    for page in (evaluated, classified, interrupted):
        page.context.close()
