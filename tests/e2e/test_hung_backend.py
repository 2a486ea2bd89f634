"""The pages while the backend is stopped and accepts connections without a response."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import expect

from tests.e2e.backend_process import BackendProcess
from tests.e2e.conftest import Visit, run_frontend
from tests.e2e.pages import main

pytestmark = pytest.mark.browser

PAGES = ("", "draw", "compare", "evaluate", "video", "history", "models")
# Less than a third of the time after which an ordinary request gives up; the message itself appears
# within 3 s on an idle machine.
TIMEOUT_MS = 9_000


@pytest.fixture(scope="module")
def backend(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BackendProcess]:
    """A backend with an open history."""
    folder = tmp_path_factory.mktemp("history")
    with BackendProcess(PRISM_DATA_DIR=str(folder), PRISM_HISTORY_OPEN="true") as process:
        process.wait_until_ready()
        yield process


@pytest.fixture(scope="module")
def frontend_url(
    browser_path: str, backend: BackendProcess, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """URL of a frontend of this backend."""
    with run_frontend(backend.url, tmp_path_factory.mktemp("frontend") / "log") as url:
        yield url


@contextmanager
def stopped(backend: BackendProcess) -> Iterator[None]:
    os.kill(backend.process.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(backend.process.pid, signal.SIGCONT)


def test_every_page_says_that_the_backend_does_not_respond_and_recovers(
    visit: Visit, frontend_url: str, backend: BackendProcess
) -> None:
    page = visit()
    with stopped(backend):
        for name in PAGES:
            page.goto(f"{frontend_url}/{name}")
            navigation = page.get_by_test_id("stSidebarNav")
            expect(navigation.get_by_role("link", name="Models")).to_be_visible(timeout=TIMEOUT_MS)
            alert = main(page).get_by_role("alert").filter(has_text="does not respond in time")
            expect(alert.first).to_be_visible(timeout=TIMEOUT_MS)
            expect(main(page).get_by_role("heading", level=1).first).to_be_visible()
    expect(main(page).get_by_text("This backend serves")).to_be_visible()
