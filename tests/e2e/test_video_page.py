"""The Video page in a browser."""

import io
import re

import pytest
from PIL import Image, ImageChops
from playwright.sync_api import Locator, Page, expect

from tests.e2e.conftest import Visit
from tests.e2e.pages import (
    announcement,
    button,
    expect_accessible,
    expect_no_horizontal_scrolling,
    main,
    upload,
)
from tests.e2e.toggle_proxy import ToggleProxy
from tests.frontend.views.video.clips import clip, sevens_then_noise
from tests.images import noise, seven

pytestmark = pytest.mark.browser

CLIP = clip(sevens_then_noise(256))
MANY_FRAMES = 600
JOB_TIMEOUT_MS = 120_000  # for all of them, on a busy machine


def player(page: Page) -> Locator:
    return main(page).locator("video")


def slider(page: Page) -> Locator:
    return main(page).get_by_role("slider")


def start(page: Page, content: bytes = CLIP) -> None:
    upload(page, {"name": "clip.mp4", "mimeType": "video/mp4", "buffer": content})
    button(page, "Classify the video").click()


def classify(page: Page, content: bytes = CLIP) -> None:
    """Classify a clip, and wait for the player."""
    start(page, content)
    page.wait_for_function("() => document.querySelector('video')?.readyState >= 2")


def play(page: Page) -> None:
    """Play until the clock advances, then pause: on a busy machine it advances by any amount."""
    player(page).evaluate("video => { video.muted = true; return video.play(); }")
    page.wait_for_function("() => document.querySelector('video')?.currentTime > 0")
    player(page).evaluate("video => video.pause()")


def seek(page: Page, seconds: float) -> None:
    player(page).evaluate(
        """(video, seconds) => new Promise(resolve => {
            video.addEventListener('seeked', resolve, { once: true });
            video.currentTime = seconds;
        })""",
        seconds,
    )


def expect_caption(page: Page, pattern: str) -> None:
    """Wait until the only caption that the player displays matches the pattern completely."""
    page.wait_for_function(
        """pattern => {
            const tracks = [...document.querySelector('video')?.textTracks ?? []]
                .filter(track => track.mode === 'showing');
            const texts = tracks.flatMap(track => [...track.activeCues ?? []].map(cue => cue.text));
            return texts.length === 1 && new RegExp(`^(${pattern})$`).test(texts[0]);
        }""",
        arg=pattern,
    )


def screenshot(page: Page) -> Image.Image:
    with Image.open(io.BytesIO(player(page).screenshot())) as image:
        return image.convert("RGB")


def expect_frame(page: Page, number: int, seconds: str) -> None:
    expect(main(page).get_by_text(f"Frame {number} of 8, at {seconds} s")).to_be_visible()


def expect_seek_past(page: Page, seconds: float) -> None:
    page.wait_for_function(f"() => document.querySelector('video')?.currentTime > {seconds}")


@pytest.mark.parametrize(
    ("codec", "container"), [("libx264", "mp4"), ("libvpx-vp9", "webm"), ("mpeg4", "avi")]
)
def test_predictions_are_captions_of_the_video(codec: str, container: str, visit: Visit) -> None:
    page = visit("/video?model=mnist-cnn")
    classify(page, clip(sevens_then_noise(256), codec=codec, container=container))
    play(page)
    seek(page, 0.7)
    expect_caption(page, r"7 \(.*%\)")
    seek(page, 2.6)
    expect_caption(page, "Not a digit")
    with_caption = screenshot(page)
    player(page).evaluate("video => { video.textTracks[0].mode = 'hidden'; }")
    without_caption = screenshot(page)
    player(page).evaluate("video => { video.textTracks[0].mode = 'showing'; }")
    assert ImageChops.difference(with_caption, without_caption).getbbox() is not None


