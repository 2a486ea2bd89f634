"""Take a picture of every page, light and dark: `make screenshots`.

It starts both services for itself, on free ports and with an empty history, and needs a Chromium.
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

import material
import requests
from PIL import Image
from playwright.sync_api import Browser, FilePayload, Page, sync_playwright

from deploy.services import answers, free_port

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
WIDTH, HEIGHT = 1280, 860
PATIENCE = 60_000  # ms
STROKE = [(0.27, 0.24), (0.4, 0.22), (0.58, 0.22), (0.74, 0.21), (0.66, 0.4), (0.55, 0.6)]
STROKE += [(0.47, 0.85)]

Arrange = Callable[[Page], None]


def classify(page: Page) -> None:
    """Upload a seven and wait for its answer."""
    page.locator("input[type=file]").first.set_input_files([_file("seven.png", material.digit(7))])
    page.get_by_role("heading", name="a 7").wait_for()
    page.get_by_alt_text("The picture seven.png").scroll_into_view_if_needed()


def draw(page: Page) -> None:
    """Draw a 7 on the pad and wait for the answer."""
    pad = page.get_by_label("Drawing pad")
    pad.wait_for()
    box = pad.bounding_box()
    if box is None:
        raise SystemExit("the drawing pad is not visible")
    points = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in STROKE]
    page.mouse.move(*points[0])
    page.mouse.down()
    for point in points[1:]:
        page.mouse.move(*point, steps=8)
    page.mouse.up()
    page.mouse.move(5, 5)
    page.get_by_role("heading", name="a 7").wait_for()


def compare(page: Page) -> None:
    """Ask two models about the same nine."""
    page.locator("input[type=file]").first.set_input_files([_file("nine.png", material.digit(9))])
    page.get_by_role("heading", name="a 9").nth(1).wait_for()


def evaluate(page: Page) -> None:
    """Measure the model on 600 digits."""
    zipped = _file("digits.zip", material.digits_zip(600), "application/zip")
    page.locator("input[type=file]").first.set_input_files([zipped])
    page.get_by_role("heading", name="digits.zip").wait_for()
    page.get_by_role("heading", name="digits.zip").evaluate("one => one.scrollIntoView()")


def video(page: Page) -> None:
    """Read a clip of digits and play some of it."""
    page.locator("input[type=file]").first.set_input_files(
        [_file("digits.mp4", material.clip(), "video/mp4")]
    )
    page.get_by_role("button", name="Read the clip").click()
    player = page.locator("video")
    player.wait_for()
    player.evaluate("one => { one.muted = true; one.currentTime = 3.5 }")
    player.evaluate("one => one.scrollIntoView()")


def history(page: Page) -> None:
    """Show what was answered on the other pages, some of it corrected."""
    for _ in range(3):
        page.get_by_role("button", name="It is right").nth(1).click()
        page.wait_for_timeout(700)
    page.get_by_role("heading", name="Accuracy by day").wait_for()
    page.get_by_role("heading", level=1).scroll_into_view_if_needed()


def models(page: Page) -> None:
    """Show the served models."""
    page.get_by_text("Model card").last.wait_for()


PAGES: dict[str, Arrange] = {
    "classify": classify,
    "draw": draw,
    "compare": compare,
    "evaluate": evaluate,
    "video": video,
    "history": history,
    "models": models,
}


def main() -> None:
    """Write NAME-light.png and NAME-dark.png beside this file, for all pages or those named."""
    names = sys.argv[1:] or list(PAGES)
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        raise SystemExit(f"No Chromium on this machine (looked for {', '.join(BROWSERS)}).")
    with _services() as url, sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=path, args=["--no-sandbox", "--disable-gpu"]
        )
        for name in names:
            for scheme in ("light", "dark"):
                _take(browser, url, name, scheme)
                print(f"docs/images/{name}-{scheme}.png")
        browser.close()


def _take(browser: Browser, url: str, name: str, scheme: str) -> None:
    page = browser.new_page(
        viewport={"width": WIDTH, "height": HEIGHT},
        color_scheme="dark" if scheme == "dark" else "light",
    )
    page.set_default_timeout(PATIENCE)
    page.goto(f"{url}/{'' if name == 'classify' else name}")
    page.get_by_role("heading", level=1).wait_for()
    PAGES[name](page)
    page.wait_for_timeout(1500)  # for what fades in; nothing depends on it
    picture = Image.open(BytesIO(page.screenshot()))
    page.close()
    picture.convert("RGB").quantize(128).save(HERE / f"{name}-{scheme}.png", optimize=True)


@contextmanager
def _services() -> Iterator[str]:
    """Run both services, and give the address of the page."""
    backend_port, frontend_port = free_port(), free_port()
    url = f"http://127.0.0.1:{frontend_port}"
    command = [sys.executable, "-m", "deploy.local", f"--backend-port={backend_port}"]
    command += [f"--frontend-port={frontend_port}"]
    with tempfile.TemporaryDirectory() as data:
        environ = {**os.environ, "PRISM_DATA_DIR": data, "PRISM_HISTORY_IMAGES": "true"}
        with subprocess.Popen(command, cwd=ROOT, env=environ) as services:  # noqa: S603
            try:
                _wait(f"http://127.0.0.1:{backend_port}/ready", services)
                _wait(f"{url}/_stcore/health", services)
                _ask(f"http://127.0.0.1:{backend_port}/classify")
                yield url
            finally:
                services.send_signal(signal.SIGINT)


def _ask(url: str) -> None:
    """Ask about some digits, for the history."""
    for label in range(10):
        name = f"digit-{label}.png"
        requests.post(url, files={"file": (name, material.digit(label))}, timeout=30)


def _wait(url: str, services: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + PATIENCE / 1000
    while time.monotonic() < end and services.poll() is None:
        if answers(url):
            return
        time.sleep(0.1)
    raise SystemExit(f"nothing answers at {url}")


def _file(name: str, content: bytes, kind: str = "image/png") -> FilePayload:
    return {"name": name, "mimeType": kind, "buffer": content}


if __name__ == "__main__":
    main()
