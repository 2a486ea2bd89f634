"""What a person does with a clip, in a real browser."""

import io
import re

import pytest
from PIL import Image, ImageChops
from playwright.sync_api import Locator, Page, expect

from tests.e2e.conftest import Open
from tests.e2e.gate import Gate
from tests.e2e.pages import expect_accessible, expect_to_fit
from tests.frontend.views.video.clips import clip, sevens_then_noise
from tests.pictures import noise, seven

pytestmark = pytest.mark.browser

CLIP = clip(sevens_then_noise(256))
MANY = 600
TO_THE_END = 120_000  # ms for all of them, on a busy machine


def player(page: Page) -> Locator:
    return page.locator("video")


def slider(page: Page) -> Locator:
    return page.get_by_role("slider")


def choose(page: Page, content: bytes, name: str = "clip.mp4") -> None:
    chooser = page.locator("input[type=file]").first
    expect(chooser).to_be_attached()
    chooser.set_input_files({"name": name, "mimeType": "video/mp4", "buffer": content})
    page.get_by_role("button", name="Read the clip").click()


def read(page: Page, content: bytes = CLIP) -> None:
    """Give the page a clip and wait for the player."""
    choose(page, content)
    page.wait_for_function("() => document.querySelector('video')?.readyState >= 2")


def play_until(page: Page, seconds: float) -> None:
    player(page).evaluate("video => { video.muted = true; return video.play(); }")
    page.wait_for_function(f"() => document.querySelector('video')?.currentTime >= {seconds}")
    player(page).evaluate("video => video.pause()")


def captions(page: Page) -> list[str]:
    """Return what is said over the picture now."""
    found: list[str] = player(page).evaluate(
        """video => [...video.textTracks].filter(track => track.mode === 'showing')
               .flatMap(track => [...(track.activeCues ?? [])].map(cue => cue.text))"""
    )
    return found


def picture(page: Page) -> Image.Image:
    with Image.open(io.BytesIO(player(page).screenshot())) as image:
        return image.convert("RGB")


def position(page: Page) -> float:
    seconds: float = player(page).evaluate("video => video.currentTime")
    return seconds


@pytest.mark.parametrize(
    ("codec", "container"), [("libx264", "mp4"), ("libvpx-vp9", "webm"), ("mpeg4", "avi")]
)
def test_the_answer_is_shown_over_the_playing_picture(
    codec: str, container: str, visit: Open
) -> None:
    page = visit("/video")
    read(page, clip(sevens_then_noise(256), codec=codec, container=container))
    play_until(page, 0.7)
    (caption,) = captions(page)
    assert re.fullmatch(r"7 \(.* %\)", caption)
    play_until(page, 2.6)
    assert captions(page) == ["Does not look like a digit"]
    shown = picture(page)
    player(page).evaluate("video => { video.textTracks[0].mode = 'hidden'; }")
    hidden = picture(page)
    player(page).evaluate("video => { video.textTracks[0].mode = 'showing'; }")
    assert ImageChops.difference(shown, hidden).getbbox() is not None


def test_it_says_how_often_and_when_each_class_was_seen(visit: Open) -> None:
    page = visit("/video")
    read(page)
    expect(page.get_by_text("7: 4 of 8 frames (50 %)", exact=True)).to_be_visible()
    expect(page.get_by_text("Not a digit: 4 of 8 frames (50 %)", exact=True)).to_be_visible()
    timeline = page.locator("[data-testid=stVegaLiteChart][aria-label^='Timeline. 7: 4 of 8']")
    expect(timeline).to_be_visible()
    expect(timeline).to_contain_text("Not a digit")
    expect(page.get_by_role("status").filter(has_text="The clip is read.")).to_have_count(1)


def test_a_frame_is_picked_by_keyboard_and_a_reload_keeps_it(visit: Open) -> None:
    page = visit("/video")
    read(page)
    expect(page.get_by_text("Frame 1 of 8, at second 0.00")).to_be_visible()
    slider(page).focus()
    page.keyboard.press("ArrowRight")
    expect(page.get_by_text("Frame 2 of 8, at second 0.50")).to_be_visible()
    page.keyboard.press("End")
    expect(page.get_by_text("Frame 8 of 8, at second 3.50")).to_be_visible()
    expect(page.get_by_text("This does not look like a digit.")).to_be_visible()
    page.wait_for_function("() => document.querySelector('video')?.currentTime > 3.5")
    assert captions(page) == ["Does not look like a digit"]
    page.reload()
    expect(page.get_by_text("Frame 8 of 8, at second 3.50")).to_be_visible()
    expect(page.get_by_text("7: 4 of 8 frames (50 %)", exact=True)).to_be_visible()
    page.wait_for_function("() => document.querySelector('video')?.currentTime > 3.5")


