"""What a person does with the page Classify, in a real browser."""

import base64
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.client.fake_server import FakeResponse, serving
from tests.e2e.conftest import Open
from tests.e2e.gate import Gate
from tests.e2e.pages import (
    SEVEN,
    answer,
    expect_accessible,
    expect_seven,
    expect_to_fit,
    file,
    upload,
)
from tests.frontend.app import ONE, models, zipped
from tests.images import encoded, seven

pytestmark = pytest.mark.browser

BUSY = b'{"status": 429, "code": "queue_full"}'
MANY = 32  # two batches


def upload_zip(page: Page, content: bytes) -> None:
    chooser = page.locator("input[type=file]").first
    expect(chooser).to_be_attached()
    chooser.set_input_files(
        {"name": "digits.zip", "mimeType": "application/zip", "buffer": content}
    )


def many() -> dict[str, bytes]:
    return {f"digits/{i:02d}.png": encoded(seven(60 + i)) for i in range(MANY)}


@contextmanager
def away(gate: Gate) -> Iterator[FakeResponse]:
    """A backend that is away for all questions, until its answer is changed."""
    gone = FakeResponse(b'{"status": 503, "code": "draining"}', 503, {"Retry-After": "1"})
    with serving(models(first="digit"), classify=gone) as (url, _), gate.leading_to(url):
        yield gone