def test_frequencies_timeline_and_downloads(visit: Visit) -> None:
    page = visit("/video?model=mnist-cnn")
    classify(page)
    expect(main(page).get_by_text("7: 4 of 8 frames (50%)", exact=True)).to_be_visible()
    expect(main(page).get_by_text("Not a digit: 4 of 8 frames (50%)", exact=True)).to_be_visible()
    timeline = main(page).locator(
        "[data-testid=stVegaLiteChart][aria-label^='Timeline. 7: 4 of 8']"
    )
    expect(timeline).to_be_visible()
    expect(timeline).to_contain_text("Not a digit")
    expect(announcement(page, "Video classified.")).to_have_count(1)
    with page.expect_download() as webvtt:
        button(page, "Captions (WebVTT)").click()
    assert webvtt.value.suggested_filename == "clip.vtt"
    assert webvtt.value.path().read_text().startswith("WEBVTT\n\n00:00:00.000 --> ")
    with page.expect_download() as table:
        button(page, "Table (CSV)").click()
    assert table.value.suggested_filename == "clip.csv"
    assert len(table.value.path().read_text().splitlines()) == 9
    bars = timeline.locator("path[aria-roledescription=bar]")
    bars.nth(5).click()
    expect_frame(page, 6, "2.50")
    bars.nth(1).click()
    expect_frame(page, 2, "0.50")
    slider(page).focus()
    page.keyboard.press("ArrowRight")
    expect_frame(page, 3, "1.00")


def test_selected_frame_is_shown_by_the_player_and_survives_a_reload(visit: Visit) -> None:
    page = visit("/video?model=mnist-cnn")
    classify(page)
    expect_frame(page, 1, "0.00")
    slider(page).focus()
    page.keyboard.press("End")
    expect_frame(page, 8, "3.50")
    expect(main(page).get_by_role("heading", name="Not a digit")).to_be_visible()
    expect_seek_past(page, 3.5)
    expect_caption(page, "Not a digit")
    page.reload()
    expect_frame(page, 8, "3.50")
    expect(main(page).get_by_text("7: 4 of 8 frames (50%)", exact=True)).to_be_visible()
    expect_seek_past(page, 3.5)


def test_portrait_video_fits_the_screen(visit: Visit) -> None:
    page = visit("/video?model=mnist-cnn")
    classify(page, clip([seven(256).resize((128, 256))] * 10))
    box = player(page).bounding_box()
    assert box is not None
    assert 400 < box["height"] <= 500


def start_long_job(page: Page) -> None:
    """Start to classify MANY_FRAMES different frames, and wait for the first results."""
    main(page).get_by_text("30", exact=True).click()
    page.wait_for_url(re.compile("rate=30"))
    start(page, clip([noise(320, 240, seed=n) for n in range(MANY_FRAMES)], rate=30))
    expect_progress(page)


def expect_progress(page: Page) -> None:
    progress = re.compile(rf"[1-9]\d* of {MANY_FRAMES} frames classified")
    expect(main(page).get_by_text(progress)).to_be_visible()


def test_running_job_waits_for_the_backend(visit: Visit, proxy: ToggleProxy) -> None:
    page = visit("/video?model=mnist-cnn")
    start_long_job(page)
    proxy.close()
    waiting = main(page).get_by_text("Waiting for the backend (not reachable)")
    expect(waiting).to_be_visible()
    proxy.open()
    complete = main(page).get_by_text(f"{MANY_FRAMES} frames, 30 per second")
    expect(complete).to_be_visible(timeout=JOB_TIMEOUT_MS)
    expect(main(page).get_by_text("not reachable")).to_have_count(0)


def test_stopped_job_has_a_partial_result_and_can_be_repeated(
    visit: Visit, proxy: ToggleProxy
) -> None:
    page = visit("/video?model=mnist-cnn")
    start_long_job(page)
    proxy.close()  # the job cannot finish
    page.reload()
    button(page, "Stop", exact=True).click()
    alert = main(page).get_by_role("alert").filter(has_text="Stopped. The results cover the first")
    expect(alert).to_be_visible()
    expect(player(page)).to_be_visible()
    proxy.open()
    button(page, "Classify this video again").click()
    expect_progress(page)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_page_is_accessible(scheme: str, visit: Visit) -> None:
    page = visit("/video?model=mnist-cnn", scheme=scheme)
    expect(button(page, "Classify the video")).to_be_visible()
    expect_accessible(page)
    classify(page)
    main(page).get_by_text("All frames", exact=True).click()
    expect(main(page).get_by_test_id("stDataFrame")).to_be_visible()
    expect_accessible(page)


def test_page_fits_a_phone(visit: Visit) -> None:
    page = visit("/video?model=mnist-cnn", width=360)
    expect_no_horizontal_scrolling(page)
    classify(page)
    expect(slider(page)).to_be_visible()
    expect_no_horizontal_scrolling(page)
