"""HTML reports of an evaluation in a browser."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe  # type: ignore[import-untyped]
from playwright.sync_api import Browser, Page

from tests.evaluation.html_pages import render_pages

LOCAL_SCHEMES = {"file:", "data:"}


@pytest.fixture(scope="module")
def pages() -> dict[str, str]:
    return render_pages()


@pytest.fixture
def browser_page(browser: Browser, tmp_path: Path) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 360, "height": 800})
    page = context.new_page()
    problems: list[str] = []
    page.on("console", lambda message: problems.append(message.text))
    page.on(
        "request",
        lambda request: (
            problems.append(request.url) if request.url[:5] not in LOCAL_SCHEMES else None
        ),
    )
    yield page
    context.close()
    assert problems == []


@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(
    "name", ["report", "many classes", "comparison", "comparison, many classes"]
)
def test_page_is_accessible_and_fits_a_phone(
    browser_page: Page, pages: dict[str, str], tmp_path: Path, name: str, scheme: str
) -> None:
    (tmp_path / "page.html").write_text(pages[name], encoding="utf-8")
    browser_page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    browser_page.goto((tmp_path / "page.html").as_uri())
    rules = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]}
    results = Axe().run(browser_page, options=rules)
    assert results.violations_count == 0, results.generate_report()
    assert browser_page.evaluate("document.documentElement.scrollWidth") <= 360
    broken = "[...document.images].filter(image => !image.naturalWidth).length"
    assert browser_page.evaluate(broken) == 0
