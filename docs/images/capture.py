"""Take a screenshot of every page in light and dark mode: `make screenshots`.

Starts both services on free ports with an empty history. Needs Chromium.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import requests
import sample_data
from PIL import Image
from playwright.sync_api import Browser, FilePayload, Page, sync_playwright

from deploy.services import free_port, responds

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
EXAMPLES = ROOT / "frontend" / "examples"
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
WIDTH, HEIGHT = 1280, 860
TIMEOUT_MS = 60_000
SEVEN = [(0.27, 0.24), (0.4, 0.22), (0.58, 0.22), (0.74, 0.21), (0.66, 0.4), (0.55, 0.6)]
SEVEN += [(0.47, 0.85)]

PreparePage = Callable[[Page], None]


def classify(page: Page) -> None:
    """Upload a photograph of a cat and wait for its classification."""
    page.locator("input[type=file]").first.set_input_files(EXAMPLES / "cat.jpg")
    page.get_by_role("heading", name="Egyptian Mau").wait_for()
    page.get_by_alt_text("cat.jpg").scroll_into_view_if_needed()


def draw(page: Page) -> None:
    """Draw a seven and wait for its classification."""
    pad = page.get_by_label("Drawing pad")
    pad.wait_for()
    box = pad.bounding_box()
    if box is None:
        raise SystemExit("The drawing pad is not visible.")
    points = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in SEVEN]
    page.mouse.move(*points[0])
    page.mouse.down()
    for point in points[1:]:
        page.mouse.move(*point, steps=8)
    page.mouse.up()
    page.mouse.move(5, 5)
    page.get_by_role("heading", name="7, ").wait_for()


def compare(page: Page) -> None:
    """Classify a nine with two models."""
    page.locator("input[type=file]").first.set_input_files(
        [_file("nine.png", sample_data.digit_png(9))]
    )
    page.get_by_role("heading", name="9, ").nth(1).wait_for()


def evaluate(page: Page) -> None:
    """Evaluate the model on 600 digits."""
    dataset = _file("digits.zip", sample_data.digits_zip(600), "application/zip")
    page.locator("input[type=file]").first.set_input_files([dataset])
    page.get_by_role("heading", name="digits.zip").wait_for()
    page.get_by_role("heading", name="digits.zip").evaluate("element => element.scrollIntoView()")


def video(page: Page) -> None:
    """Classify a video of digits and seek into it."""
    page.locator("input[type=file]").first.set_input_files(
        [_file("digits.mp4", sample_data.video(), "video/mp4")]
    )
    page.get_by_role("button", name="Classify the video").click()
    player = page.locator("video")
    player.wait_for()
    player.evaluate("video => { video.muted = true; video.currentTime = 3.7 }")
    player.evaluate("element => element.scrollIntoView()")


def history(page: Page) -> None:
    """Show the history, with some feedback."""
    for _ in range(3):
        # The header may cover a button that the browser has scrolled to.
        page.get_by_role("button", name="Correct", exact=True).first.dispatch_event("click")
        page.wait_for_timeout(700)
    page.get_by_text("Accuracy by day").wait_for()
    page.get_by_role("heading", level=1).scroll_into_view_if_needed()


def models(page: Page) -> None:
    """Show the served models."""
    page.get_by_text("Model card").last.wait_for()


PAGES: dict[str, PreparePage] = {
    "classify": classify,
    "draw": draw,
    "compare": compare,
    "evaluate": evaluate,
    "video": video,
    "history": history,
    "models": models,
}


PATHS = {"classify": "", "video": "video?model=mnist-cnn"}


def main() -> None:
    """Write NAME-light.png and NAME-dark.png for all pages, or the pages named as arguments."""
    names = sys.argv[1:] or list(PAGES)
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        raise SystemExit(f"Chromium is not installed. Searched for: {', '.join(BROWSERS)}.")
    with _run_services() as url, sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=path, args=["--no-sandbox", "--disable-gpu"]
        )
        for name in names:
            for scheme in ("light", "dark"):
                _take_screenshot(browser, url, name, scheme)
                print(f"docs/images/{name}-{scheme}.png")
        browser.close()


def _take_screenshot(browser: Browser, url: str, name: str, scheme: str) -> None:
    page = browser.new_page(
        viewport={"width": WIDTH, "height": HEIGHT},
        color_scheme="dark" if scheme == "dark" else "light",
    )
    page.set_default_timeout(TIMEOUT_MS)
    page.goto(f"{url}/{PATHS.get(name, name)}")
    page.get_by_role("heading", level=1).wait_for()
    PAGES[name](page)
    page.wait_for_timeout(1500)  # fade-in animations
    image = Image.open(BytesIO(page.screenshot()))
    page.close()
    image.convert("RGB").quantize(128).save(HERE / f"{name}-{scheme}.png", optimize=True)


@contextmanager
def _run_services() -> Iterator[str]:
    """Run both services and yield the URL of the frontend."""
    backend_port, frontend_port = free_port(), free_port()
    url = f"http://127.0.0.1:{frontend_port}"
    command = [sys.executable, "-m", "deploy.local", f"--backend-port={backend_port}"]
    command += [f"--frontend-port={frontend_port}"]
    with tempfile.TemporaryDirectory() as data:
        environ = {**os.environ, "PRISM_DATA_DIR": data, "PRISM_HISTORY_IMAGES": "true"}
        with subprocess.Popen(command, cwd=ROOT, env=environ) as services:  # noqa: S603
            try:
                _wait_until_ready(f"http://127.0.0.1:{backend_port}/ready", services)
                _wait_until_ready(f"{url}/_stcore/health", services)
                _fill_history(f"http://127.0.0.1:{backend_port}/classify")
                yield url
            finally:
                services.send_signal(signal.SIGINT)


def _fill_history(url: str) -> None:
    """Classify ten digits and two photographs."""
    for label in range(10):
        name = f"digit-{label}.png"
        requests.post(url, files={"file": (name, sample_data.digit_png(label))}, timeout=30)
    for name in ("coffee.jpg", "cat.jpg"):
        requests.post(url, files={"file": (name, (EXAMPLES / name).read_bytes())}, timeout=30)


def _wait_until_ready(url: str, services: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + TIMEOUT_MS / 1000
    while time.monotonic() < end and services.poll() is None:
        if responds(url):
            return
        time.sleep(0.1)
    raise SystemExit(f"{url} is not responding.")


def _file(name: str, content: bytes, mime_type: str = "image/png") -> FilePayload:
    return {"name": name, "mimeType": mime_type, "buffer": content}


if __name__ == "__main__":
    main()
