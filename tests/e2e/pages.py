"""Actions and expectations on the pages in a browser.

Locators start at `main(page)` or `button(page, ...)`, so that they never match Streamlit's own
toolbar, which has a *Stop* button while a script runs.
"""

import re

from axe_playwright_python.sync_playwright import Axe  # type: ignore[import-untyped]
from playwright.sync_api import FilePayload, Locator, Page, expect

from tests.e2e.conftest import TIMEOUT_MS
from tests.images import encoded, seven

expect.set_options(timeout=TIMEOUT_MS)

SEVEN = encoded(seven())
STROKE = [(0.27, 0.22), (0.5, 0.21), (0.74, 0.22), (0.64, 0.42), (0.54, 0.62), (0.45, 0.84)]
IS_SEVEN = re.compile(r"^7, [>\d.]+% confidence")


def main(page: Page) -> Locator:
    """Return the main content, without Streamlit's toolbar and the sidebar."""
    return page.get_by_test_id("stMain")


def button(page: Page, name: str | re.Pattern[str], *, exact: bool = False) -> Locator:
    """Return a button of the main content."""
    return main(page).get_by_role("button", name=name, exact=exact)


def wait_until_idle(page: Page) -> None:
    """Wait until no script runs and nothing moves: an option list closes when the page scrolls."""
    app = page.get_by_test_id("stApp")
    expect(app).to_have_attribute("data-test-script-state", "notRunning")
    page.wait_for_function(
        """async () => {
            const isMoving = animation => animation.playState === 'running'
                && animation.effect?.getTiming().iterations !== Infinity;
            const layout = () => JSON.stringify(
                [...document.querySelectorAll('[data-testid=stMain], [data-testid=stMain] *')]
                    .map(element => [element.scrollTop, element.getBoundingClientRect().top]));
            const before = layout();
            for (let frame = 0; frame < 3; frame++) await new Promise(requestAnimationFrame);
            return layout() === before && !document.getAnimations().some(isMoving)
                && [...document.images].every(image => image.complete)
                && !document.querySelector('[data-testid=stSkeleton]');
        }"""
    )


def choose_option(page: Page, combobox: Locator, option: str) -> None:
    """Choose an option of a select box with the mouse."""
    combobox.scroll_into_view_if_needed()
    wait_until_idle(page)
    combobox.click()
    page.get_by_role("option", name=option, exact=True).click()


def pad(page: Page) -> Locator:
    return page.get_by_label("Drawing pad")


def stroke_points(page: Page) -> list[tuple[float, float]]:
    """Return the stroke of a 7 on the pad in page coordinates."""
    pad(page).scroll_into_view_if_needed()
    box = pad(page).bounding_box()
    assert box is not None
    return [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in STROKE]


def draw_seven(page: Page) -> None:
    points = stroke_points(page)
    page.mouse.move(*points[0])
    page.mouse.down()
    for point in points[1:]:
        page.mouse.move(*point, steps=6)
    page.mouse.up()


def draw_seven_by_touch(page: Page) -> None:
    points = stroke_points(page)
    session = page.context.new_cdp_session(page)
    for i, (x, y) in enumerate(points):
        kind = "touchMove" if i else "touchStart"
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [{"x": x, "y": y}]})
    session.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})


def result(page: Page) -> Locator:
    """Return the headlines of all results."""
    return main(page).get_by_role("heading", level=2)


def expect_seven(page: Page) -> None:
    expect(result(page)).to_have_text([IS_SEVEN])  # a list: exactly one


def announcement(page: Page, text: str | re.Pattern[str]) -> Locator:
    """Return the text that screen readers read."""
    return main(page).get_by_role("status").filter(has_text=text)


def file(name: str, content: bytes = SEVEN) -> FilePayload:
    return {"name": name, "mimeType": "image/png", "buffer": content}


def upload(page: Page, *files: FilePayload) -> None:
    file_input = main(page).locator("input[type=file]").first
    expect(file_input).to_be_attached()
    file_input.set_input_files(list(files))


def upload_zip(page: Page, content: bytes, name: str = "digits.zip") -> None:
    upload(page, {"name": name, "mimeType": "application/zip", "buffer": content})


def expect_accessible(page: Page) -> None:
    """Wait until the page is idle, then expect no WCAG A or AA violations."""
    wait_until_idle(page)
    rules = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]}
    results = Axe().run(page, options=rules)
    assert results.violations_count == 0, results.generate_report()


def expect_no_horizontal_scrolling(page: Page, width: int = 360) -> None:
    """Expect the content to fit; charts are drawn again some time after the size changed."""
    page.wait_for_function(
        """limit => Math.max(document.documentElement.scrollWidth,
                             document.querySelector('[data-testid=stMain]').scrollWidth)
                 <= limit""",
        arg=width,
    )
