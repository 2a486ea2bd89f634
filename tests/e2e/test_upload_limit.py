"""Upload of a folder where the server limits the size of a request, as on Cloud Run."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.e2e.conftest import Visit, run_frontend
from tests.e2e.pages import SEVEN, button, main
from tests.e2e.toggle_proxy import ToggleProxy

pytestmark = pytest.mark.browser

TOTAL = 150  # images
PADDING = bytes(20_000)  # after the end of a PNG: 3 MB in total


@pytest.fixture(scope="module")
def frontend_url(
    browser_path: str, session_proxy: ToggleProxy, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """URL of a frontend that accepts at most 1 MB per upload."""
    log = tmp_path_factory.mktemp("frontend") / "log"
    with run_frontend(session_proxy.url, log, STREAMLIT_SERVER_MAX_UPLOAD_SIZE="1") as url:
        yield url


def test_folder_is_uploaded_in_zips_below_the_limit(visit: Visit, tmp_path: Path) -> None:
    for i in range(TOTAL):
        (tmp_path / f"{i:03d}.png").write_bytes(SEVEN + PADDING)
    page = visit()
    page.get_by_role("radio", name="Folder").click()
    expect(main(page).get_by_text("1MB per file")).to_be_visible()
    file_input = main(page).locator("input[type=file][webkitdirectory]")
    expect(file_input).to_be_attached()
    expect(main(page).locator(".st-key-packer p")).to_be_attached()
    file_input.set_input_files(tmp_path)
    expect(main(page).get_by_text(f"{TOTAL} images: {TOTAL} recognized.").first).to_be_visible()
    packed = button(page, re.compile(r"^Remove \d\d images from .*\.zip$"))
    expect(packed.first).to_be_attached()
