"""What the pages say of a calibrated model's answers, in a real browser."""

import pytest
from axe_playwright_python.sync_playwright import Axe  # type: ignore[import-untyped]
from playwright.sync_api import Locator, Page, expect

from tests.e2e.conftest import Visit
from tests.e2e.pages import answer, draw_seven, file, upload
from tests.images import encoded, noise

pytestmark = pytest.mark.browser

NO_DIGIT = encoded(noise(120, 120))


@pytest.fixture(scope="session")
def backend_url(calibrated_url: str) -> str:
    """The pages of this file have a calibrated model before them."""
    return calibrated_url


def coverage(page: Page, level: str) -> Locator:
    return page.get_by_role("radiogroup", name="Coverage").get_by_text(level)


def told(page: Page, words: str) -> Locator:
    """What a screen reader is told."""
    return page.get_by_role("status").filter(has_text=words)


def test_the_coverage_that_is_chosen_is_promised_on_both_pages(visit: Visit) -> None:
    page = visit()
    upload(page, file("seven.png"))
    expect(page.get_by_text("A 7, with 95 % coverage.").first).to_be_visible()
    expect(told(page, "A 7, with 95 % coverage.")).to_have_count(1)
    coverage(page, "99 %").click()
    expect(told(page, "one of these with 99 % coverage.")).to_have_count(1)
    page.get_by_role("link", name="Draw").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Draw")
    draw_seven(page)
    expect(told(page, "one of these with 99 % coverage.")).to_have_count(1)
    coverage(page, "90 %").click()
    expect(told(page, "A 7, with 90 % coverage.")).to_have_count(1)


def test_what_is_no_digit_is_called_none(visit: Visit) -> None:
    page = visit()
    upload(page, file("noise.png", NO_DIGIT))
    expect(answer(page)).to_have_text("This does not look like a digit.")
    expect(told(page, "does not look like a digit. The closest would be a")).to_have_count(1)
    expect(page.get_by_role("list", name="Probabilities")).to_be_visible()
    expect(page.get_by_test_id("stMain").get_by_text("% coverage")).to_have_count(0)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_is_accessible_and_fits_a_phone(visit: Visit, scheme: str) -> None:
    for width in (1280, 360):
        page = visit(width=width, scheme=scheme)
        upload(page, file("seven.png"), file("noise.png", NO_DIGIT))
        expect(answer(page)).to_have_count(2)
        if width == 360:
            page.get_by_test_id("stExpandSidebarButton").click()
        expect(coverage(page, "99 %")).to_be_visible()
        expect(page.get_by_role("button", name="Stop")).to_have_count(0)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        rules = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]}
        results = Axe().run(page, options=rules)
        assert results.violations_count == 0, results.generate_report()
