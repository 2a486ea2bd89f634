"""The Classify page in a browser."""

import base64
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.client.fake_server import FakeResponse, serving
from tests.e2e.conftest import Visit
from tests.e2e.pages import (
    IS_SEVEN,
    SEVEN,
    announcement,
    button,
    choose_option,
    draw_seven,
    expect_accessible,
    expect_no_horizontal_scrolling,
    expect_seven,
    file,
    main,
    result,
    upload,
    upload_zip,
    wait_until_idle,
)
from tests.e2e.toggle_proxy import ToggleProxy
from tests.frontend.app import CLASSIFICATION_JSON, models_response, zipped
from tests.images import encoded, noise, seven

pytestmark = pytest.mark.browser

BUSY = b'{"status": 429, "code": "queue_full"}'
TOTAL = 32  # images: two batches
EXAMPLE = "A 7 in white chalk"
IS_SEVEN_TILE = re.compile(r"^7, [>\d.]+%$")
ALL_LABELS = re.compile(r"\d or \d \(99% coverage\)")


def images() -> dict[str, bytes]:
    """Return TOTAL different sevens by file name."""
    return {f"digits/{i:02d}.png": encoded(seven(60 + i)) for i in range(TOTAL)}


def expect_summary(page: Page, text: str) -> None:
    expect(main(page).get_by_text(text, exact=True).first).to_be_visible()


def show_as(page: Page, view: str) -> None:
    """Choose the view of many results."""
    page.get_by_role("radiogroup", name="View").get_by_text(view, exact=True).click()


def folder_input(page: Page) -> Locator:
    """Choose *Folder* as the source; return the input, once the packer observes it."""
    page.get_by_role("radio", name="Folder").click()
    file_input = main(page).locator("input[type=file][webkitdirectory]")
    expect(file_input).to_be_attached()
    expect(main(page).locator(".st-key-packer p")).to_be_attached()
    return file_input


@contextmanager
def unavailable_backend(proxy: ToggleProxy) -> Iterator[FakeResponse]:
    """Replace the backend by one that is draining, until its response is changed."""
    response = FakeResponse(b'{"status": 503, "code": "draining"}', 503, {"Retry-After": "1"})
    with (
        serving(models_response(first="digit"), classify=response) as (url, _),
        proxy.redirected_to(url),
    ):
        yield response


def make_available(response: FakeResponse) -> None:
    response.body = b"\n".join(
        [json.dumps(json.loads(CLASSIFICATION_JSON)).encode()] * (TOTAL // 2)
    )
    response.status = 200


def test_uploaded_image_is_classified(visit: Visit) -> None:
    page = visit()
    upload(page, file("seven.png"))
    expect_seven(page)
    expect(page.get_by_alt_text("The image seven.png")).to_be_visible()
    expect(main(page).get_by_text("Decoding ")).to_be_visible()


def bottom(locator: Locator) -> float:
    box = locator.bounding_box()
    assert box is not None
    return box["y"] + box["height"]


def test_result_and_feedback_are_visible_without_scrolling(visit: Visit) -> None:
    page = visit()
    page.set_viewport_size({"width": 1280, "height": 800})
    button(page, EXAMPLE).click()
    expect_seven(page)
    for part in (
        page.get_by_alt_text("The image seven.png"),
        page.get_by_role("list", name="Probabilities"),
        button(page, "None of these"),
    ):
        expect(part).to_be_visible()
        assert bottom(part) < 800
    assert page.evaluate("document.querySelector('[data-testid=stMain]').scrollTop") == 0


def test_feedback_follows_the_image_on_a_phone(visit: Visit) -> None:
    page = visit(width=360)
    page.set_viewport_size({"width": 360, "height": 740})
    button(page, EXAMPLE).click()
    expect_seven(page)
    wait_until_idle(page)
    parts = [
        page.get_by_alt_text("The image seven.png"),
        result(page),
        button(page, "Correct", exact=True),
        page.get_by_role("list", name="Probabilities"),
    ]
    assert [bottom(part) for part in parts] == sorted(bottom(part) for part in parts)
    expect(parts[2]).to_be_in_viewport()


def test_prediction_is_confirmed_in_the_dialog_of_a_thumbnail(visit: Visit) -> None:
    page = visit()
    upload_zip(page, zipped(**images()))
    button(page, IS_SEVEN_TILE).first.click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_role("heading", level=2).last).to_have_text(IS_SEVEN)
    expect_accessible(page)
    dialog.get_by_role("button", name="Correct", exact=True).click()
    expect(dialog).to_have_count(0)
    expect(button(page, "7 ✓", exact=True)).to_be_visible()


