"""The page where a request may be small only, as on Cloud Run: it says so, and sends small ones."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.e2e.conftest import Open
from tests.e2e.pages import SEVEN

pytestmark = pytest.mark.browser

MANY = 150
PADDING = bytes(20_000)  # behind the end of a PNG: 3 MB in all


@pytest.fixture(scope="module", autouse=True)
def one_megabyte() -> Iterator[None]:
    """What the page's server takes, set before it starts."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STREAMLIT_SERVER_MAX_UPLOAD_SIZE", "1")
        yield


def test_a_folder_of_many_pictures_is_sent_in_zips_that_the_server_takes(
    visit: Open, tmp_path: Path
) -> None:
    for i in range(MANY):
        (tmp_path / f"{i:03d}.png").write_bytes(SEVEN + PADDING)
    page = visit()
    page.get_by_role("radio", name="A folder").click()
    expect(page.get_by_text("1MB per file")).to_be_visible()
    chooser = page.locator("input[type=file][webkitdirectory]")
    expect(chooser).to_be_attached()
    expect(page.locator(".st-key-packer p")).to_be_attached()
    chooser.set_input_files(tmp_path)
    expect(page.get_by_text(f"{MANY} pictures read.").first).to_be_visible()
    packed = page.get_by_role("button", name=re.compile(r"^Remove \d\d pictures of .*\.zip$"))
    expect(packed.first).to_be_attached()
