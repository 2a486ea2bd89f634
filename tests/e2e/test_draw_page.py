"""The Draw page in a browser."""

import re

import pytest
from playwright.sync_api import Page, expect

from client import Client
from tests.e2e.conftest import Visit
from tests.e2e.pages import (
    IS_SEVEN,
    announcement,
    button,
    draw_seven,
    draw_seven_by_touch,
    expect_accessible,
    expect_no_horizontal_scrolling,
    expect_seven,
    main,
    pad,
    result,
    wait_until_idle,
)
from tests.e2e.toggle_proxy import ToggleProxy

pytestmark = pytest.mark.browser

FINISHED_AFTER_MS = 4000
NO_PREDICTION = "The prediction appears here."


def ink(page: Page) -> int:
    """Return the number of dark pixels on the pad."""
    count: int = pad(page).evaluate(
        """pad => pad.getContext('2d').getImageData(0, 0, pad.width, pad.height).data
               .filter((value, i) => i % 4 === 0 && value < 128).length"""
    )
    return count


def test_drawing_is_classified(visit: Visit) -> None:
    page = visit("/draw")
    expect(main(page).get_by_text(NO_PREDICTION)).to_be_visible()
    draw_seven(page)
    expect_seven(page)
    expect(announcement(page, IS_SEVEN)).to_have_count(1)
    expect(page.get_by_role("list", name="Probabilities. 7, ")).to_be_visible()
    labels = page.get_by_role("listitem").locator(".label")
    expect(labels).to_have_text([str(digit) for digit in range(10)])
    model_input = page.get_by_alt_text("Model input: the image after preprocessing, 28 × 28 pixels")
    expect(model_input).to_have_css("image-rendering", "pixelated")
    expect(model_input).to_have_js_property("naturalWidth", 28)
    expect(model_input).to_have_css("width", "140px")


def test_undo_redo_and_clear_work_by_button_and_by_keyboard(visit: Visit) -> None:
    page = visit("/draw")
    draw_seven(page)
    expect_seven(page)
    drawn = ink(page)
    button(page, "Undo").click()
    assert ink(page) == 0
    expect(main(page).get_by_text(NO_PREDICTION)).to_be_visible()
    button(page, "Redo").click()
    assert ink(page) == drawn
    page.keyboard.press("Control+z")
    assert ink(page) == 0
    page.keyboard.press("Control+y")
    assert ink(page) == drawn
    expect_seven(page)
    button(page, "Clear").click()
    expect(main(page).get_by_text(NO_PREDICTION)).to_be_visible()
    expect(button(page, "Undo")).to_be_disabled()
    assert ink(page) == 0


def test_rapid_undo_and_redo_end_with_the_last_drawing(visit: Visit) -> None:
    page = visit("/draw")
    draw_seven(page)
    expect_seven(page)
    for _ in range(30):
        pad(page).press("Control+z")  # sets the focus, which is lost if the pad is created again
        pad(page).press("Control+y")
    expect_seven(page)
    expect(button(page, "Correct", exact=True)).to_be_visible()


def test_pad_is_drawn_on_with_the_keyboard(visit: Visit) -> None:
    page = visit("/draw")
    pad(page).focus()
    for _ in range(16):
        page.keyboard.press("ArrowUp")
    page.keyboard.down(" ")
    for _ in range(32):
        page.keyboard.press("ArrowDown")
    page.keyboard.up(" ")
    expect(result(page)).to_have_text(re.compile(r"^1, "))


def test_click_draws_a_dot(visit: Visit) -> None:
    page = visit("/draw")
    pad(page).click()
    expect(result(page)).to_be_visible()
    assert ink(page) > 100


def test_wider_pen_leaves_more_ink(visit: Visit) -> None:
    page = visit("/draw")
    draw_seven(page)
    expect_seven(page)
    thin = ink(page)
    button(page, "Clear").click()
    page.get_by_role("slider", name="Pen").fill("48")
    draw_seven(page)
    assert ink(page) > 1.4 * thin