def test_files_are_added_and_removed_one_by_one(visit: Visit) -> None:
    page = visit()
    upload(page, file("a.png"))
    expect_seven(page)
    upload_zip(page, zipped(**{"b.png": encoded(seven(61)), "c.png": encoded(seven(62))}))
    expect_summary(page, "3 images: 3 recognized.")
    upload(page, file("d.png", encoded(seven(63))))
    expect_summary(page, "4 images: 4 recognized.")
    button(page, "Remove digits.zip").click()
    expect_summary(page, "2 images: 2 recognized.")
    remove = button(page, "Remove a.png")
    expect(remove).to_be_visible()
    button(page, EXAMPLE).click()  # replaces the files
    expect(remove).to_have_count(0)
    expect_seven(page)


def test_pasted_image_is_classified(visit: Visit) -> None:
    page = visit()
    expect(main(page).get_by_text("Or paste an image with")).to_be_visible()
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


def test_photo_is_classified_and_the_camera_starts_on_demand(visit: Visit) -> None:
    page = visit()
    expect(main(page).locator("input[type=file]")).to_be_attached()
    expect(page.locator("video")).to_have_count(0)
    page.get_by_role("radio", name="Camera", exact=True).click()
    page.wait_for_function(  # Streamlit restarts the camera once the width is known
        """() => {
            const video = document.querySelector('video');
            const track = video?.srcObject?.getVideoTracks()[0];
            return video?.videoWidth > 0 && track?.getConstraints().width > 0;
        }"""
    )
    wait_until_idle(page)
    button(page, "Take photo").click()
    expect(page.get_by_alt_text("The image photo")).to_be_visible()


def test_phone_scrolls_to_the_result_and_announces_it(visit: Visit) -> None:
    page = visit(width=360)
    button(page, "A 3 in black ink").click()
    expect(result(page)).to_be_in_viewport()
    expect(announcement(page, re.compile("^3, "))).to_have_count(1)


def test_zip_is_classified_and_bad_files_are_reported(visit: Visit) -> None:
    page = visit()
    bad = {"digits/broken.png": SEVEN[:90], "digits/text.png": b"x"}
    upload_zip(page, zipped(**images(), **bad))
    expect_summary(page, f"{TOTAL + 2} images: {TOTAL} recognized, 2 unreadable.")
    show_as(page, "List")
    expect(result(page)).to_have_count(12)
    page.get_by_role("radio", name="Failed (2)").click()
    alerts = main(page).get_by_role("alert")
    expect(alerts).to_have_count(2)
    expect(alerts.first).to_contain_text("This file ends early")
    expect(alerts.last).to_contain_text("This is a text file")
    with page.expect_download() as download:
        button(page, "Download CSV").click()
    lines = download.value.path().read_text("utf-8-sig").splitlines()
    assert lines[0].startswith("name,prediction,confidence")
    assert len(lines) == TOTAL + 3


def test_results_are_paged_and_persist_across_a_reload_with_their_feedback(visit: Visit) -> None:
    page = visit()
    upload_zip(page, zipped(**images()))
    expect(main(page).get_by_text(f"Images 1 to 24 of {TOTAL}")).to_be_visible()
    show_as(page, "List")
    expect(main(page).get_by_text(f"Images 1 to 12 of {TOTAL}")).to_be_visible()
    button(page, "Correct", exact=True).first.click()
    expect(main(page).get_by_text("Marked correct")).to_be_visible()
    page.reload()
    expect_summary(page, f"{TOTAL} images: {TOTAL} recognized.")
    show_as(page, "List")
    expect(main(page).get_by_text("Marked correct")).to_be_visible()
    button(page, "Page 3").click()
    expect(main(page).get_by_text(f"Images 25 to {TOTAL} of {TOTAL}")).to_be_visible()
    expect(result(page)).to_have_count(TOTAL - 24)


def test_folder_is_classified(visit: Visit, tmp_path: Path) -> None:
    for name in ("a.png", "b.png", "notes.txt"):
        (tmp_path / name).write_bytes(SEVEN)
    page = visit()
    folder_input(page).set_input_files(tmp_path)
    expect_summary(page, "2 images: 2 recognized.")


