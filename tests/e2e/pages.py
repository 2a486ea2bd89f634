"""What tests do with pages in a browser: draw, upload, read the answer, look for barriers."""

from axe_playwright_python.sync_playwright import Axe  # type: ignore[import-untyped]
from playwright.sync_api import FilePayload, Locator, Page, expect

from tests.e2e.conftest import PATIENCE
from tests.pictures import encoded, seven

expect.set_options(timeout=PATIENCE)

SEVEN = encoded(seven())
STROKE = [(0.27, 0.22), (0.5, 0.21), (0.74, 0.22), (0.64, 0.42), (0.54, 0.62), (0.45, 0.84)]


def pad(page: Page) -> Locator:
    return page.get_by_label("Drawing pad")


def stroke_on(page: Page) -> list[tuple[float, float]]:
    """Return the stroke of a 7 in coordinates of the page."""
    pad(page).scroll_into_view_if_needed()
    box = pad(page).bounding_box()
    assert box is not None
    return [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in STROKE]


def draw_seven(page: Page) -> None:
    points = stroke_on(page)
    page.mouse.move(*points[0])
    page.mouse.down()
    for point in points[1:]:
        page.mouse.move(*point, steps=6)
    page.mouse.up()


def draw_seven_with_a_finger(page: Page) -> None:
    points = stroke_on(page)
    finger = page.context.new_cdp_session(page)
    for i, (x, y) in enumerate(points):
        kind = "touchMove" if i else "touchStart"
        finger.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [{"x": x, "y": y}]})
    finger.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})


def answer(page: Page) -> Locator:
    return page.get_by_role("heading", level=3)


def expect_seven(page: Page) -> None:
    expect(answer(page)).to_contain_text("a 7 (")


def file(name: str, content: bytes = SEVEN) -> FilePayload:
    return {"name": name, "mimeType": "image/png", "buffer": content}


def upload(page: Page, *files: FilePayload) -> None:
    chooser = page.locator("input[type=file]").first
    expect(chooser).to_be_attached()
    chooser.set_input_files(list(files))


def expect_accessible(page: Page) -> None:
    """Wait until the page rests, then expect axe to find nothing against WCAG A and AA."""
    expect(page.get_by_role("button", name="Stop", exact=True)).to_have_count(0)  # while it runs
    rules = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]}
    results = Axe().run(page, options=rules)
    assert results.violations_count == 0, results.generate_report()


def expect_to_fit(page: Page, width: int = 360) -> None:
    """Expect that nothing has to be scrolled sideways."""
    widest = page.evaluate(
        """() => Math.max(document.documentElement.scrollWidth,
                          document.querySelector('[data-testid=stMain]').scrollWidth)"""
    )
    assert widest <= width