def test_a_click_on_the_timeline_picks_a_frame(visit: Open) -> None:
    page = visit("/video")
    read(page)
    bars = page.locator("[data-testid=stVegaLiteChart] path[aria-roledescription=bar]")
    bars.nth(5).click()
    expect(page.get_by_text("Frame 6 of 8, at second 2.50")).to_be_visible()
    bars.nth(1).click()
    expect(page.get_by_text("Frame 2 of 8, at second 0.50")).to_be_visible()
    slider(page).focus()
    page.keyboard.press("ArrowRight")
    expect(page.get_by_text("Frame 3 of 8, at second 1.00")).to_be_visible()


def test_captions_and_table_can_be_downloaded(visit: Open) -> None:
    page = visit("/video")
    read(page)
    with page.expect_download() as captions_file:
        page.get_by_role("button", name="Captions (WebVTT)").click()
    assert captions_file.value.suggested_filename == "clip.vtt"
    assert captions_file.value.path().read_text().startswith("WEBVTT\n\n00:00:00.000 --> ")
    with page.expect_download() as table_file:
        page.get_by_role("button", name="Table (CSV)").click()
    assert table_file.value.suggested_filename == "clip.csv"
    assert len(table_file.value.path().read_text().splitlines()) == 9


def test_an_upright_clip_fits_on_the_screen(visit: Open) -> None:
    page = visit("/video")
    read(page, clip([seven(256).resize((128, 256))] * 10))
    box = player(page).bounding_box()
    assert box is not None
    assert 400 < box["height"] <= 500


def test_what_is_no_clip_is_told_and_the_next_one_is_read(visit: Open) -> None:
    page = visit("/video")
    choose(page, b"#EXTM3U\nhttp://127.0.0.1:9/x.ts\n")
    expect(page.get_by_test_id("stAlert")).to_contain_text("not a video that can be read here")
    read(page)
    expect(page.get_by_text("7: 4 of 8 frames (50 %)", exact=True)).to_be_visible()


def start_long(page: Page) -> None:
    """Begin to read MANY frames, all different, and wait until some of them are read."""
    page.get_by_text("30", exact=True).click()
    choose(page, clip([noise(320, 240, seed=n) for n in range(MANY)], rate=30))
    expect(page.get_by_text(re.compile(rf"[1-9]\d* of {MANY} frames read"))).to_be_visible()


def test_a_backend_that_goes_away_in_the_middle_is_waited_for(visit: Open, gate: Gate) -> None:
    page = visit("/video")
    start_long(page)
    gate.shut()
    expect(page.get_by_text("Waiting for the backend, which is not reachable.")).to_be_visible()
    gate.open()
    all_of_them = page.get_by_text(f"{MANY} frames, 30 per second")
    expect(all_of_them).to_be_visible(timeout=TO_THE_END)
    expect(page.get_by_text("is not reachable")).to_have_count(0)


def test_what_was_read_before_a_stop_is_kept_and_can_be_read_again(visit: Open) -> None:
    page = visit("/video")
    start_long(page)
    page.reload()
    page.get_by_test_id("stMain").get_by_role("button", name="Stop", exact=True).click()
    expect(page.get_by_test_id("stAlert")).to_contain_text("It was stopped. What follows is of")
    expect(player(page)).to_be_visible()
    page.get_by_role("button", name="Read this clip again").click()
    expect(page.get_by_text(re.compile(rf"[1-9]\d* of {MANY} frames read"))).to_be_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_is_accessible(scheme: str, visit: Open) -> None:
    page = visit("/video", scheme=scheme)
    expect(page.get_by_role("button", name="Read the clip")).to_be_visible()
    expect_accessible(page)
    read(page)
    page.get_by_text("All frames as a table").click()
    expect(page.get_by_test_id("stDataFrame")).to_be_visible()
    expect_accessible(page)


def test_a_phone_shows_it_without_scrolling_sideways(visit: Open) -> None:
    page = visit("/video", width=360)
    expect_to_fit(page)
    read(page)
    expect(slider(page)).to_be_visible()
    expect_to_fit(page)