def test_folder_of_more_files_than_the_uploader_supports_is_packed(
    visit: Visit, tmp_path: Path
) -> None:
    for i in range(150):
        (tmp_path / f"{i:03d}.png").write_bytes(encoded(seven(60 + i)))
    (tmp_path / "notes.txt").write_text("no image")
    (tmp_path / "empty.png").touch()
    page = visit()
    folder_input(page).set_input_files(tmp_path)
    expect_summary(page, "151 images: 150 recognized, 1 unreadable.")
    expect(button(page, "Remove 151 images from")).to_be_visible()
    show_as(page, "List")
    page.get_by_role("radio", name="Failed (1)").click()
    expect(main(page).get_by_role("alert")).to_contain_text("This file is empty.")


def test_many_dropped_files_are_classified(visit: Visit) -> None:
    page = visit()
    expect(main(page).locator("input[type=file]").first).to_be_attached()
    expect(main(page).locator(".st-key-packer p")).to_be_attached()
    page.get_by_test_id("stFileUploaderDropzone").evaluate(
        """(zone, png) => {
            const dataTransfer = new DataTransfer();
            for (let i = 0; i < 101; i++) {
                const bytes = Uint8Array.from(atob(png), (c) => c.charCodeAt(0));
                dataTransfer.items.add(new File([bytes], `ä${i}.png`, { type: "image/png" }));
            }
            zone.dispatchEvent(new DragEvent("drop", { bubbles: true, dataTransfer }));
        }""",
        base64.b64encode(SEVEN).decode(),
    )
    expect_summary(page, "101 images: 101 recognized.")
    expect(main(page).get_by_text("ä0.png")).to_be_visible()


def test_prediction_is_corrected_and_undone_with_the_mouse(visit: Visit) -> None:
    page = visit()
    upload(page, file("seven.png"))
    expect_seven(page)
    button(page, "Other label").click()
    labels = page.get_by_role("combobox", name="Right label")
    choose_option(page, labels, "4")
    expect(main(page).get_by_text("Corrected to 4")).to_be_visible()
    expect(labels).to_have_count(0)
    button(page, "Undo").click()
    expect(button(page, "Correct", exact=True)).to_be_visible()
    expect(main(page).get_by_text("Corrected to")).to_have_count(0)


def test_prediction_is_corrected_with_the_keyboard(visit: Visit) -> None:
    page = visit()
    upload(page, file("seven.png"), file("two.png"))
    expect(result(page)).to_have_count(2)
    button(page, "None of these").first.focus()
    page.keyboard.press("Tab")
    expect(button(page, "Other label").first).to_be_focused()
    page.keyboard.press("Enter")
    labels = page.get_by_role("combobox", name="Right label")
    expect(labels).to_be_visible()
    page.keyboard.press("Tab")
    expect(labels).to_be_focused()
    page.keyboard.type("9")
    expect(page.get_by_role("option").first).to_have_text("9")
    page.keyboard.press("Enter")
    expect(main(page).get_by_text("Corrected to 9").first).to_be_visible()


def test_busy_backend_is_retried_after_a_countdown(visit: Visit, proxy: ToggleProxy) -> None:
    response = FakeResponse(BUSY, 429, {"Retry-After": "3"})
    with (
        serving(models_response(first="digit"), classify=response) as (url, _),
        proxy.redirected_to(url),
    ):
        page = visit()
        upload(page, file("one.png"))
        expect(main(page).get_by_role("alert")).to_contain_text("The backend is busy.")
        timer = page.get_by_role("timer")
        expect(timer).to_have_text(re.compile(r"Retrying in \d seconds?…"))
        expect(timer).to_have_attribute("aria-live", "off")
        expect_accessible(page)
        response.status, response.body = 200, CLASSIFICATION_JSON
        expect(result(page)).to_have_text("1, 90% confidence")
        expect(timer).to_have_count(0)


def test_batch_continues_when_the_backend_is_back(visit: Visit, proxy: ToggleProxy) -> None:
    with unavailable_backend(proxy) as response:
        page = visit()
        upload_zip(page, zipped(**images()))
        progress = f"0 of {TOTAL} images classified. The backend is restarting."
        expect(main(page).get_by_text(progress)).to_be_visible()
        make_available(response)
        expect_summary(page, f"{TOTAL} images: {TOTAL} recognized.")
        expect(button(page, "Stop", exact=True)).to_have_count(0)


