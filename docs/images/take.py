"""Take the README's screenshot from a running page: `python docs/images/take.py`.

It needs Debian's chromium and the page at http://localhost:8501, or at the address given.
"""

import shutil
import sys
from io import BytesIO
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, sync_playwright

HERE = Path(__file__).parent
STROKE = [(0.27, 0.24), (0.4, 0.22), (0.58, 0.22), (0.74, 0.21), (0.66, 0.4), (0.55, 0.6)]
STROKE += [(0.47, 0.85)]


def draw(page: Page) -> None:
    """Draw a 7 on the pad and wait for the answer."""
    box = page.get_by_label("Drawing pad").bounding_box()
    if box is None:
        raise SystemExit("the drawing pad is not visible")
    points = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in STROKE]
    page.mouse.move(*points[0])
    page.mouse.down()
    for point in points[1:]:
        page.mouse.move(*point, steps=8)
    page.mouse.up()
    page.mouse.move(5, 5)
    page.get_by_alt_text("What the model sees").wait_for()
    page.get_by_role("list", name="Probabilities").wait_for()


def main(url: str) -> None:
    """Write draw.png beside this file."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"]
        )
        page = browser.new_page(viewport={"width": 1280, "height": 780})
        page.goto(f"{url}/draw")
        page.get_by_text("The answer will appear here.").wait_for()
        draw(page)
        page.wait_for_timeout(1000)  # for what fades in; nothing depends on it
        picture = Image.open(BytesIO(page.screenshot()))
        browser.close()
    picture.convert("RGB").quantize(128).save(HERE / "draw.png", optimize=True)


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "http://localhost:8501")
