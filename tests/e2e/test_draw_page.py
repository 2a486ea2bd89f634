"""What a person does with the page Draw, in a real browser."""

import pytest
from playwright.sync_api import Page, expect

from tests.e2e.conftest import Open
from tests.e2e.gate import Gate
from tests.e2e.pages import (
    answer,
    draw_seven,
    draw_seven_with_a_finger,
    expect_accessible,
    expect_seven,
    expect_to_fit,
    pad,
)

pytestmark = pytest.mark.browser


def ink(page: Page) -> int:
    """Return how many pixels of the pad are dark."""
    count: int = pad(page).evaluate(
        """pad => pad.getContext('2d').getImageData(0, 0, pad.width, pad.height).data
               .filter((value, i) => i % 4 === 0 && value < 128).length"""
    )
    return count


def test_a_seven_drawn_with_the_mouse_is_read(visit: Open) -> None:
    page = visit("/draw")
    expect(page.get_by_text("The answer will appear here.")).to_be_visible()
    draw_seven(page)
    expect_seven(page)
    expect(page.get_by_role("status").filter(has_text="a 7 (")).to_have_count(1)
    expect(page.get_by_role("list", name="Probabilities. This is a 7")).to_be_visible()
    expect(page.get_by_role("listitem").filter(has_text="7")).to_contain_text("%")


def test_the_pad_can_be_cleared_and_a_stroke_taken_back(visit: Open) -> None:
    page = visit("/draw")
    draw_seven(page)
    expect_seven(page)
    page.get_by_role("button", name="Undo").click()
    expect(page.get_by_text("The answer will appear here.")).to_be_visible()
    draw_seven(page)
    expect_seven(page)
    page.get_by_role("button", name="Clear").click()
    expect(page.get_by_text("The answer will appear here.")).to_be_visible()
    assert ink(page) == 0


def test_the_page_keeps_up_with_whoever_takes_back_and_redraws_quickly(visit: Open) -> None:
    page = visit("/draw")
    draw_seven(page)
    expect_seven(page)
    for _ in range(30):
        page.keyboard.press("Control+z")
        page.keyboard.press("Control+y")
    expect_seven(page)
    expect(page.get_by_role("button", name="It is right")).to_be_visible()


def test_the_pad_is_drawn_on_with_the_keyboard(visit: Open) -> None:
    page = visit("/draw")
    pad(page).focus()
    for _ in range(16):
        page.keyboard.press("ArrowUp")
    page.keyboard.down(" ")
    for _ in range(32):
        page.keyboard.press("ArrowDown")
    page.keyboard.up(" ")
    expect(answer(page)).to_contain_text("a 1 (")


def test_a_click_leaves_a_dot(visit: Open) -> None:
    page = visit("/draw")
    pad(page).click()
    expect(answer(page)).to_be_visible()
    assert ink(page) > 100


def test_a_wider_pen_leaves_more_ink(visit: Open) -> None:
    page = visit("/draw")
    draw_seven(page)
    expect_seven(page)
    thin = ink(page)
    page.get_by_role("button", name="Clear").click()
    page.get_by_role("slider", name="Pen").fill("48")
    draw_seven(page)
    assert ink(page) > 1.4 * thin


def test_the_drawing_is_still_there_after_a_visit_to_another_page(visit: Open) -> None:
    page = visit("/draw")
    draw_seven(page)
    expect_seven(page)
    page.get_by_role("link", name="Classify").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Classify")
    page.get_by_role("link", name="Draw").click()
    expect_seven(page)
    assert ink(page) > 0


def test_a_backend_that_goes_away_is_told_and_the_drawing_waits_for_it(
    visit: Open, gate: Gate
) -> None:
    page = visit("/draw")
    expect(page.get_by_text("The answer will appear here.")).to_be_visible()
    gate.shut()
    draw_seven(page)
    expect(page.get_by_role("alert")).to_contain_text("not reachable")
    gate.open()
    expect_seven(page)  # the page looks again by itself


def test_what_the_model_sees_stands_beside_the_pad_with_crisp_pixels(visit: Open) -> None:
    page = visit("/draw")
    draw_seven(page)
    model_input = page.get_by_alt_text(
        "What the model sees: the picture as it is given, 28x28 pixels"
    )
    expect(model_input).to_have_css("image-rendering", "pixelated")
    expect(model_input).to_have_js_property("naturalWidth", 28)
    expect(model_input).to_have_css("width", "140px")


def test_a_stroke_taken_back_is_drawn_again_by_button_and_by_keyboard(visit: Open) -> None:
    page = visit("/draw")
    draw_seven(page)
    expect_seven(page)
    drawn = ink(page)
    page.get_by_role("button", name="Undo").click()
    assert ink(page) == 0
    page.get_by_role("button", name="Redo").click()
    assert ink(page) == drawn
    page.keyboard.press("Control+z")
    assert ink(page) == 0
    page.keyboard.press("Control+y")
    assert ink(page) == drawn
    expect_seven(page)
    page.get_by_role("button", name="Clear").click()
    expect(page.get_by_role("button", name="Undo")).to_be_disabled()


def test_the_drawing_outlives_a_reload(visit: Open) -> None:
    page = visit("/draw")
    draw_seven(page)
    expect_seven(page)
    drawn = ink(page)
    page.reload()
    expect_seven(page)
    assert ink(page) == drawn


def test_a_reload_keeps_the_correction_of_a_drawing(visit: Open) -> None:
    page = visit("/draw")
    draw_seven(page)
    page.get_by_role("button", name="It is right").click()
    expect(page.get_by_text("Said to be right.")).to_be_visible()
    page.reload()
    expect_seven(page)
    expect(page.get_by_text("Said to be right.")).to_be_visible()


def test_a_stroke_leaves_the_rest_of_the_page_alone(visit: Open) -> None:
    """The sidebar, and what the backend serves, are not asked for again: that is what is slow."""
    page = visit("/draw")
    draw_seven(page)
    expect_seven(page)
    expect(page.get_by_role("button", name="Wrong? Correct it")).to_be_visible()  # the page rests
    page.evaluate(
        """() => {
            const sidebar = document.querySelector("[data-testid=stSidebarUserContent]");
            window.touched = 0;
            new MutationObserver(() => (window.touched += 1)).observe(sidebar, {
                childList: true, subtree: true, attributes: true, characterData: true,
            });
        }"""
    )
    page.get_by_role("button", name="Undo").click()
    expect(page.get_by_text("The answer will appear here.")).to_be_visible()
    page.get_by_role("button", name="Redo").click()
    expect_seven(page)
    assert page.evaluate("window.touched") == 0


def test_without_a_backend_the_page_says_so_and_recovers(visit: Open, gate: Gate) -> None:
    gate.shut()
    page = visit("/draw")
    sentence = page.get_by_role("alert").filter(has_text=f"not reachable at {gate.url}")
    expect(sentence).to_contain_text("make run")
    gate.open()
    page.get_by_role("button", name="Try again").click()
    expect(sentence).to_have_count(0)
    expect(page.get_by_role("combobox", name="Model")).to_be_visible()


def test_a_phone_shows_the_page_without_scrolling_sideways(visit: Open) -> None:
    page = visit("/draw", width=360)
    draw_seven_with_a_finger(page)
    expect_seven(page)
    expect_to_fit(page)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_is_accessible(visit: Open, scheme: str) -> None:
    page = visit("/draw", scheme=scheme)
    draw_seven(page)
    expect_seven(page)
    expect_accessible(page)