def test_batch_is_stopped_and_continued(visit: Visit, proxy: ToggleProxy) -> None:
    with unavailable_backend(proxy) as response:
        page = visit()
        upload_zip(page, zipped(**images()))
        button(page, "Stop", exact=True).click()
        expect(main(page).get_by_text(f"{TOTAL} images are not classified yet.")).to_be_visible()
        make_available(response)
        expect_accessible(page)
        button(page, "Continue").click()
        expect_summary(page, f"{TOTAL} images: {TOTAL} recognized.")


def test_prediction_set_follows_the_chosen_coverage(
    visit: Visit, proxy: ToggleProxy, calibrated_url: str
) -> None:
    with proxy.redirected_to(calibrated_url):
        page = visit()
        coverage = page.get_by_role("radiogroup", name="Coverage")
        upload(page, file("seven.png"))
        expect(main(page).get_by_text("7 (95% coverage)").first).to_be_visible()
        expect(announcement(page, "7 (95% coverage)")).to_have_count(1)
        coverage.get_by_text("99%").click()
        expect(announcement(page, ALL_LABELS)).to_have_count(1)
        page.get_by_role("link", name="Draw").click()
        expect(page.get_by_role("heading", level=1)).to_have_text("Draw")
        draw_seven(page)
        expect(announcement(page, ALL_LABELS)).to_have_count(1)
        coverage.get_by_text("90%").click()
        expect(announcement(page, "7 (90% coverage)")).to_have_count(1)


def test_out_of_distribution_image_has_no_prediction_set(
    visit: Visit, proxy: ToggleProxy, calibrated_url: str
) -> None:
    with proxy.redirected_to(calibrated_url):
        page = visit()
        upload(page, file("noise.png", encoded(noise(120, 120))))
        expect(result(page)).to_have_text("Not a digit")
        text = "Not a digit. This image does not show one of the model's classes."
        expect(announcement(page, text)).to_have_count(1)
        bars = page.get_by_role("list", name="Closest labels")
        expect(bars).to_be_visible()
        expect(bars).not_to_contain_text("%")
        expect(main(page).get_by_text("% coverage")).to_have_count(0)


def test_page_fits_a_phone_and_bad_images_fail_alone(visit: Visit) -> None:
    page = visit(width=360)
    button(page, EXAMPLE).click()
    expect_seven(page)
    expect_no_horizontal_scrolling(page)
    upload(page, file("a" * 90 + ".png"), file("broken.png", SEVEN[:90]), file("two.png"))
    expect_summary(page, "3 images: 2 recognized, 1 unreadable.")
    expect(result(page)).to_have_text([IS_SEVEN, IS_SEVEN])
    expect(main(page).get_by_role("alert")).to_contain_text("This file ends early")
    expect(main(page).get_by_text("broken.png").last).to_be_visible()
    expect_no_horizontal_scrolling(page)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_page_is_accessible(visit: Visit, scheme: str) -> None:
    page = visit(scheme=scheme)
    expect(button(page, EXAMPLE)).to_be_visible()
    expect_accessible(page)
    upload(page, file("seven.png"), file("broken.png", b"broken"))
    expect_seven(page)
    expect_accessible(page)
    upload_zip(page, zipped(**images()))
    expect(page.get_by_role("navigation", name="Pagination")).to_be_visible()
    expect_accessible(page)
    show_as(page, "List")
    button(page, "Other label").first.click()
    expect(page.get_by_role("combobox", name="Right label")).to_be_visible()
    expect_accessible(page)
    page.get_by_role("radio", name="Folder").click()
    expect(main(page).locator("input[type=file][webkitdirectory]")).to_be_attached()
    expect_accessible(page)


@pytest.mark.parametrize(("scheme", "width"), [("light", 360), ("dark", 1280)])
def test_calibrated_results_are_accessible(
    visit: Visit, proxy: ToggleProxy, calibrated_url: str, scheme: str, width: int
) -> None:
    with proxy.redirected_to(calibrated_url):
        page = visit(width=width, scheme=scheme)
        upload(page, file("seven.png"), file("noise.png", encoded(noise(120, 120))))
        expect(result(page)).to_have_count(2)
        if width == 360:
            page.get_by_test_id("stExpandSidebarButton").click()
        coverage = page.get_by_role("radiogroup", name="Coverage")
        expect(coverage.get_by_text("99%")).to_be_visible()
        expect_no_horizontal_scrolling(page, width)
        expect_accessible(page)