def test_drawing_persists_across_pages(visit: Visit) -> None:
    page = visit("/draw")
    draw_seven(page)
    expect_seven(page)
    page.get_by_role("link", name="Classify").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Classify")
    page.get_by_role("link", name="Draw").click()
    expect_seven(page)
    assert ink(page) > 0


def test_reload_keeps_the_drawing_and_its_feedback(visit: Visit) -> None:
    page = visit("/draw")
    draw_seven(page)
    expect_seven(page)
    drawn = ink(page)
    button(page, "Correct", exact=True).click()
    expect(main(page).get_by_text("Marked correct")).to_be_visible()
    page.reload()
    expect_seven(page)
    expect(main(page).get_by_text("Marked correct")).to_be_visible()
    assert ink(page) == drawn


def test_drawing_of_several_strokes_is_stored_once(visit: Visit, backend_url: str) -> None:
    page = visit("/draw")
    with Client(backend_url) as client:
        before = {item.id for item in client.history.page(limit=500).items}

        def stored() -> int:
            return len({item.id for item in client.history.page(limit=500).items} - before)

        draw_seven(page)
        expect_seven(page)
        pad(page).click()
        expect(result(page)).to_be_visible()
        wait_until_idle(page)
        assert stored() == 0
        page.get_by_role("link", name="History").click()
        expect(page.get_by_role("heading", level=1)).to_have_text("History")
        wait_until_idle(page)
        assert stored() == 1
        page.get_by_role("link", name="Draw").click()
        expect(result(page)).to_have_count(1)  # the headings of the previous page are gone
        pad(page).click()  # continues the stored drawing
        page.wait_for_timeout(FINISHED_AFTER_MS + 1000)
        wait_until_idle(page)
        assert stored() == 1
        button(page, "Clear").click()
        expect(main(page).get_by_text(NO_PREDICTION)).to_be_visible()
        wait_until_idle(page)
        assert stored() == 1


def test_drawing_is_classified_when_the_backend_is_back(visit: Visit, proxy: ToggleProxy) -> None:
    page = visit("/draw")
    expect(main(page).get_by_text(NO_PREDICTION)).to_be_visible()
    proxy.close()
    draw_seven(page)
    expect(main(page).get_by_role("alert")).to_contain_text("not reachable")
    proxy.open()
    expect_seven(page)


def test_unreachable_backend_is_reported_and_retried(visit: Visit, proxy: ToggleProxy) -> None:
    proxy.close()
    page = visit("/draw")
    message = main(page).get_by_role("alert").filter(has_text=f"not reachable at {proxy.url}")
    expect(message).to_contain_text("make run")
    proxy.open()
    expect(message).to_have_count(0)
    expect(page.get_by_role("combobox", name="Model")).to_be_visible()


def test_stroke_does_not_rerun_the_sidebar(visit: Visit) -> None:
    """A rerun of the whole page also requests the served models, which makes strokes slow."""
    page = visit("/draw")
    draw_seven(page)
    expect_seven(page)
    expect(button(page, "Correct", exact=True)).to_be_visible()
    wait_until_idle(page)
    page.evaluate(
        """() => {
            const sidebar = document.querySelector("[data-testid=stSidebarUserContent]");
            window.mutations = 0;
            new MutationObserver(() => (window.mutations += 1)).observe(sidebar, {
                childList: true, subtree: true, attributes: true, characterData: true,
            });
        }"""
    )
    button(page, "Undo").click()
    expect(main(page).get_by_text(NO_PREDICTION)).to_be_visible()
    button(page, "Redo").click()
    expect_seven(page)
    assert page.evaluate("window.mutations") == 0


def test_page_fits_a_phone(visit: Visit) -> None:
    page = visit("/draw", width=360)
    draw_seven_by_touch(page)
    expect_seven(page)
    expect_no_horizontal_scrolling(page)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_page_is_accessible(visit: Visit, scheme: str) -> None:
    page = visit("/draw", scheme=scheme)
    draw_seven(page)
    expect_seven(page)
    expect_accessible(page)
