"""What a person does with the pages, in a real browser."""

import base64

import pytest
from playwright.sync_api import Page, expect

from tests.e2e.conftest import Open
from tests.e2e.gate import Gate
from tests.e2e.pages import (
    SEVEN,
    answer,
    draw_seven,
    draw_seven_with_a_finger,
    expect_accessible,
    expect_seven,
    expect_to_fit,
    file,
    pad,
    upload,
)

pytestmark = pytest.mark.browser

PAGES = ["/", "/draw"]


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
    expect(page.get_by_alt_text("The drawing as the model was sent it")).to_be_visible()
    expect(page.locator("[data-testid=stVegaLiteChart]")).to_be_visible()


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


def test_an_uploaded_picture_is_read(visit: Open) -> None:
    page = visit()
    upload(page, file("seven.png"))
    expect_seven(page)
    expect(page.get_by_alt_text("The picture seven.png")).to_be_visible()
    expect(page.get_by_text("Decoded in")).to_be_visible()


def test_of_several_uploads_the_broken_one_fails_alone(visit: Open) -> None:
    page = visit()
    upload(page, file("one.png"), file("broken.png", SEVEN[:90]), file("two.png"))
    expect(page.get_by_text("2 pictures read, 1 could not be.").first).to_be_visible()
    expect(answer(page)).to_have_count(2)
    expect(page.get_by_role("alert")).to_contain_text("This picture is damaged")
    expect(page.get_by_test_id("stMain").get_by_text("broken.png").last).to_be_visible()


def test_an_example_is_read_at_a_click(visit: Open) -> None:
    page = visit()
    page.get_by_role("button", name="A 7 in white chalk").click()
    expect_seven(page)


def test_a_pasted_picture_is_read(visit: Open) -> None:
    page = visit()
    expect(page.get_by_text("Or paste a picture with")).to_be_visible()
    page.evaluate(
        """async (png) => {
            const blob = await (await fetch(`data:image/png;base64,${png}`)).blob();
            await navigator.clipboard.write([new ClipboardItem({ "image/png": blob })]);
        }""",
        base64.b64encode(SEVEN).decode(),
    )
    page.get_by_role("heading", level=1).click()
    page.keyboard.press("Control+V")
    expect_seven(page)


def test_a_photo_is_read_and_the_camera_waits_until_it_is_asked_for(visit: Open) -> None:
    page = visit()
    expect(page.locator("input[type=file]")).to_be_attached()
    expect(page.locator("video")).to_have_count(0)
    page.get_by_text("Use the camera").click()
    page.wait_for_function("document.querySelector('video')?.videoWidth > 0")
    page.get_by_role("button", name="Take photo").click()
    expect(page.get_by_alt_text("The picture photo")).to_be_visible()


@pytest.mark.parametrize("path", PAGES)
def test_without_a_backend_the_page_says_so_and_recovers(
    visit: Open, gate: Gate, path: str
) -> None:
    gate.shut()
    page = visit(path)
    sentence = page.get_by_role("alert").filter(has_text=f"not reachable at {gate.url}")
    expect(sentence).to_be_visible()
    expect(sentence).to_contain_text("make run")
    gate.open()
    page.get_by_role("button", name="Try again").click()
    expect(sentence).to_have_count(0)
    expect(page.get_by_role("combobox", name="Model")).to_be_visible()


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


@pytest.mark.parametrize("path", PAGES)
def test_a_phone_shows_the_page_without_scrolling_sideways(visit: Open, path: str) -> None:
    page = visit(path, width=360)
    if path == "/draw":
        draw_seven_with_a_finger(page)
    else:
        page.get_by_role("button", name="A 7 in white chalk").click()
    expect_seven(page)
    expect_to_fit(page)


def test_a_phone_scrolls_to_the_answer_and_it_is_read_out(visit: Open) -> None:
    page = visit(width=360)
    page.get_by_role("button", name="An 8 in thick red").click()
    expect(answer(page)).to_be_in_viewport()
    expect(page.get_by_role("status").filter(has_text="an 8 (")).to_have_count(1)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("path", PAGES)
def test_the_page_is_accessible(visit: Open, path: str, scheme: str) -> None:
    page = visit(path, scheme=scheme)
    if path == "/draw":
        draw_seven(page)
    else:
        upload(page, file("seven.png"), file("broken.png", b"broken"))
    expect_seven(page)
    expect_accessible(page)
