"""The Teach page in a browser, with a backend that stores taught models."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.conftest import ROOT
from tests.e2e.backend_process import BackendProcess
from tests.e2e.conftest import Visit, run_frontend
from tests.e2e.pages import (
    announcement,
    button,
    expect_accessible,
    expect_no_horizontal_scrolling,
    file,
    main,
    upload,
    wait_until_idle,
)
from tests.images import encoded, seven

pytestmark = pytest.mark.browser

COFFEE = ROOT / "frontend" / "examples" / "coffee.jpg"


@pytest.fixture(scope="module")
def backend(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BackendProcess]:
    """A backend whose taught models everyone on this machine may change."""
    folder = str(tmp_path_factory.mktemp("registry"))
    with BackendProcess(
        PRISM_DATA_DIR=folder, PRISM_MODELS_OPEN="true", PRISM_HOST="127.0.0.1"
    ) as one:
        one.wait_until_ready()
        yield one


@pytest.fixture(scope="module")
def frontend_url(
    browser_path: str, backend: BackendProcess, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """The URL of a frontend of that backend."""
    with run_frontend(backend.url, tmp_path_factory.mktemp("frontend") / "log") as url:
        yield url


def teach_example(page: Page) -> None:
    button(page, "Try with example images").click()
    expect(main(page).get_by_role("heading", name="Report of example")).to_be_visible()


def test_example_becomes_a_model_that_curl_and_classify_can_use(
    visit: Visit, tmp_path: Path
) -> None:
    page = visit("/teach")
    teach_example(page)
    button(page, "It is One").first.click()
    expect(main(page).get_by_text("Moved to One.")).to_be_visible()
    button(page, "Teach again").click()
    expect(announcement(page, "The model example is taught: ")).to_have_count(1)
    button(page, "Serve this model").click()
    expect(main(page).get_by_text("The model example is served: version 1")).to_be_visible()
    command = main(page).get_by_test_id("stCode").last.inner_text()
    (tmp_path / "image.jpg").write_bytes(encoded(seven()))
    answer = subprocess.run(
        ["bash", "-c", command], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert '"name":"example","version":"1"' in answer.stdout.replace(" ", "")
    button(page, "Try it on Classify").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Classify")
    upload(page, {"name": "coffee.jpg", "mimeType": "image/jpeg", "buffer": COFFEE.read_bytes()})
    expect(
        main(page).get_by_text("This image does not show one of the model's classes").first
    ).to_be_visible()


def test_versions_are_activated_and_deleted(visit: Visit) -> None:
    page = visit("/teach")
    for _ in range(2):
        button(page, "Try with example images").click()
        button(page, "Serve this model").click()
        expect(main(page).get_by_text("The model example is served")).to_be_visible()
        button(page, "Start over").click()
        page.get_by_role("button", name="Remove all images").click()
        expect(button(page, "Try with example images")).to_be_visible()
    titles = main(page).get_by_test_id("stMarkdown").filter(has_text=re.compile(r"^Version \d+"))
    expect(titles.first).to_contain_text("Active")
    button(page, "Roll back").click()
    expect(titles.nth(1)).to_contain_text("Active")
    number = titles.count()
    main(page).get_by_test_id("stPopover").filter(has_text="Delete").first.get_by_role(
        "button"
    ).click()
    page.get_by_role("button", name="Delete this version").click()
    expect(titles).to_have_count(number - 1)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_page_is_accessible(visit: Visit, scheme: str) -> None:
    page = visit("/teach", scheme=scheme)
    expect_accessible(page)
    teach_example(page)
    main(page).get_by_role("button", name="One", exact=True).click()
    expect(main(page).get_by_role("heading", name="One: ")).to_be_visible()
    expect_accessible(page)


def test_class_is_added_by_keyboard_on_a_phone(visit: Visit) -> None:
    page = visit("/teach", width=360)
    for label in ("ant", "bee"):
        choice = main(page).get_by_role("combobox", name="Class")
        choice.fill(label)
        choice.press("Enter")
        expect(main(page).get_by_text(f"Images of {label}")).to_be_visible()
        upload(page, file("a.png", encoded(seven(80 + len(label)))), file(f"{label}.png"))
        expect(main(page).get_by_role("heading", name=f"{label}: 2 images")).to_be_visible()
    expect_no_horizontal_scrolling(page)


def test_images_are_recorded_while_the_button_is_held(visit: Visit) -> None:
    page = visit("/teach")
    page.get_by_role("radio", name="Camera").click()
    choice = main(page).get_by_role("combobox", name="Class")
    choice.fill("hand")
    choice.press("Enter")
    button(page, "Start camera").click()
    record = button(page, "Hold to record")
    expect(record).to_be_enabled()
    expect(main(page).get_by_text("0 images of hand")).to_be_visible()
    record.focus()
    page.keyboard.down("Space")
    expect(button(page, "Recording…")).to_be_visible()
    expect(main(page).get_by_text("2 images of hand").first).to_be_visible()
    page.keyboard.up("Space")
    expect(record).to_be_visible()
    before = recorded(page)
    box = record.bounding_box()
    assert box is not None
    at = {"x": box["x"] + box["width"] / 2, "y": box["y"] + box["height"] / 2}
    touch = page.context.new_cdp_session(page)
    touch.send("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": [at]})
    expect(main(page).get_by_text(f"{before + 2} images of hand").first).to_be_visible()
    touch.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    expect(record).to_be_visible()
    before = recorded(page)
    button(page, "Take one image").click()
    expect(main(page).get_by_text(f"{before + 1} images of hand").first).to_be_visible()
    expect_accessible(page)


def recorded(page: Page) -> int:
    """Return the number of recorded images once it does not change any more."""
    wait_until_idle(page)
    text = main(page).get_by_text(re.compile(r"^\d+ images? of hand")).first.inner_text()
    return int(text.split()[0])