def come_back(gone: FakeResponse) -> None:
    gone.body = b"\n".join([json.dumps(json.loads(ONE)).encode()] * (MANY // 2))
    gone.status = 200


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


def test_further_files_are_added_to_those_that_are_listed_and_one_is_taken_out(
    visit: Open,
) -> None:
    page = visit()
    upload(page, file("a.png"))
    expect_seven(page)
    upload_zip(page, zipped(**{"b.png": encoded(seven(61)), "c.png": encoded(seven(62))}))
    expect(page.get_by_text("3 pictures read.").first).to_be_visible()
    upload(page, file("d.png", encoded(seven(63))))
    expect(page.get_by_text("4 pictures read.").first).to_be_visible()
    page.get_by_role("button", name="Remove digits.zip").click()
    expect(page.get_by_text("2 pictures read.").first).to_be_visible()
    listed = page.get_by_role("button", name="Remove a.png")
    expect(listed).to_be_visible()
    page.get_by_role("button", name="A 7 in white chalk").click()  # an example takes their place
    expect(listed).to_have_count(0)
    expect(answer(page)).to_have_count(1)


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
    page.get_by_role("radio", name="The camera").click()
    page.wait_for_function("document.querySelector('video')?.videoWidth > 0")
    page.get_by_role("button", name="Take photo").click()
    expect(page.get_by_alt_text("The picture photo")).to_be_visible()


def test_a_phone_scrolls_to_the_answer_and_it_is_read_out(visit: Open) -> None:
    page = visit(width=360)
    page.get_by_role("button", name="An 8 in thick red").click()
    expect(answer(page)).to_be_in_viewport()
    expect(page.get_by_role("status").filter(has_text="an 8 (")).to_have_count(1)


def test_a_zip_is_read_to_its_end_and_its_broken_files_say_what_is_wrong(visit: Open) -> None:
    page = visit()
    upload_zip(page, zipped(**many(), **{"digits/broken.png": SEVEN[:90], "digits/no.png": b"x"}))
    expect(page.get_by_text(f"{MANY} pictures read, 2 could not be.").first).to_be_visible()
    expect(answer(page)).to_have_count(12)
    page.get_by_role("radio", name="Could not be read (2)").click()
    expect(page.get_by_role("alert")).to_have_count(2)
    expect(page.get_by_role("alert").first).to_contain_text("This picture is damaged")
    expect(page.get_by_role("alert").last).to_contain_text("not a picture that can be read")
    with page.expect_download() as download:
        page.get_by_role("button", name="Download CSV").click()
    lines = download.value.path().read_text("utf-8-sig").splitlines()
    assert lines[0].startswith("name,prediction,confidence")
    assert len(lines) == MANY + 3


def test_the_pictures_of_many_are_paged_through(visit: Open) -> None:
    page = visit()
    upload_zip(page, zipped(**many()))
    expect(page.get_by_text(f"Pictures 1 to 12 of {MANY}")).to_be_visible()
    page.get_by_role("button", name="Page 3").click()
    expect(page.get_by_text(f"Pictures 25 to {MANY} of {MANY}")).to_be_visible()
    expect(answer(page)).to_have_count(MANY - 24)


def test_a_folder_is_read(visit: Open, tmp_path: Path) -> None:
    for name in ("a.png", "b.png", "notes.txt"):
        (tmp_path / name).write_bytes(SEVEN)
    page = visit()
    page.get_by_role("radio", name="A folder").click()
    chooser = page.locator("input[type=file][webkitdirectory]")
    expect(chooser).to_be_attached()
    chooser.set_input_files(tmp_path)
    expect(page.get_by_text("2 pictures read.").first).to_be_visible()


def test_a_folder_of_more_files_than_an_uploader_bears_loses_none(
    visit: Open, tmp_path: Path
) -> None:
    for i in range(150):
        (tmp_path / f"{i:03d}.png").write_bytes(encoded(seven(60 + i)))
    (tmp_path / "notes.txt").write_text("no picture")
    (tmp_path / "empty.png").touch()
    page = visit()
    page.get_by_role("radio", name="A folder").click()
    chooser = page.locator("input[type=file][webkitdirectory]")
    expect(chooser).to_be_attached()
    expect(page.locator(".st-key-packer p")).to_be_attached()  # it packs from then on
    chooser.set_input_files(tmp_path)
    expect(page.get_by_text("150 pictures read, 1 could not be.").first).to_be_visible()
    expect(page.get_by_role("button", name="Remove 151 pictures of")).to_be_visible()
    page.get_by_role("radio", name="Could not be read (1)").click()
    expect(page.get_by_role("alert")).to_contain_text("This file is empty.")


def test_many_files_that_are_dropped_are_read(visit: Open) -> None:
    page = visit()
    expect(page.locator("input[type=file]").first).to_be_attached()
    expect(page.locator(".st-key-packer p")).to_be_attached()
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
    expect(page.get_by_text("101 pictures read.").first).to_be_visible()
    expect(page.get_by_text("ä0.png")).to_be_visible()


def test_a_reload_keeps_the_results_and_what_was_said_of_them(visit: Open) -> None:
    page = visit()
    upload_zip(page, zipped(**many()))
    expect(page.get_by_text(f"{MANY} pictures read.").first).to_be_visible()
    page.get_by_role("button", name="It is right").first.click()
    expect(page.get_by_text("Said to be right.")).to_be_visible()
    page.reload()
    expect(page.get_by_text(f"{MANY} pictures read.").first).to_be_visible()
    expect(page.get_by_text("Said to be right.")).to_be_visible()


def test_an_answer_is_corrected_with_the_mouse(visit: Open) -> None:
    page = visit()
    upload(page, file("seven.png"))
    expect_seven(page)
    page.get_by_role("button", name="Wrong? Correct it").click()
    page.get_by_role("combobox", name="The right label").click()
    page.get_by_role("option", name="4").click()
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("Said to be a 4.")).to_be_visible()
    expect(page.get_by_role("combobox", name="The right label")).to_have_count(0)
    page.get_by_role("button", name="Take it back").click()
    expect(page.get_by_role("button", name="It is right")).to_be_visible()
    expect(page.get_by_text("Said to be")).to_have_count(0)


def test_an_answer_is_corrected_with_the_keyboard_alone(visit: Open) -> None:
    page = visit()
    upload(page, file("seven.png"), file("two.png"))
    expect(answer(page)).to_have_count(2)
    page.get_by_role("button", name="It is right").first.focus()
    page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="Wrong? Correct it").first).to_be_focused()
    page.keyboard.press("Enter")
    labels = page.get_by_role("combobox", name="The right label")
    expect(labels).to_be_visible()
    page.keyboard.press("Tab")
    expect(labels).to_be_focused()
    page.keyboard.type("9")
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Save")).to_be_enabled()
    page.keyboard.press("Tab")  # the button that empties the choice
    page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="Save")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_text("Said to be a 9.").first).to_be_visible()


