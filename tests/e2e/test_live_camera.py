"""The live camera on the Classify page in a browser with a fake camera."""

import re

import pytest
from playwright.sync_api import Locator, Page, expect

from client import Client
from tests.e2e.conftest import Visit
from tests.e2e.pages import announcement, button, expect_accessible, main, result, wait_until_idle
from tests.e2e.toggle_proxy import ToggleProxy

pytestmark = pytest.mark.browser

PLACEHOLDER = "The classification of the camera image appears here."


def open_camera(page: Page) -> None:
    page.get_by_role("radio", name="Live camera").click()
    expect(main(page).get_by_text(PLACEHOLDER)).to_be_visible()


def video(page: Page) -> Locator:
    return page.get_by_label("Camera image")


def is_on(page: Page) -> bool:
    on: bool = video(page).evaluate("video => video.srcObject?.active === true")
    return on


def stored_count(client: Client) -> int:
    total = client.history.accuracy().total
    assert total is not None
    return total


def test_live_frames_are_not_stored_and_a_kept_frame_is_stored_once(
    visit: Visit, backend_url: str
) -> None:
    page = visit()
    open_camera(page)
    with Client(backend_url) as client:
        before = stored_count(client)
        button(page, "Start camera").click()
        expect(result(page)).to_have_count(1)
        keep = button(page, "Keep this frame")
        expect(keep).to_be_enabled()
        assert is_on(page)
        assert stored_count(client) == before
        keep.click()
        expect(page.get_by_alt_text("The image camera frame.jpg")).to_be_visible()
        expect(button(page, "Start camera")).to_be_visible()
        expect(main(page).get_by_text(PLACEHOLDER)).to_be_visible()
        assert not is_on(page)
        wait_until_idle(page)
        assert stored_count(client) == before + 1


def test_camera_stops_with_the_button_and_when_the_user_leaves_the_page(visit: Visit) -> None:
    page = visit()
    open_camera(page)
    button(page, "Start camera").click()
    expect(result(page)).to_have_count(1)
    button(page, "Stop camera").click()
    assert not is_on(page)
    button(page, "Start camera").click()
    expect(button(page, "Keep this frame")).to_be_enabled()
    video(page).evaluate("video => (window.stream = video.srcObject)")
    page.get_by_role("link", name="Draw").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Draw")
    page.wait_for_function("() => !window.stream.active")


def test_live_mode_pauses_while_the_backend_is_away(visit: Visit, proxy: ToggleProxy) -> None:
    page = visit()
    open_camera(page)
    button(page, "Start camera").click()
    expect(button(page, "Keep this frame")).to_be_enabled()
    proxy.close()
    paused = announcement(page, re.compile("Live mode is paused"))
    expect(paused).to_be_visible()
    assert is_on(page)
    proxy.open()
    expect(paused).to_have_count(0)
    expect(button(page, "Keep this frame")).to_be_enabled()


@pytest.mark.parametrize(
    ("script", "message"),
    [
        (
            "navigator.mediaDevices.getUserMedia = () => "
            "Promise.reject(new DOMException('', 'NotAllowedError'))",
            "does not allow this page to use the camera",
        ),
        (
            "navigator.mediaDevices.getUserMedia = () => "
            "Promise.reject(new DOMException('', 'NotFoundError'))",
            "No camera was found",
        ),
        (
            "Object.defineProperty(navigator, 'mediaDevices', { value: undefined })",
            "Open this page with https, or on localhost",
        ),
    ],
    ids=["denied", "absent", "insecure"],
)
def test_unavailable_camera_is_explained(visit: Visit, script: str, message: str) -> None:
    page = visit()
    open_camera(page)
    page.evaluate(f"() => {{ {script} }}")
    button(page, "Start camera").click()
    expect(announcement(page, message)).to_be_visible()
    expect(button(page, "Start camera")).to_be_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_live_camera_is_accessible(visit: Visit, scheme: str) -> None:
    page = visit(scheme=scheme)
    open_camera(page)
    expect_accessible(page)
    button(page, "Start camera").click()
    expect(button(page, "Keep this frame")).to_be_enabled()
    button(page, "Stop camera").click()
    expect_accessible(page)
