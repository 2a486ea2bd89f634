"""What all pages share in a browser: titles, headings, focus, and the model's name on phones."""

from itertools import pairwise

import pytest
from playwright.sync_api import Page, expect

from tests.e2e.conftest import Visit
from tests.e2e.pages import draw_seven, expect_no_horizontal_scrolling, expect_seven, main

pytestmark = pytest.mark.browser

PAGES = {
    "/": "Classify",
    "/draw": "Draw",
    "/teach": "Teach",
    "/compare": "Compare",
    "/evaluate": "Evaluate",
    "/video": "Video",
    "/history": "History",
    "/models": "Models",
}
OUTLINE_WIDTH = """() => {
    let element = document.activeElement;
    while (element?.shadowRoot?.activeElement) element = element.shadowRoot.activeElement;
    if (!element || element === document.body) return null;
    let width = 0;
    for (let depth = 0; element && depth < 3; depth++, element = element.parentElement) {
        const style = getComputedStyle(element);
        if (style.outlineStyle !== "none") width = Math.max(width, parseFloat(style.outlineWidth));
    }
    return width;
}"""


def heading_levels(page: Page) -> list[int]:
    levels: list[int] = page.evaluate(
        """() => [...document.querySelectorAll("h1, h2, h3, h4, h5, h6")]
               .filter(heading => heading.checkVisibility())
               .map(heading => Number(heading.tagName[1]))"""
    )
    return levels


def expect_ordered_headings(page: Page) -> None:
    levels = heading_levels(page)
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(second <= first + 1 for first, second in pairwise(levels))


def test_each_page_has_its_title_and_ordered_headings(visit: Visit) -> None:
    page = visit()
    for name in PAGES.values():
        page.get_by_role("link", name=name, exact=True).click()
        expect(page.get_by_role("heading", level=1)).to_have_text(name)
        expect(page).to_have_title(f"{name} · Prism")
        expect_ordered_headings(page)
    page.get_by_role("link", name="Draw", exact=True).click()
    draw_seven(page)
    expect_seven(page)
    expect_ordered_headings(page)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("path", ["/", "/draw", "/history"])
def test_focus_is_visible(visit: Visit, path: str, scheme: str) -> None:
    page = visit(path, scheme=scheme)
    expect(page.get_by_role("combobox", name="Model")).to_be_visible()
    for _ in range(25):
        page.keyboard.press("Tab")
        page.wait_for_function(
            f"() => {{ const width = ({OUTLINE_WIDTH})(); return width === null || width >= 3; }}"
        )


@pytest.mark.parametrize("path", ["/", "/draw", "/evaluate", "/video"])
def test_phone_shows_the_name_of_the_model(visit: Visit, path: str) -> None:
    page = visit(path, width=360)
    name = main(page).get_by_text("Model: ")
    expect(name.first).to_be_visible()
    expect_no_horizontal_scrolling(page)
    page.set_viewport_size({"width": 1280, "height": 900})
    expect(name.first).to_be_hidden()