def test_a_busy_backend_is_asked_again_when_the_countdown_ends(visit: Open, gate: Gate) -> None:
    busy = FakeResponse(BUSY, 429, {"Retry-After": "3"})
    with serving(models(first="digit"), classify=busy) as (url, _), gate.leading_to(url):
        page = visit()
        upload(page, file("one.png"))
        expect(page.get_by_role("alert")).to_contain_text("The backend is busy.")
        timer = page.get_by_role("timer")
        expect(timer).to_have_text("Trying again in 3 seconds…")
        expect(timer).to_have_text("Trying again in 1 second…")
        expect(timer).to_have_attribute("aria-live", "off")
        expect_accessible(page)
        busy.status, busy.body = 200, ONE
        expect(answer(page)).to_contain_text("a 1 (")
        expect(timer).to_have_count(0)


def test_a_backend_that_stops_in_the_middle_is_waited_for(visit: Open, gate: Gate) -> None:
    with away(gate) as gone:
        page = visit()
        upload_zip(page, zipped(**many()))
        waits = page.get_by_text(f"Read 0 of {MANY} pictures. The backend is being restarted.")
        expect(waits).to_be_visible()
        come_back(gone)
        expect(page.get_by_text(f"{MANY} pictures read.").first).to_be_visible()
        expect(page.get_by_role("button", name="Stop", exact=True)).to_have_count(0)


def test_reading_is_stopped_and_goes_on_when_that_is_wanted(visit: Open, gate: Gate) -> None:
    with away(gate) as gone:
        page = visit()
        upload_zip(page, zipped(**many()))
        page.get_by_test_id("stMain").get_by_role("button", name="Stop").click()
        expect(page.get_by_text(f"{MANY} pictures are not read yet.")).to_be_visible()
        come_back(gone)
        expect_accessible(page)
        page.get_by_role("button", name="Go on").click()
        expect(page.get_by_text(f"{MANY} pictures read.").first).to_be_visible()


def test_without_a_backend_the_page_says_so_and_recovers(visit: Open, gate: Gate) -> None:
    gate.shut()
    page = visit()
    sentence = page.get_by_role("alert").filter(has_text=f"not reachable at {gate.url}")
    expect(sentence).to_contain_text("make run")
    gate.open()
    page.get_by_role("button", name="Try again").click()
    expect(sentence).to_have_count(0)
    expect(page.get_by_role("combobox", name="Model")).to_be_visible()


def test_a_phone_shows_one_and_many_without_scrolling_sideways(visit: Open) -> None:
    page = visit(width=360)
    page.get_by_role("button", name="A 7 in white chalk").click()
    expect_seven(page)
    expect_to_fit(page)
    upload(page, file("a" * 90 + ".png"), file("broken.png", SEVEN[:90]), file("two.png"))
    expect(page.get_by_text("2 pictures read, 1 could not be.").first).to_be_visible()
    expect_to_fit(page)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_is_accessible(visit: Open, scheme: str) -> None:
    page = visit(scheme=scheme)
    expect(page.get_by_role("button", name="A 7 in white chalk")).to_be_visible()
    expect_accessible(page)
    upload(page, file("seven.png"), file("broken.png", b"broken"))
    expect_seven(page)
    expect_accessible(page)
    upload_zip(page, zipped(**many()))
    expect(page.get_by_role("navigation", name="Pagination")).to_be_visible()
    expect_accessible(page)
    page.get_by_role("button", name="Wrong? Correct it").first.click()
    page.get_by_role("combobox", name="The right label").click()
    page.get_by_role("option", name="4").click()
    expect(page.get_by_role("button", name="Save")).to_be_enabled()
    expect_accessible(page)
    page.get_by_role("radio", name="A folder").click()
    expect(page.locator("input[type=file][webkitdirectory]")).to_be_attached()
    expect_accessible(page)
